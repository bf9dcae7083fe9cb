"""Values of options: durations, sizes, retries, how many trials. Each function is the ``type`` of a click option."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import click

from whet.core.trial import Cause

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|min|h|d)?", re.ASCII)
_SECONDS = {"ms": 1e-3, None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kKMGT]?)(?P<binary>i?)B?", re.ASCII)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_CAUSES = tuple(cause.value for cause in Cause)
_MOST_DIGITS = 15  # of a count


def duration(text: str) -> float:
    """Return the seconds in ``90``, ``1.5h``, ``10m``, ``2h`` or ``1d``."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is no duration; expected seconds, or a number with a unit: 90, 10m, 2h, 1d")
    seconds = float(match["number"]) * _SECONDS[match["unit"]]
    if not seconds > 0 or math.isinf(seconds):
        raise click.BadParameter(f"{text!r}: expected a duration greater than 0")
    return seconds


def size(text: str) -> int:
    """Return the bytes in ``500M``, ``4G`` (powers of 1000) or ``4GiB`` (powers of 1024)."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or len(match["number"]) > _MOST_DIGITS:
        raise click.BadParameter(f"{text!r} is no size; expected bytes, or a number with a unit: 500M, 4G, 4GiB")
    base = 1024 if match["binary"] else 1000
    n_bytes = int(float(match["number"]) * base ** _POWERS[match["unit"].upper()])
    if n_bytes <= 0:
        raise click.BadParameter(f"{text!r}: expected a size greater than 0")
    return n_bytes


def retries(text: str) -> Mapping[str, int]:
    """Return cause of failure to number of retries, from ``2`` (for every cause) or ``timeout=1,memory=0``."""
    if _is_count(text):
        return dict.fromkeys(_CAUSES, int(text))
    counts = {}
    for item in text.split(","):
        cause, equals, count = (part.strip() for part in item.partition("="))
        if not equals and cause not in _CAUSES:
            raise click.BadParameter(
                f"{text!r}: expected a whole number from 0, or CAUSE=NUMBER as in timeout=1,memory=0"
            )
        if cause not in _CAUSES:
            raise click.BadParameter(f"{cause!r} is no cause of failure (known: {', '.join(_CAUSES)})")
        if not _is_count(count):
            raise click.BadParameter(f"{item.strip()!r}: expected CAUSE=NUMBER, as in timeout=1,memory=0")
        counts[cause] = int(count)
    return counts


@dataclass(frozen=True, slots=True)
class TrialCount:
    """How many trials: in all, or *more* than there are."""

    n: int
    is_more: bool = False


def trial_count(text: str) -> TrialCount:
    """Return how many trials ``50`` (in all) or ``+50`` (more than there are) mean."""
    digits = text.strip().removeprefix("+")
    if not _is_count(digits) or int(digits) == 0:
        raise click.BadParameter(f"{text!r}: expected a whole number of trials from 1")
    return TrialCount(int(digits), text.strip().startswith("+"))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
