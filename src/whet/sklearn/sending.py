"""What of a search cannot be sent to worker processes, said so that it can be mended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from whet.space.plain import shortened


def unsendable(
    estimator: Any, options: Mapping[str, Any], X: Any, y: Any, candidates: Iterable[Mapping[str, Any]]
) -> str:
    """Say what of the fits cannot be pickled, and what to do; *options* are those that all fits share."""
    values = {(name, id(value)): value for parameters in candidates for name, value in parameters.items()}
    parts = [(f"Parameter {name!r} of a candidate", value) for (name, _), value in values.items()]
    parts += [(f"Parameter {name!r} of the estimator", value) for name, value in _parameters(estimator)]
    options = dict(options)
    if (search := options.pop("caller", None)) is not None:  # its grid may hold what no task has held so far
        parts += [(f"{name!r} of the search", value) for name, value in search.get_params(deep=False).items()]
    parts += [(f"The {name}", value) for name, value in options.items()]
    parts += [("The estimator", estimator), ("X", X), ("y", y)]
    culprits = (f"{name}, {shortened(repr(value))}," for name, value in parts if not _can_be_sent(value))
    what = next(culprits, "Something that the fits need")
    return (
        f"{what} cannot be pickled. Make it picklable (a function in a module rather than a "
        "lambda, a path rather than an open file), or let the fits run in this process: n_jobs=1, or "
        "joblib.parallel_config('threading')."
    )


def _parameters(estimator: Any) -> list[tuple[str, Any]]:
    """Return the parameters of *estimator*, the deepest first: what they hold is the better hint."""
    return sorted(estimator.get_params().items(), key=lambda item: -item[0].count("__"))


def _can_be_sent(value: Any) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception:  # whatever an object's own code raises
        return False
    return True
