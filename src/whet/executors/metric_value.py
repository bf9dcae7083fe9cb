"""What is a number, and which names stand for the step."""

from __future__ import annotations

import re
from functools import lru_cache

Pair = tuple[str, float]

# In verbose syntax; possessive, so that what follows can never make the search try shorter numbers one by one.
NUMBER = r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
NON_FINITE = r"[+-]?(?:[nN][aA][nN]|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)"
FRACTION = r"[0-9]++\ {0,8}/\ {0,8}[0-9]++"

_VALUE = re.compile(rf"(?:{FRACTION}|{NUMBER}%?|{NON_FINITE})", re.VERBOSE)
_STEP = re.compile(
    r"(?:(?:train|training|trainer|val|valid|validation|eval|evaluation|test|current|after|at|for|during|end of)"
    r"[ _/.-])*+"
    r"(?:(epoch)|step|global[ _-]step|iter|iteration|it|episode|round|generation|(?:num[ _])?timesteps?)"
    r"(?:[ _](?:num|number|no\.?|idx|index))?",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def step_rank(name: str) -> int | None:
    """How well a name suits as the step: 0 for an epoch, 1 for another step, ``None`` for a metric.

    An epoch goes before a step because a step often starts again within each epoch, and an epoch never does.
    """
    match = _STEP.fullmatch(name)
    if match is None:
        return None
    return 0 if match[1] else 1


def value_of(name: str, text: str) -> float | None:
    """The number that a name was given, or ``None`` where the text is not exactly a number.

    A fraction is a share, except for a step: there it is how far of how many. Too large a number is infinite.
    """
    text = text.strip()
    if _VALUE.fullmatch(text) is None:
        return None
    top, _, bottom = text.partition("/")
    value = float(top.rstrip("%"))
    if not bottom or step_rank(name) is not None:
        return value
    whole = float(bottom)
    return value / whole if whole else None
