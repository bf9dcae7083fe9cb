"""Named randomness: every generator is made from the study's seed and what it is for, never from a global one."""

from __future__ import annotations

import secrets
from functools import lru_cache

import numpy as np

from whet.errors import UsageError

_FRESH_SEEDS = 2**32
_SEEDS = 2**64
_CONFIG, _REPLICATE = 0, 1  # what a generator is for; part of its key, so the two never share a stream


def fresh_seed() -> int:
    """Return a seed for a study whose user gave none; small enough to retype."""
    return secrets.randbelow(_FRESH_SEEDS)


def checked_seed(seed: object) -> int:
    """Return *seed* as an int.

    Raises:
        UsageError: it is no whole number from 0 up to 2^64 - 1.
    """
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and 0 <= seed < _SEEDS:
        return int(seed)
    shown = repr(seed) if not isinstance(seed, int) or -_SEEDS < seed < _SEEDS else f"one of {seed.bit_length()} bits"
    raise UsageError(f"a seed is a whole number from 0 to 2^64 - 1, got {shown}; leave it out to have one drawn")


def config_rng(seed: int, number: int) -> np.random.Generator:
    """Return the generator for config *number* of the study with *seed*."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, _CONFIG, number))))


@lru_cache(maxsize=1024)  # asked for by every trial, and few studies have many replicates
def replicate_seed(seed: int, replicate: int) -> int:
    """Return the ``{seed}`` that a trial sees, in [0, 2^31): the same for every config, so comparisons are paired."""
    state = np.random.SeedSequence((seed, _REPLICATE, replicate)).generate_state(1, np.uint32)
    return int(state[0]) >> 1
