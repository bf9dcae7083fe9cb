"""The contract suite, run over every sampler that whet has."""

from __future__ import annotations

from whet.core.protocols import Sampler
from whet.samplers import Auto, Grid, QuasiRandom, Random
from whet.space.space import Space
from whet.testing.sampler_suite import SamplerContract


class TestGrid(SamplerContract):
    is_random = False

    def make(self) -> Sampler:
        return Grid()

    def supports(self, space: Space) -> bool:
        return space.is_finite


class TestRandom(SamplerContract):
    def make(self) -> Sampler:
        return Random()


class TestQuasiRandom(SamplerContract):
    jumps = False  # the sequence is found from its beginning

    def make(self) -> Sampler:
        return QuasiRandom()

    def supports(self, space: Space) -> bool:
        return space.is_encodable


class TestAuto(SamplerContract):
    jumps = False

    def make(self) -> Sampler:
        return Auto()
