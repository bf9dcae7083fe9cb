"""Which files in a trial's directory are whet's own: its logs and readings. All others were made by the trial."""

from __future__ import annotations

import re

from whet.executors.pool import METRICS_FILE

_LOG = re.compile(r"(stdout|stderr)(\.attempt[0-9]+)?\.log")
_READINGS = re.compile(r"metrics(\.attempt[0-9]+)?\.jsonl")


def is_log(name: str) -> bool:
    """Tell whether file *name* holds what a trial printed."""
    return _LOG.fullmatch(name) is not None


def is_ours(name: str) -> bool:
    """Tell whether file *name*, directly in a trial's directory, was made by whet and not by the trial."""
    return name == METRICS_FILE or any(form.fullmatch(name.removesuffix(".part")) for form in (_LOG, _READINGS))


def log_name(stream: str, attempt: int | None = None) -> str:
    """Return the file of *stream*, ``stdout`` or ``stderr``, of the last attempt or of an earlier one."""
    return f"{stream}.log" if attempt is None else f"{stream}.attempt{attempt}.log"
