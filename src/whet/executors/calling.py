"""How a user's function is called: which arguments it gets, what it may return, what its call may end in.

Runs inside trials too: standard library only at the top level.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from whet.errors import TrialStopped, UsageError
from whet.executors.live import LiveTrial
from whet.executors.logs import Tail
from whet.reporting import number

if TYPE_CHECKING:  # numpy comes with it
    from whet.core.protocols import EndCause

_HERE = Path(__file__).parent
_FORMS = "fn(config), fn(trial), fn(config, trial), fn(config, budget) or fn(trial, budget)"
_BY_NAME = ("config", "trial", "budget")
_MAX_SHOWN = 200


# ---------------------------------------------------------------------------------------------------- the arguments
@dataclass(frozen=True, slots=True)
class Function:
    """A user's function and what it is called with.

    Attributes:
        fn: the function.
        positional: what is passed by position: ``config``, ``trial`` or ``budget``.
        named: what is passed by name.
    """

    fn: Callable[..., Any]
    positional: tuple[str, ...] = ("config",)
    named: tuple[str, ...] = ()

    def __call__(self, trial: LiveTrial) -> object:
        """Call the function for *trial*; return what it returns."""
        args = [trial if name == "trial" else getattr(trial, name) for name in self.positional]
        kwargs = {name: trial if name == "trial" else getattr(trial, name) for name in self.named}
        return self.fn(*args, **kwargs)


def bind(fn: Callable[..., Any], *, has_fidelity: bool) -> Function:
    """Return *fn* with what it is to be called with, as its parameters say.

    Raises:
        UsageError: *fn* cannot be called for a trial; the message names the forms that can.
    """
    name = _name_of(fn)
    if not callable(fn):
        raise UsageError(f"expected a function to tune, got {_shown(fn)}: give one of the forms {_FORMS}")
    if inspect.isclass(fn):
        raise UsageError(f"{name} is a class, not a function: give a function that makes one and returns a metric")
    _check_kind(fn, name)
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (ValueError, TypeError):  # a builtin that does not tell
        return Function(fn)
    positional, named = _arguments(parameters, name, has_fidelity=has_fidelity)
    if not {"config", "trial"} & {*positional, *named}:
        raise UsageError(
            f"{name} takes neither a config nor a trial; expected {_FORMS}. "
            f"If the parameters of the space are its arguments, pass lambda config: {name}(**config)"
        )
    return Function(fn, tuple(positional), tuple(named))


def _arguments(parameters: list[inspect.Parameter], name: str, *, has_fidelity: bool) -> tuple[list[str], list[str]]:
    positional: list[str] = []
    named: list[str] = []
    has_gap = False  # a parameter left alone: what follows is passed by name
    for i, parameter in enumerate(parameters):
        by_position = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        is_required = parameter.default is parameter.empty
        given = parameter.name if parameter.name in _BY_NAME else ""
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            if i == 0:
                positional.append("config")
            continue
        if not given and i == 0 and by_position and is_required:
            given = "config"
        if given == "budget" and not has_fidelity:
            if is_required:
                raise UsageError(
                    f"{name} takes a budget, but the study has no fidelity: give one, as in "
                    "fidelity={'epochs': (1, 81)}, or leave the parameter out"
                )
            given = ""
        if not given and is_required:
            raise UsageError(
                f"{name} needs an argument {parameter.name!r}, which whet does not know; expected {_FORMS}. If the "
                f"parameters of the space are its arguments, pass lambda config: {name}(**config); what else it needs "
                "can be bound with functools.partial or given a default"
            )
        if given and by_position and not has_gap:
            positional.append(given)
        elif given and parameter.kind is not parameter.POSITIONAL_ONLY:
            named.append(given)
        else:
            has_gap = True
    return positional, named


def _check_kind(fn: Callable[..., Any], name: str) -> None:
    inner = getattr(fn, "func", fn)
    candidates = [fn, inner, getattr(type(inner), "__call__", None)]  # noqa: B004 - its kind, not whether it is there
    if any(map(inspect.iscoroutinefunction, candidates)):
        raise UsageError(
            f"{name} is an async function, which whet does not call: pass lambda config: asyncio.run({name}(config))"
        )
    if any(inspect.isgeneratorfunction(c) or inspect.isasyncgenfunction(c) for c in candidates):
        raise UsageError(
            f"{name} is a generator function (it has a yield): report along the way with trial.report(value) "
            "instead, and return the final value"
        )


def _name_of(fn: object) -> str:
    name = getattr(getattr(fn, "func", fn), "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        return "the function"
    return name


# --------------------------------------------------------------------------------------------------- what it returns
class BadValueError(ValueError):
    """What the function returned is no metric."""


def metrics_of(returned: object) -> dict[str, float]:
    """Return what a function returned as metrics: a number is the metric ``value``, ``None`` is no metric.

    Raises:
        BadValueError: it is neither a number nor a mapping of numbers nor ``None``.
    """
    if type(returned) is float:
        return {"value": returned}
    if returned is None:
        return {}
    if isinstance(returned, Mapping):
        return {str(name): _metric(f"returned[{name!r}]", value) for name, value in returned.items()}
    return {"value": _metric("the returned value", returned)}


def _metric(name: str, value: object) -> float:
    try:
        if not isinstance(value, complex):
            return number(name, value)
    except Exception as error:  # the value's own code runs here
        reason = "" if isinstance(error, TypeError) else f" ({_cut(str(error))})"
    else:
        reason = ""
    raise BadValueError(
        f"{name} is {_shown(value)}{reason}; expected a number, a dict of metrics such as {{'val_loss': 0.3}}, or None "
        "after trial.report(...)"
    )


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # the user's own
        # An int of many digits refuses to be text.
        text = "a number of many digits" if isinstance(value, int) else f"<repr failed: {type(error).__name__}>"
    return f"{_cut(text)} ({type(value).__name__})"


def _cut(text: str) -> str:
    half = _MAX_SHOWN // 2
    return text if len(text) <= _MAX_SHOWN else f"{text[:half]} … {text[-half:]}"


# -------------------------------------------------------------------------------------------------------- the call
@dataclass(frozen=True, slots=True)
class CallEnd:
    """What a call ended in: the fields of an `Ended` that are the function's own."""

    cause: EndCause | None
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)


def call(fn: Function | Callable[[LiveTrial], object], trial: LiveTrial) -> CallEnd:
    """Call *fn* for *trial*; return what came of it, whatever it raised."""
    try:
        returned = fn(trial)
    except TrialStopped:
        return CallEnd("stopped", "", trial.reported)
    except KeyboardInterrupt as error:
        return CallEnd("interrupted", described(error), trial.reported)
    except BaseException as error:
        return CallEnd("error", described(error), trial.reported)
    try:
        return CallEnd(None, "", trial.conclude(metrics_of(returned)))
    except BadValueError as error:
        return CallEnd("bad_value", safe(str(error)), trial.reported)
    except Exception as error:  # a value that converts itself to a number, and breaks
        return CallEnd("bad_value", described(error), trial.reported)


def described(error: BaseException) -> str:
    """Return the traceback of *error* without our own frames, safe to print."""
    at = own_frames_cut(error.__traceback__)
    text = "".join(traceback.TracebackException(type(error), error, at).format())
    if isinstance(error, SystemExit):
        text += f"the function called sys.exit({error.code!r}); a trial ends by returning its metrics\n"
    return safe(text)


def own_frames_cut(at: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of this package at its top."""
    first = at
    while at is not None and Path(at.tb_frame.f_code.co_filename).parent == _HERE:
        at = at.tb_next
    return at if at is not None else first


def safe(text: str) -> str:
    """Return the last lines of *text*, without what a terminal would take for more than text."""
    tail = Tail()
    tail.add(text.encode("utf-8", "replace"))
    return tail.text()
