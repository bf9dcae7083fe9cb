"""Bayesian optimisation as a sampler: the contract, its options, what it says of its suggestions."""

from __future__ import annotations

from whet.core.protocols import Sampler
from whet.samplers.gp import GP
from whet.space.space import Space
from whet.testing.sampler_hostile_suite import HostileSamplerContract
from whet.testing.sampler_model_suite import ModelSamplerContract
from whet.testing.sampler_suite import FiniteSpaceContract


class TestContract(ModelSamplerContract, FiniteSpaceContract, HostileSamplerContract):
    def make(self) -> Sampler:
        return GP()

    def supports(self, space: Space) -> bool:
        return space.is_encodable
