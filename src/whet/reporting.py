"""`whet.report`: what a script may call to say how it is doing."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any


def report(step: float | None = None, **metrics: Any) -> None:
    """Report metrics of the trial that this program is, at a step of it if there is one.

    ``whet.report(epoch, val_loss=0.3, acc=0.9)`` or ``whet.report(val_loss=0.3)``. Outside a trial nothing happens,
    so a script that reports runs unchanged without whet. May be called from several processes of a trial at once.

    Args:
        step: where the trial is, such as the number of epochs done; counted if it is left out.
        **metrics: numbers, or what holds exactly one, such as an array or a tensor on any device.

    Raises:
        TypeError: a value is not a number, or is none of a real number.
        ValueError: there is no metric, a value holds several numbers or a number beyond a float, or the step is NaN
            or infinite.
    """
    if not metrics:
        raise ValueError("nothing to report: name at least one metric, as in whet.report(step, val_loss=0.3)")
    line: dict[str, float] = {}
    if step is not None:
        at = number("step", step)
        if not abs(at) < float("inf"):
            raise ValueError(f"step: expected a finite number, got {step!r}")
        line["step"] = int(at) if at.is_integer() else at
    line |= {name: number(name, value) for name, value in metrics.items()}
    path = os.environ.get("WHET_METRICS")
    if path:
        _append(path, (json.dumps(line) + "\n").encode())


def number(name: str, value: Any) -> float:
    """Return *value* as a float; NaN and infinities are numbers here, and the study decides what they mean.

    Raises:
        TypeError: it is not a real number.
        ValueError: it holds several numbers, or one beyond a float.
    """
    if isinstance(value, float):
        return float(value)
    if hasattr(value, "item"):
        try:
            value = value.item()
        except (TypeError, ValueError, RuntimeError) as error:
            shape = tuple(getattr(value, "shape", ()))
            raise ValueError(
                f"{name}: expected one number, got {type(value).__name__} of shape {shape}; reduce it, with .mean() say"
            ) from error
    if isinstance(value, str | bytes | bytearray):
        raise TypeError(f"{name}: expected a number, got the text {value!r}; convert it with float() if it is one")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{name}: the number is too large for a float") from error
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected a real number, got {value!r} ({type(value).__name__})") from error


def _append(path: str, data: bytes) -> None:
    """Append *data* in one write, so that lines of several processes do not mix. A full disk only warns."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            n_written = os.write(fd, data)
        finally:
            os.close(fd)
    except OSError as error:
        warnings.warn(f"whet.report could not write to {path}: {error.strerror}", RuntimeWarning, stacklevel=3)
        return
    if n_written < len(data):
        warnings.warn(f"whet.report could not write all of a line to {path}: no space", RuntimeWarning, stacklevel=3)
