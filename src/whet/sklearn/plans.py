"""Which candidates of a search agree on the first steps of their pipelines, and the order that makes use of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from whet.sklearn import likeness
from whet.sklearn.kept import Cache, Prefix


@dataclass(frozen=True, slots=True)
class Plan:
    """`caches[candidate]` is what its fits are given; `order` lists (candidate, split) pairs, each once."""

    caches: tuple[Cache | None, ...]
    order: list[tuple[int, int]]


def plan(
    estimator: Any,
    candidates: Sequence[Mapping[str, Any]],
    n_splits: int,
    cache: Cache | None,
    *,
    more_follow: bool = False,
) -> Plan:
    """Plan the fits of `candidates`.

    Candidates that share a prefix follow one another split by split. Of each (prefix, split) the first fit comes
    early enough to be over when the others begin: so many ahead as there are workers.

    Args:
        estimator: What is tuned, as it is before a candidate's parameters are set.
        candidates: Their parameters.
        n_splits: The number of splits.
        cache: The search's cache, or None to share nothing.
        more_follow: Whether later candidates, not known yet, may share a prefix with these.
    """
    in_turn = [(candidate, split) for candidate in range(len(candidates)) for split in range(n_splits)]
    if cache is None or not _is_plain_pipeline(estimator):
        return Plan((None,) * len(candidates), in_turn)
    known: dict[Any, tuple[tuple[int, str], ...]] = {}
    keys = [_keys(cache.token, estimator, parameters, known) for parameters in candidates]
    n_uses = Counter(key for prefix in keys for _, key in prefix)
    caches = [
        replace(
            cache, prefixes=tuple(Prefix(length, key, None if more_follow else n_uses[key]) for length, key in prefix)
        )
        for prefix in keys
    ]
    paths = [[prefix.key for prefix in of.worth(set())] for of in caches]
    if not any(paths) or (cache.n_workers == 1 and _may_draw(estimator, candidates)):
        return Plan(tuple(caches), in_turn)
    return Plan(tuple(caches), list(_ordered(paths, n_splits, cache.n_workers if cache.n_workers > 1 else 0)))


def _is_plain_pipeline(estimator: Any) -> bool:
    # A subclass may fit in another way, and memory= is the user's own cache.
    return type(estimator) is Pipeline and estimator.memory is None and estimator.transform_input is None


def _keys(
    token: str, estimator: Any, parameters: Mapping[str, Any], known: dict[Any, tuple[tuple[int, str], ...]]
) -> tuple[tuple[int, str], ...]:
    """(length, key) of each prefix of a candidate. `known` remembers them by the parameters that matter."""
    if "steps" in parameters:
        return ()
    last = estimator.steps[-1][0]
    matter = {name: value for name, value in parameters.items() if name.partition("__")[0] != last}
    by = tuple((name, id(value)) for name, value in matter.items())
    if by not in known:
        try:
            known[by] = tuple(_keys_of(token, clone(estimator).set_params(**clone(matter, safe=False))))
        except Exception:  # what is wrong with the candidate is for its fit to say
            known[by] = ()
    return known[by]


def _keys_of(token: str, pipeline: Any) -> Iterator[tuple[int, str]]:
    if not _is_plain_pipeline(pipeline) or vars(pipeline).get("_skl_callbacks"):
        return
    key = token
    for length, (_, step) in enumerate(pipeline.steps[:-1], 1):
        if step is None or (isinstance(step, str) and step == "passthrough"):
            continue
        if isinstance(step, type) or not hasattr(step, "transform"):
            return
        try:
            key = likeness.digest(key, step)
        except likeness.Unsure:
            return
        yield length, key


def _may_draw(estimator: Any, candidates: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some step may draw from the global random state: then fits of one process keep their turn."""
    return any(map(likeness.may_draw, [estimator, *(value for one in candidates for value in one.values())]))


def _ordered(paths: list[list[str]], n_splits: int, n_ahead: int) -> Iterator[tuple[int, int]]:
    first: dict[str, int] = {}
    for candidate, path in enumerate(paths):
        for key in path:
            first.setdefault(key, candidate)
    groups: dict[Any, list[int]] = {}
    for candidate in sorted(range(len(paths)), key=lambda c: ([first[key] for key in paths[c]] or [c], c)):
        groups.setdefault(paths[candidate][-1] if paths[candidate] else candidate, []).append(candidate)
    # Splits within a group: what neighbours have in common beyond the group is not needed by both at once.
    units = [(group, split) for group in groups.values() for split in range(n_splits)]
    for i, (group, split) in enumerate(units):
        begins = range(n_ahead + 1) if i == 0 else range(i + n_ahead, i + n_ahead + 1)
        yield from ((units[k][0][0], units[k][1]) for k in begins if k < len(units))
        yield from ((candidate, split) for candidate in group[1:])
