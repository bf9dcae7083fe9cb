"""Quasi-random search takes its points from our own sequence, which is that of scipy, without importing scipy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import qmc

from whet.samplers import QuasiRandom
from whet.space.domain import Float
from whet.space.space import Space
from whet.testing.sampler_histories import ask, history_of

PROGRAM = """
import sys
from whet.samplers import QuasiRandom
from whet.space.domain import Categorical, Float, Int
from whet.space.space import Space
from whet.testing.sampler_histories import ask, history_of

space = Space({"lr": Float(1e-5, 1e-1, log=True), "n": Int(1, 9), "kind": Categorical(["u", "v"])})
n_before = len([name for name in sys.modules if name.startswith("scipy")])
ask(QuasiRandom(), history_of(space), range(100))
print(n_before, len([name for name in sys.modules if name.startswith("scipy")]))
"""


@pytest.mark.parametrize("d", [1, 7, 101])
def test_studies_of_before_keep_their_configs(d: int) -> None:
    """Made by scipy then: blocks of 64 points, 128, 256, of the sequence that the study's seed scrambles."""
    space = Space({f"p{i}": Float(0.0, 1.0) for i in range(d)})
    points = qmc.Sobol(d, scramble=True, rng=np.random.default_rng(9)).random_base2(8)
    found = ask(QuasiRandom(), history_of(space, seed=9), range(150))
    assert [list(suggestion.config.values()) for suggestion in found] == points[:150].tolist()


def test_scipy_is_not_imported() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True)
    assert found.stdout == "0 0\n"
