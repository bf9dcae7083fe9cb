"""`whet.tune`: the best config for a function, in one call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from whet.core.completing import completed
from whet.core.events import Draft, Kind
from whet.core.lookahead import DEFAULT_LOOKAHEAD
from whet.core.problem import Constraint, Fidelity, Objective, Problem, problem_of
from whet.core.protocols import Executor, Sampler, Scheduler, Store
from whet.core.registry import called
from whet.core.trial import Trial
from whet.errors import StudyExists, UsageError
from whet.executors.calling import bind
from whet.functions import check_bounds
from whet.samplers.names import sampler_from, sampler_settings
from whet.schedulers.names import scheduler_from, scheduler_settings
from whet.space.plain import shortened, value_key
from whet.space.space import Space
from whet.stopping import Limits
from whet.storage.open import DEFAULT_STORE, open_store
from whet.study import Study, load


def tune(  # noqa: PLR0913 - what users may say of a search
    fn: Callable[..., Any],
    space: Space | Mapping[str, Any],
    *,
    objective: str | Mapping[str, str] | Sequence[Objective] = "minimize",
    n_trials: int | None = None,
    timeout: float | None = None,
    sampler: str | Sampler = "auto",
    scheduler: str | Scheduler | None = None,
    fidelity: Fidelity | Mapping[str, tuple[float, float]] | None = None,
    workers: int = 1,
    seed: int | None = None,
    store: Store | str | Path | None = None,
    name: str | None = None,
    executor: Literal["processes", "inline"] | Executor = "processes",
    first: Iterable[Mapping[str, Any]] = (),
    repeats: int = 1,
    deterministic: bool = False,
    progress: bool = True,
    constraints: Sequence[str | Constraint] = (),
    target: float | None = None,
    max_failures: int | None = None,
    trial_timeout: float | None = None,
    trial_memory: int | None = None,
    retries: Mapping[str, int] | None = None,
    on_trial_end: Callable[[Study, Trial], object] | Iterable[Callable[[Study, Trial], object]] = (),
) -> Study:
    """Search *space* for the config with which *fn* does best, and return the study.

    ``whet.tune(train, {"lr": (1e-5, 1e-1, "log"), "layers": [1, 2, 3]}, n_trials=50).best_config``. With a *name* the
    study is kept, and the same call again goes on up to *n_trials* in total. Ctrl-C returns what is known so far.

    Args:
        fn: what is tuned; see `Study.run`.
        space: what may vary; a `Space`, or a mapping of names to domains or their shorthands.
        objective: ``"minimize"`` or ``"maximize"`` the number that *fn* returns, or metric names with their directions.
        n_trials: how many configs to try in total.
        timeout: seconds that this call may take.
        sampler: which config next; a name or a `Sampler`.
        scheduler: how much budget for whom, a name or a `Scheduler`; by default every trial runs to its end.
        fidelity: the axis along which a trial can be cut short, as ``{"epochs": (1, 81)}``.
        workers: how many trials run at a time.
        seed: makes the sequence of configs reproducible; drawn if not given.
        store: where the study is kept: a path, a URL or a `Store`; by default ``./.whet/whet.db`` if it has a *name*,
            else in memory.
        name: by which it is found again.
        executor: see `Study.run`.
        first: configs to try before any other; what one leaves out is the middle of its domain, or of a list of other
            things than numbers the first.
        repeats: how many trials, with different seeds, share a config.
        deterministic: makes the sequence the same for 1 to 8 workers, whoever is faster.
        progress: show how it goes.
        constraints: bounds on metrics, such as ``"latency_ms <= 20"``.
        target: value of the first objective that is good enough.
        max_failures: failed trials in the whole study at which this call ends; by default it ends when its first three
            trials fail.
        trial_timeout: seconds that one trial may take.
        trial_memory: bytes that the processes of one trial may hold together.
        retries: cause of a failure (``"error"``, ``"timeout"``, …) to how often a trial is run again after it.
        on_trial_end: called with the study and each trial that has ended.

    Raises:
        UsageError: a part that makes no sense, or the study of that name is another search; the message says which.
        StudyBusy: another program runs the study and does not share it.
        ExecutorError: no trial can be started.
        StoreError: the store cannot be used.
    """
    problem = problem_of(space, objective, constraints, fidelity)
    configs = [completed(problem.space, config) for config in _as_list(first)]
    check_bounds(problem.space, Limits(n_trials, timeout, target, max_failures))
    bind(fn, has_fidelity=problem.fidelity is not None)
    kept = open_store(DEFAULT_STORE if store is None and name is not None else store)
    asked = {"seed": seed, "repeats": repeats, "lookahead": DEFAULT_LOOKAHEAD if deterministic else None}
    study, news = _study("study" if name is None else name, kept, problem, sampler, scheduler, asked)
    if news and progress:
        print(news, file=sys.stderr)
    give_first(study, configs)
    return study.run(
        fn,
        n_trials=n_trials,
        timeout=timeout,
        target=target,
        max_failures=max_failures,
        workers=workers,
        executor=executor,
        trial_timeout=trial_timeout,
        trial_memory=trial_memory,
        retries=retries,
        on_trial_end=on_trial_end,
        progress=progress,
    )


def _study(
    name: str,
    store: Store,
    problem: Problem,
    sampler: str | Sampler,
    scheduler: str | Scheduler | None,
    asked: Mapping[str, Any],
) -> tuple[Study, str]:
    """Return the study *name* of *store*, made if it is not there; and what changes of one that is, in words.

    Raises:
        UsageError: it is there, and is another search.
    """
    try:
        made = Study(
            problem.space,
            problem.objectives,
            constraints=problem.constraints,
            sampler=sampler,
            scheduler=scheduler,
            fidelity=problem.fidelity,
            store=store,
            name=name,
            **asked,
        )
    except StudyExists:
        # To go on with the sampler that it has, unless another one than the default is given.
        other = None if sampler == "auto" else sampler_from(sampler)
        spender = None if scheduler is None else scheduler_from(scheduler)
        study = load(name, store, sampler=other, scheduler=spender)
        _check_same(study, problem, {key: value for key, value in asked.items() if value is not None})
        changes = {} if other is None else sampler_settings(other)
        changes |= {} if spender is None else scheduler_settings(spender)
        return study, _amend(study, changes)
    return made, ""


def _amend(study: Study, changes: Mapping[str, Any]) -> str:
    """Change who chooses configs and spends budgets in *study*; return what is another now, in words."""
    was = {"scheduler": "none", **study.ledger.history.settings}
    news = []
    for what in ("sampler", "scheduler"):
        options = f"{what}_options"
        if what in changes and (was[what], was.get(options, {})) != (changes[what], changes[options]):
            before, now = (called(settings[what], settings.get(options, {})) for settings in (was, changes))
            news.append(f"the {what} was {before}, from now on it is {now}")
    if not news:
        return ""
    study.ledger.commit([Draft(Kind.AMENDED, None, {"settings": dict(changes)})])
    return f"{study.name}: {'; '.join(news)}"


def _as_list(first: object) -> list[Any]:
    """Return what is given as ``first`` as a list.

    Raises:
        UsageError: it is a single config, or a text.
    """
    if isinstance(first, Iterable) and not isinstance(first, Mapping | str | bytes):
        return list(first)
    hint = " (`--first` with defaults or NAME=VALUE is for the command line)" if isinstance(first, str) else ""
    raise UsageError(f'first is a list of configs, as in first=[{{"lr": 1e-3}}], got {shortened(repr(first))}{hint}')


def give_first(study: Study, configs: Iterable[Mapping[str, Any]]) -> None:
    """Let *configs* be run before anything new is asked, those that nobody has given before.

    Raises:
        ConfigError: one of them is not in the space.
    """
    given = {value_key(given.parsed()) for given in study.ledger.history.given.configs}
    for config in configs:
        if value_key(config) not in given:
            given.add(value_key(config))
            study.enqueue(config)


def _in_words(part: object) -> str:
    """Return objectives, constraints or a fidelity as users type them."""
    match part:
        case tuple():
            return ", ".join(_in_words(one) for one in part) or "none"
        case Objective(name, direction):
            return f"{direction} {name}"
        case Constraint(name, relation, bound):
            return f"{name} {relation} {bound:g}"
        case Fidelity():
            return f"{part.name} from {part.low:g} to {part.high:g}"
        case _:
            return str(part)


def _check_same(study: Study, problem: Problem, asked: Mapping[str, Any]) -> None:
    """See that *study*, which exists, is the search that was asked for.

    Raises:
        UsageError: it is another one; the message shows the differences, and what to do.
    """
    history = study.ledger.history
    there = history.problem
    lines = [f"space: {line}" for line in there.space.difference(problem.space)]
    for what in ("objectives", "constraints", "fidelity"):
        was, now = getattr(there, what), getattr(problem, what)
        if was != now:
            lines.append(f"{what}: was {_in_words(was)}, is {_in_words(now)}")
    settings = {**history.settings, "repeats": history.repeats}
    lines += [
        f"{key}: was {settings.get(key)}, is {value}" for key, value in asked.items() if settings.get(key) != value
    ]
    if lines:
        raise UsageError(
            f"study {study.name!r} exists and is another search:\n  "
            + "\n  ".join(lines)
            + "\nGive this search another name, or undo the difference to go on with the study that exists"
        )
