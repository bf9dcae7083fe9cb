"""scikit-learn's searches, by whet: the same classes, the same results.

``from whet.sklearn import GridSearchCV`` is all that changes; `searches` says what is added. `SearchCV` is whet's own,
with any of its samplers.

Needs scikit-learn 1.9 or newer: ``pip install "whet[sklearn]"``.
"""

from __future__ import annotations

_NEEDED = (1, 9)


def _check_version() -> None:
    """Refuse a scikit-learn that is missing or too old, before anything of it is used."""
    remedy = 'run: pip install "whet[sklearn]"'
    try:
        import sklearn
    except ModuleNotFoundError as error:
        if error.name != "sklearn":
            raise  # it is there, and something that it needs is not
        raise ImportError(f"whet.sklearn needs scikit-learn, which is not installed; {remedy}") from error
    version = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
    if version < _NEEDED:
        needed = ".".join(map(str, _NEEDED))
        raise ImportError(
            f"whet.sklearn needs scikit-learn {needed} or newer, and {sklearn.__version__} is installed; {remedy}"
        )


_check_version()

# Only once scikit-learn is known to be there.
from whet.sklearn.crashes import WorkerDied  # noqa: E402
from whet.sklearn.early_stopping import EarlyStopping  # noqa: E402
from whet.sklearn.guard import FitTimeout  # noqa: E402
from whet.sklearn.nested import NestedCV, nested_cv  # noqa: E402
from whet.sklearn.noeffect import NoEffectWarning  # noqa: E402
from whet.sklearn.optimism import SelectionBias, SelectionBiasWarning, selection_bias  # noqa: E402
from whet.sklearn.search_cv import SearchCV  # noqa: E402
from whet.sklearn.searches import (  # noqa: E402
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
)
from whet.sklearn.tables import fold_scores  # noqa: E402

__all__ = [
    "EarlyStopping",
    "FitTimeout",
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "NestedCV",
    "NoEffectWarning",
    "RandomizedSearchCV",
    "SearchCV",
    "SelectionBias",
    "SelectionBiasWarning",
    "WorkerDied",
    "fold_scores",
    "nested_cv",
    "selection_bias",
]
