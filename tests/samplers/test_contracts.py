"""The contract suites, run over the samplers that choose by the number alone."""

from __future__ import annotations

from whet.core.protocols import Sampler
from whet.samplers import Grid, QuasiRandom, Random
from whet.space.space import Space
from whet.testing.sampler_hostile_suite import HostileSamplerContract
from whet.testing.sampler_numbered_suite import NumberedSamplerContract
from whet.testing.sampler_suite import FiniteSpaceContract


class TestGrid(NumberedSamplerContract, FiniteSpaceContract, HostileSamplerContract):
    is_random = False

    def make(self) -> Sampler:
        return Grid()

    def supports(self, space: Space) -> bool:
        return space.is_finite


class TestRandom(NumberedSamplerContract, FiniteSpaceContract, HostileSamplerContract):
    def make(self) -> Sampler:
        return Random()


class TestQuasiRandom(NumberedSamplerContract, FiniteSpaceContract, HostileSamplerContract):
    jumps = False  # the sequence is found from its beginning

    def make(self) -> Sampler:
        return QuasiRandom()

    def supports(self, space: Space) -> bool:
        return space.is_encodable
