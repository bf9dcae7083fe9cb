"""Attributes and notes: what people say of a trial or of a study, beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

from whet.core import jsontext
from whet.core.events import Draft, Kind
from whet.core.ledger import Ledger
from whet.core.trial import Trial
from whet.errors import StateError, UsageError
from whet.space.plain import plain, shortened

MAX_BYTES = 1_000_000  # of one attribute as JSON, and of a note


def trial_number(trial: object) -> int:
    """Return the number of *trial*, or the number that was given in its place.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(trial, Trial):
        return trial.number
    if isinstance(trial, bool) or not isinstance(trial, Integral):
        raise UsageError(f"expected a trial or its number, got {shortened(repr(trial))}")
    return int(trial)


def annotate(
    ledger: Ledger,
    trial: Trial | int | None,
    attributes: Mapping[str, Any] | None = None,
    note: str | None = None,
    *,
    now: Callable[[], float],
) -> None:
    """Write the draft that :func:`annotation_draft` makes of the same.

    Raises:
        UsageError: a value that JSON cannot hold, or too much of it; the message names it.
        StateError: there is no such trial.
    """
    number = None if trial is None else trial_number(trial)
    if number is not None:
        ledger.catch_up()
        if not 0 <= number < ledger.history.n_numbers:
            raise StateError(f"trial {number} of study {ledger.name!r} does not exist")
    ledger.commit([annotation_draft(number, attributes, note, now=now)])


def annotation_draft(
    trial: int | None,
    attributes: Mapping[str, Any] | None = None,
    note: str | None = None,
    *,
    now: Callable[[], float],
) -> Draft:
    """Return the draft that sets *attributes* and the *note* of *trial*, in whatever state; ``None``: of the study.

    Attributes that are not named stay as they are; the value ``None`` removes one, a note of ``""`` the note.

    Raises:
        UsageError: a name that is no text, or a value that JSON cannot hold or that is too long; the message names it.
    """
    payload: dict[str, Any] = {}
    if attributes is not None:
        if not isinstance(attributes, Mapping):
            raise UsageError(f"expected attributes as a dict of names and values, got {shortened(repr(attributes))}")
        payload["attributes"] = {_name(name): _value(name, value) for name, value in attributes.items()}
    if note is not None:
        if not isinstance(note, str):
            raise UsageError(f"expected a note that is text, got {shortened(repr(note))}")
        _check_length("the note", note)
        payload["note"] = note
    return Draft(Kind.ANNOTATED, trial, payload, time=now())


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise UsageError(f"expected names of attributes that are text, got {shortened(repr(name))}")
    return name


def _value(name: str, value: Any) -> Any:
    try:
        text = jsontext.dumps(plain(value))
        kept = jsontext.loads(text)  # not the caller's own list or dict
    except (TypeError, RecursionError) as error:  # a list that holds itself is deeper than JSON can be written
        raise UsageError(
            f"the attribute {name!r} cannot be kept as JSON ({shortened(str(error))}), got {type(value).__name__}; "
            "give numbers, text, True, False, and lists and dicts of them, or save it in a file and keep its path"
        ) from error
    _check_length(f"the attribute {name!r}", text)
    return kept


def _check_length(what: str, text: str) -> None:
    n_bytes = len(text.encode(errors="surrogatepass"))
    if n_bytes > MAX_BYTES:
        raise UsageError(
            f"{what} takes {n_bytes:,} bytes, and at most {MAX_BYTES:,} are kept; save it in a file and keep its path"
        )
