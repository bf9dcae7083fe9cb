"""Configs that people give: to be run next, or with what came of them elsewhere.

A given config has a number that was never handed out before, and it is known as given from the moment at which the
number is. So whoever chooses the config of a higher number knows of it; see docs/decisions/0007.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whet.core.events import Draft, Kind
from whet.core.ledger import Ledger
from whet.core.owner import this_process
from whet.core.values import Verdict
from whet.errors import ConfigError
from whet.space.domain import Domain
from whet.space.plain import plain, shortened, value_key
from whet.space.space import Space

_AT_ONCE = 1000  # configs in one transaction: others get their turn in between


@dataclass(frozen=True, slots=True)
class Added:
    """A config with what came of it elsewhere.

    Attributes:
        config: name to value.
        verdict: of its metrics, as `judge` gives it.
        rows: its reports: the step, then the value of each metric of the problem.
    """

    config: Mapping[str, Any]
    verdict: Verdict
    rows: Sequence[Sequence[float | None]] = ()


def enqueue(ledger: Ledger, config: Mapping[str, Any], *, now: Callable[[], float]) -> list[int]:
    """Make *config* wait to be run before anything new is asked; return the numbers of its trials, one per repeat.

    Raises:
        ConfigError: it is not in the space; the message names the parameter.
    """
    return list(enqueue_all(ledger, [config], now=now)[0])


def enqueue_all(ledger: Ledger, configs: Iterable[Mapping[str, Any]], *, now: Callable[[], float]) -> list[range]:
    """Make *configs* wait to be run, in their order, before anything new is asked; return the numbers of each.

    Thousands of them are written in several transactions.

    Raises:
        ConfigError: one is not in the space; the message names the parameter. None is enqueued.
    """
    checked = _check_of(ledger.history.problem.space)
    return list(_give_all(ledger, [_Life(checked(config), Kind.ENQUEUED) for config in configs], now))


def add(ledger: Ledger, rows: Iterable[Added], *, now: Callable[[], float]) -> list[int]:
    """Add trials that were run elsewhere; no limit counts them. Return the number of the trial of each of *rows*.

    With repeats, rows of the same config that follow one another are repeats of it; those that are not there are
    cancelled, so that the mean of the others counts. Thousands of rows are written in several transactions.

    Raises:
        ConfigError: a config is not in the space; the message says of which row. Nothing is added.
    """
    history = ledger.history
    checked, lives = _check_of(history.problem.space), list[_Life]()
    for index, row in enumerate(rows):
        try:
            config = checked(row.config)
        except ConfigError as error:
            raise ConfigError(f"row {index}: {error}") from None
        last = lives[-1] if lives else None
        if last is not None and len(last.known) < history.repeats and value_key(last.config) == value_key(config):
            last.known.append(row)
        else:
            lives.append(_Life(config, Kind.ADDED, [row]))
    given = _give_all(ledger, lives, now)
    return [number for life, numbers in zip(lives, given, strict=True) for number in numbers[: len(life.known)]]


def checked_config(space: Space, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return *config* as the space itself would give it: in its order, 1 as 1.0 where it has floats.

    Raises:
        ConfigError: it is not in the space; the message names the parameter, or all that are missing.
    """
    return _check_of(space)(config)


def _check_of(space: Space) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return the function that checks configs of *space*; what all of them need is worked out once."""
    own = {name: _own_value_of(domain) for name, domain in space.items()}

    def checked(config: Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(config, Mapping) and len(config) < len(space) and all(name in space for name in config):
            missing = [name for name, domain in space.items() if name not in config and domain.when is None]
            if missing:
                raise ConfigError(
                    f"a config needs a value for every parameter, and {shortened(repr(dict(config)))} has none for "
                    + ", ".join(f"{name} ({shortened(str(space[name]))})" for name in missing)
                )
        space.check(config)
        return {name: own[name](config[name]) for name in own if name in config}

    return checked


def _own_value_of(domain: Domain) -> Callable[[Any], Any]:
    """Return what turns a value that *domain* contains into the one that it would give."""
    if domain.size is not None:
        return lambda value: domain.value_at(domain.index_of(value))
    if not domain.is_encodable:
        return plain
    kind = type(domain.decode(0.5))
    return lambda value: kind(plain(value))


# ---------------------------------------------------------------------------------------------------- to events
@dataclass(frozen=True, slots=True)
class _Life:
    """A config to be given, and what is known of its repeats."""

    config: dict[str, Any]
    kind: Kind
    known: list[Added] = field(default_factory=list)


def _give_all(ledger: Ledger, lives: Sequence[_Life], now: Callable[[], float]) -> Iterator[range]:
    """Write *lives*, as many in a transaction as others may wait for; yield the numbers of each."""
    for start in range(0, len(lives), _AT_ONCE):
        some = lives[start : start + _AT_ONCE]
        yield from _give(ledger, some, now, durable=start + _AT_ONCE >= len(lives))  # one fsync for them all


def _give(ledger: Ledger, lives: Sequence[_Life], now: Callable[[], float], *, durable: bool = True) -> list[range]:
    """Write *lives* in one transaction; return the numbers of each."""
    repeats = ledger.history.repeats
    given: list[range] = []

    def drafts(first: int) -> list[Draft]:
        time = now()
        start = -(-first // repeats) * repeats
        # Set, not extended: the store calls this again where a write is lost with its connection.
        given[:] = (range(number, number + repeats) for number in range(start, start + repeats * len(lives), repeats))
        return [
            # Repeats that nobody has asked for yet of a config that others have asked: they go to the next ask.
            *(draft for number in range(first, start) for draft in _pass_on_drafts(number, time)),
            *(draft for life, numbers in zip(lives, given, strict=True) for draft in _life_drafts(life, numbers, time)),
        ]

    ledger.commit([], fresh=drafts, durable=durable)
    return given


def _life_drafts(life: _Life, numbers: range, time: float) -> list[Draft]:
    group = numbers.start // len(numbers)
    drafts: list[Draft] = []
    for replicate, number in enumerate(numbers):
        payload = {"config": life.config, "group": group, "replicate": replicate}
        drafts.append(Draft(life.kind, number, payload, time=time))
        if replicate < len(life.known):
            drafts += _result_drafts(life.known[replicate], number, time)
        elif life.kind is Kind.ADDED:
            drafts.append(Draft(Kind.CANCELLED, number, time=time))
    return drafts


def _result_drafts(row: Added, number: int, time: float) -> list[Draft]:
    verdict = row.verdict
    reported = [Draft(Kind.REPORTED, number, {"rows": row.rows}, time=time)] if row.rows else []
    if verdict.cause is None:
        return [*reported, Draft(Kind.COMPLETED, number, {"values": verdict.values}, time=time)]
    payload = {"values": verdict.values, "cause": verdict.cause.value, "message": verdict.message}
    return [*reported, Draft(Kind.FAILED, number, payload, time=time)]


def _pass_on_drafts(number: int, time: float) -> list[Draft]:
    claimed = Draft(Kind.CLAIMED, number, {"owner": this_process()}, time=time)
    return [claimed, Draft(Kind.RELEASED, number, time=time)]
