"""`simulate`: a search on a virtual clock, through the same study, sampler and scheduler as a real one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from whet.core.problem import Constraint, Fidelity, Objective
from whet.core.protocols import Sampler, Scheduler
from whet.errors import UsageError
from whet.space.space import Space
from whet.stopping import Limits
from whet.storage.memory import MemoryStore
from whet.study import Study
from whet.testing.courses import Curves
from whet.testing.simulated import Simulated
from whet.testing.simulation import Bounds, ClockLedger, Simulation

_NAME = "simulated"


def simulate(  # noqa: PLR0913 - what users may say of a search
    curves: Curves,
    space: Space | Mapping[str, Any],
    objective: str | Mapping[str, str] | Sequence[Objective] = "minimize",
    *,
    fidelity: Fidelity | Mapping[str, tuple[float, float]] | None = None,
    constraints: Sequence[str | Constraint] = (),
    sampler: str | Sampler = "random",
    scheduler: str | Scheduler | None = None,
    n_workers: int = 1,
    n_trials: int | None = None,
    budget: float | None = None,
    timeout_s: float | None = None,
    seed: int = 0,
    checkpoints: bool = True,
    report_at: Collection[float] | None = None,
) -> Simulated:
    """Search as `tune` would, with workers on a virtual clock; nothing is trained, and nothing waits.

    The same arguments give the same search, on any machine. Workers are served in the order in which their steps end,
    at the same time by the number of their trials.

    Args:
        curves: from a config to its `Course`: what each step comes to, and how long it takes. It may be asked more than
            once, and has to answer the same.
        space: what may vary.
        objective: ``"minimize"`` or ``"maximize"`` a bare number, or metric names with their directions.
        fidelity: the axis of the steps, as ``{"epochs": (1, 81)}``. Where it is ``"seconds"``, the steps are the
            seconds so far, whatever the courses say.
        constraints: bounds on metrics.
        sampler: which config next; a name or a `Sampler`.
        scheduler: how much budget for whom; a name or a `Scheduler`.
        n_workers: how many trials run at a time.
        n_trials: configs that are asked for at most.
        budget: units of the fidelity that the workers train in all at most; what is in progress then is cut.
        timeout_s: virtual seconds after which it ends, likewise.
        seed: of the study.
        checkpoints: a trial that is paused and goes on pays only for the steps that it has not done before; else it
            starts from zero.
        report_at: the steps that trials report, of those in their courses; by default every one. What is not reported
            costs no decision, so that large searches are quicker.

    Raises:
        UsageError: a part that makes no sense, nothing that ends the search, or a scheduler that waits for ever.
    """
    if isinstance(n_workers, bool) or not isinstance(n_workers, int) or n_workers < 1:
        raise UsageError(f"n_workers must be a whole number of at least 1, got {n_workers!r}")
    for name, bound in (("budget", budget), ("timeout_s", timeout_s)):
        if bound is not None and not (isinstance(bound, int | float) and bound > 0):
            raise UsageError(f"{name} must be a number greater than 0, got {bound!r}")
    limits = {} if n_trials is None else {"limits": {"n_trials": Limits(n_trials).n_trials}}
    store = MemoryStore(keeps_log=False)  # the log would be most of what a large search takes
    study = Study(
        space,
        objective,
        constraints=constraints,
        sampler=sampler,
        scheduler=scheduler,
        fidelity=fidelity,
        seed=seed,
        store=store,
        name=_NAME,
        settings=limits,
    )
    problem = study.ledger.history.problem
    if (n_trials, budget, timeout_s) == (None, None, None) and not problem.space.is_finite:
        raise UsageError("the space is not finite: say where the search ends, by n_trials, budget or timeout_s")
    if budget is not None and problem.fidelity is None:
        raise UsageError("a budget is in units of the fidelity, as in fidelity={'epochs': (1, 81)}, and there is none")
    study.ledger = ClockLedger(store, store.studies(_NAME)[0])
    bounds = Bounds(n_trials, budget, timeout_s)
    return Simulation(study, curves, n_workers, bounds, checkpoints=checkpoints, report_at=report_at).run()
