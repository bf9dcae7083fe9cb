"""Laws of a run: killing it, resuming it and running it in parallel change nothing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import scipy.stats.qmc  # noqa: F401 -- here, or each process that is killed would spend its short life importing it

from tests.laws.simulated import Arithmetic, Watcher, events_of, run_and_die, run_study, value_of
from whet.core.events import Kind
from whet.core.randomness import replicate_seed
from whet.core.trial import State
from whet.space.domain import Categorical, Float, Int
from whet.space.space import Space
from whet.study import Study, load

N_TRIALS = 14
SEED = 20

SPACES: Mapping[str, Callable[[], Space]] = {
    "finite": lambda: Space({"a": Int(1, 6), "b": Categorical(["u", None, 0.1])}),
    "fewer configs than trials": lambda: Space({"a": Int(1, 9)}),
    "floats": lambda: Space({"lr": Float(1e-5, 1e-1, log=True), "b": Categorical(["u", "v"])}),
}
SEARCHES = [
    (sampler, space)
    for sampler in ("grid", "random", "quasi_random")
    for space in SPACES
    if (sampler, space) != ("grid", "floats")
]
ALONE = [*SEARCHES, *(("auto", space) for space in SPACES)]  # a model heeds what has ended: one trial at a time


def make_study(sampler: str, space: str, store: Path | None = None, *, repeats: int = 1, seed: int = SEED) -> Study:
    settings = {"limits": {"n_trials": N_TRIALS}}
    return Study(
        SPACES[space](),
        sampler=sampler,
        seed=seed,
        repeats=repeats,
        settings=settings,
        store=None if store is None else str(store),
        name="law",
    )


def results(study: Study) -> dict[int, tuple[Mapping[str, Any] | None, State, float | None]]:
    return {trial.number: (trial.config, trial.state, trial.values.get("value")) for trial in study.trials}


def undisturbed(sampler: str, space: str, slots: int = 1, **options: int) -> Study:
    study = make_study(sampler, space, **options)
    assert run_study(study, Arithmetic(slots, seed=slots)).reason == "done"
    return study


def check_log(study: Study) -> None:
    """Check that each trial completed exactly once and that the history agrees with its log."""
    kinds = Counter((event.kind, event.trial) for event in events_of(study))
    numbers = [trial.number for trial in study.trials]
    assert numbers == list(range(len(numbers)))
    assert all(kinds[Kind.COMPLETED, number] == kinds[Kind.ASKED, number] == 1 for number in numbers)
    reloaded = load_history(study)
    assert reloaded.counts() == study.ledger.history.counts()
    assert reloaded.best() == study.ledger.history.best()
    assert not [trial for trial in reloaded.unfinished.values() if not trial.is_reserved]


def load_history(study: Study):
    return study.ledger.store.load(study.ledger.study)


@pytest.mark.parametrize(("sampler", "space"), SEARCHES)
def test_the_number_of_workers_changes_nothing(sampler: str, space: str) -> None:
    expected = results(undisturbed(sampler, space))
    assert len(expected) == (9 if space == "fewer configs than trials" else N_TRIALS)
    for slots in (2, 4, 32):
        study = undisturbed(sampler, space, slots)
        assert results(study) == expected
        check_log(study)


@pytest.mark.parametrize(("sampler", "space"), ALONE)
def test_the_seed_decides(sampler: str, space: str) -> None:
    first, again = results(undisturbed(sampler, space)), results(undisturbed(sampler, space))
    assert first == again
    if sampler != "grid":
        other = results(undisturbed(sampler, space, seed=SEED + 1))
        assert [config for config, _, _ in other.values()] != [config for config, _, _ in first.values()]


def test_the_order_in_which_trials_end_changes_nothing() -> None:
    expected = results(undisturbed("random", "floats"))
    for seed in range(10):
        study = make_study("random", "floats")
        run_study(study, Arithmetic(3, seed))
        assert results(study) == expected
        assert study.best_value == min(value for _, _, value in expected.values() if value is not None)


@pytest.mark.parametrize(("sampler", "space"), ALONE)
def test_ask_and_tell_gives_what_a_run_gives(sampler: str, space: str) -> None:
    expected = results(undisturbed(sampler, space))
    study = make_study(sampler, space)
    for _ in expected:
        trial = study.ask()
        study.tell(trial, value_of(trial.config or {}, replicate_seed(SEED, 0)))
    assert results(study) == expected


@pytest.mark.parametrize("slots", [1, 4])
def test_repeats_share_a_config_and_differ_in_their_seed(slots: int) -> None:
    study = undisturbed("random", "floats", slots, repeats=3)
    trials = study.trials
    assert len(trials) == 3 * N_TRIALS
    plain = results(undisturbed("random", "floats"))
    for trial in trials:
        assert (trial.group, trial.replicate) == divmod(trial.number, 3)
        assert trial.config == plain[trial.group][0]
        assert trial.values["value"] == value_of(trial.config or {}, replicate_seed(SEED, trial.replicate))


KILLED = [("grid", "finite"), ("random", "finite"), ("quasi_random", "floats")]


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize(("sampler", "space"), KILLED)
def test_killed_at_each_call_and_resumed(sampler: str, space: str, slots: int, tmp_path: Path) -> None:
    """Each process of the study gets further by one call than the one before, until one gets through."""
    study = make_study(sampler, space, tmp_path / "law.db")
    told: list[tuple[int, float]] = []
    n_killed = 0
    while not _is_over(study):
        was_killed, ended = run_and_die(tmp_path / "law.db", "law", slots, n_killed, last_call=n_killed + 1)
        told += ended
        n_killed += was_killed
    assert n_killed > 15
    _check_killed(study, told, undisturbed(sampler, space))


@pytest.mark.slow
@pytest.mark.parametrize("last_call", range(1, 60, 2))
def test_killed_once_and_resumed(last_call: int, tmp_path: Path) -> None:
    study = make_study("random", "floats", tmp_path / "law.db")
    was_killed, told = run_and_die(tmp_path / "law.db", "law", 3, last_call, last_call=last_call)
    assert was_killed
    _check_killed(study, told, undisturbed("random", "floats"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment_and_resumed(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    sampler, space = SEARCHES[rng.randrange(len(SEARCHES))]
    study = make_study(sampler, space, tmp_path / "law.db", repeats=2)
    told: list[tuple[int, float]] = []
    n_killed = 0
    while not _is_over(study):
        # Longer each time, so that it gets through on a slow machine, too; never before it is killed once.
        slots, after_s = rng.randint(1, 4), 0.001 + n_killed * rng.uniform(0.0, 0.004)
        was_killed, ended = run_and_die(tmp_path / "law.db", "law", slots, n_killed, after_s=after_s)
        told += ended
        n_killed += was_killed
    assert n_killed
    _check_killed(study, told, undisturbed(sampler, space, repeats=2))


def _is_over(study: Study) -> bool:
    history = load_history(study)
    configs = 9 if len(history.problem.space) == 1 else N_TRIALS
    return history.n_finished == configs * history.repeats


def _check_killed(study: Study, told: list[tuple[int, float]], expected: Study) -> None:
    # One more run, undisturbed: it does what is missing, if anything.
    resumed = load("law", study.ledger.store)
    assert run_study(resumed, Arithmetic(2)).reason == "done"
    assert results(resumed) == results(expected)
    check_log(resumed)
    kept = {number: value for number, (_, _, value) in results(resumed).items()}
    assert all(kept[number] == value for number, value in told), "a result that was told is not the one that is kept"
    assert len({number for number, _ in told}) == len(told), "a trial was told to have ended twice"


def test_a_run_that_is_over_has_nothing_to_do() -> None:
    study = undisturbed("grid", "finite")
    n_events = len(events_of(study))
    ended: list[int] = []
    assert run_study(study, Arithmetic(2), Watcher(lambda trial: ended.append(trial.number))).reason == "done"
    assert not ended
    assert [event.kind for event in events_of(study)[n_events:]] in ([], [Kind.RELEASED])
