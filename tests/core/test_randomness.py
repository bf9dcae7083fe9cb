"""Named randomness: seeds of all sizes, and generators that never meet."""

import itertools
import math

import numpy as np
import pytest

from whet.core.randomness import checked_seed, config_rng, fresh_seed, replicate_seed
from whet.errors import UsageError
from whet.study import Study

SEEDS = [0, 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63, 2**64 - 1]


@pytest.mark.parametrize("seed", [-1, 2**64, 10**5000, 1.0, math.nan, "7", True, b"7", [1]], ids=lambda s: str(type(s)))
def test_seeds_that_are_none_are_refused_before_anything_is_made(seed):
    with pytest.raises(UsageError, match=r"a whole number from 0 to 2\^64 - 1"):
        Study({"x": (0.0, 1.0)}, seed=seed)


@pytest.mark.parametrize("sampler", ["random", "quasi_random", "grid", "auto"])
@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_of_all_sizes_work_with_every_sampler(sampler, seed):
    space = {"x": [1, 2, 3, 4], "y": (0, 9)} if sampler == "grid" else {"x": [1, 2, 3], "y": (0.0, 1.0)}
    first, again = ([t.config for t in Study(space, sampler=sampler, seed=seed).ask(4)] for _ in range(2))
    assert first == again


def test_numpy_integers_are_seeds():
    assert checked_seed(np.int64(5)) == checked_seed(np.uint8(5)) == 5
    assert type(checked_seed(np.int64(5))) is int


def test_generators_differ_by_seed_and_number():
    drawn = {config_rng(seed, number).integers(2**63) for seed, number in itertools.product(SEEDS, range(50))}
    assert len(drawn) == 50 * len(SEEDS)
    assert config_rng(3, 4).integers(2**63) == config_rng(3, 4).integers(2**63)


def test_the_seed_of_a_replicate_fits_what_programs_take_as_a_seed():
    for seed in SEEDS:
        seeds = [replicate_seed(seed, replicate) for replicate in range(100)]
        assert all(0 <= seed < 2**31 for seed in seeds)
        assert len(set(seeds)) == 100


def test_a_seed_that_nobody_gave_can_be_given():
    assert checked_seed(fresh_seed()) < 2**32
