"""The contract suite, run over every scheduler that has a name, and over some that work together."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.schedulers.driving import EACH
from whet.core.protocols import Scheduler
from whet.schedulers.names import scheduler_named
from whet.testing.scheduler_suite import SchedulerContract

WAYS = (*EACH, "asha(type=promotion, brackets=2)", "asha + patience(n=2)")
MORE_WAYS = (
    "median(n_start=2, grace=3)",
    "percentile(percent=60, n_start=1)",
    "patience(n=3, min_delta=0.02)",
    "threshold(lower=-1.2, upper=1.2, grace=3)",
    "divergence(factor=1.05)",
    "racing(p=0.4, n_min=1)",
    "asha(brackets=3)",
    "asha(type=promotion, eta=2, brackets=2)",
    "hyperband + median(n_start=2)",
    "successive_halving + patience(n=2) + threshold(upper=1e9)",
)


def _contract(way: str) -> type[SchedulerContract]:
    class Contract(SchedulerContract):
        n_trials: ClassVar[int] = 9 if way.startswith("freeze_thaw") else 14  # its model takes long
        every: ClassVar[int] = 10 if way.startswith("freeze_thaw") else 2
        promotes_by_rank: ClassVar[bool] = not way.startswith("freeze_thaw")

        def make(self) -> Scheduler:
            return scheduler_named(way)

    return Contract


def _title(way: str) -> str:
    return "Test" + "".join(letter if letter.isalnum() else "_" for letter in way.title())


globals().update({_title(way): _contract(way) for way in WAYS})
globals().update({_title(way): pytest.mark.slow(_contract(way)) for way in MORE_WAYS})
