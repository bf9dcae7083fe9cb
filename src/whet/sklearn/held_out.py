"""A part of the samples that is held out: in proportion to the classes, and of whole groups."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np


def held_out(n_samples: int, fraction: float, rng: Any, codes: Any = None, groups: Any = None) -> tuple[Any, Any]:
    """Return the numbers of the samples to train on and of those that are held out, each in order.

    At least one sample is held out, and of each class at least one is trained on.

    Args:
        n_samples: how many there are.
        fraction: about how many of them are held out.
        rng: a ``numpy.random.RandomState``.
        codes: shape (n_samples,): the class of each, as a number from 0; None where there are no classes.
        groups: shape (n_samples,): samples that are of one group stay together; None where there are none.

    Raises:
        ValueError: no sample can be spared.
    """
    n_held = max(2, ceil(fraction * n_samples))  # of one alone, R² and others are not defined
    codes = np.zeros(n_samples, dtype=int) if codes is None else codes
    if groups is None:
        held = _in_proportion(codes, n_held, rng)
    else:
        held = _whole_groups(np.unique(np.asarray(groups), return_inverse=True)[1], n_held, codes, rng)
    if not held.size:
        what = "samples" if groups is None else "groups"
        raise ValueError(
            f"no {what} can be held out to validate on: n_samples={n_samples}"
            + (f", in {len(np.unique(groups))} group(s)" if groups is not None else "")
            + (f", and one of each of {codes.max() + 1} classes has to be trained on" if codes.any() else "")
            + f"; EarlyStopping needs at least two {what}{' of one class' if codes.any() else ''}"
        )
    return np.setdiff1d(np.arange(n_samples), held), np.sort(held)


def _in_proportion(codes: Any, n_held: int, rng: Any) -> Any:
    """Return up to *n_held* samples, systematically drawn from each class, and never the whole of one."""
    counts = np.bincount(codes)
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    class_of = codes[order]
    rank = np.arange(len(codes)) - (np.cumsum(counts) - counts)[class_of]
    place = (rank + rng.uniform(size=len(counts))[class_of]) / counts[class_of]
    place[rank == counts[class_of] - 1] = np.inf  # the last of its class is trained on
    return order[np.argsort(place, kind="stable")[: min(n_held, np.isfinite(place).sum())]]


def _whole_groups(group_of: Any, n_held: int, codes: Any, rng: Any) -> Any:
    """Return the samples of groups that make up to *n_held*, or of one group if each is larger."""
    counts = np.zeros((group_of.max() + 1, codes.max() + 1), dtype=int)
    np.add.at(counts, (group_of, codes), 1)
    left = counts.sum(axis=0)
    taken: list[int] = []
    n_taken = 0
    for group in rng.permutation(len(counts)):
        size = counts[group].sum()
        if (taken and n_taken + size > n_held) or not (left - counts[group]).all():
            continue
        taken.append(group)
        n_taken += size
        left = left - counts[group]
    return np.flatnonzero(np.isin(group_of, taken))
