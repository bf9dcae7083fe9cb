"""ASHA: nobody waits, and whoever goes on was among the best of those known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

import whet
from tests.schedulers.driving import at_level, driven, falling, resumes
from whet.core.events import Draft, Kind
from whet.core.protocols import Decision, New, Resume
from whet.core.trial import State, Trial
from whet.errors import SearchExhausted, UsageError
from whet.points import rungs
from whet.schedulers.asha import ASHA

LEVELS = (1, 3, 9, 27)
PROMOTION = "asha(type=promotion)"


# ---- stopping
@pytest.mark.parametrize("workers", [1, 5])
def test_whoever_goes_on_was_among_the_best_third_of_those_known(workers: int) -> None:
    run = driven("asha", 60, workers)
    n_checked = Counter[Decision]()
    for history, number, decision, reason in run.watched.decided:
        step = history.unfinished[number].curve.last_step()
        if step not in LEVELS[:-1]:
            assert decision is Decision.CONTINUE
            continue
        known = at_level(history, 0, step)
        rank = [n for _, n in known].index(number)
        assert decision is (Decision.CONTINUE if rank < max(1, len(known) // 3) else Decision.STOP)
        n_checked[decision] += 1
        if reason and step > 1:
            assert reason.startswith(f"{rank + 1}") and f"of {len(known)} at {step:g} epochs, the best" in reason
    assert min(n_checked.values()) > 20
    assert run.most == workers and run.waited == 0, "no slot ever waits"
    assert {trial.budget for trial in run.trials} == {27} and {trial.bracket for trial in run.trials} == {0}


def test_a_stopped_trial_says_why() -> None:
    run = driven("asha", 20)
    stopped = [trial for trial in run.trials if trial.state is State.STOPPED]
    assert stopped and all("goes on" in trial.message or "go on" in trial.message for trial in stopped)


def test_the_first_goes_to_the_end_and_of_those_that_are_no_better_nobody() -> None:
    run = driven("asha", 12, curve=lambda config, step: 1.0)
    completed = [trial.number for trial in run.trials if trial.state is State.COMPLETED]
    assert completed == [0], "of equal ones the lower number is ahead"


def test_a_best_one_that_comes_late_goes_to_the_end() -> None:
    known: dict[float, int] = {}
    run = driven("asha", 20, curve=lambda config, step: known.setdefault(config["x"], -len(known)))
    assert {trial.state for trial in run.trials} == {State.COMPLETED}, "each was better than all before it"


def test_reports_that_pass_several_levels_have_to_hold_on_each() -> None:
    study = whet.Study({"x": whet.Float(0, 1)}, fidelity={"epochs": (1, 27)}, scheduler="asha", sampler="random")
    first, second, third = study.ask(3)
    assert study.report(first, 0.1, step=10) is Decision.CONTINUE
    assert study.report(second, 0.05, step=1) is Decision.CONTINUE, "a first report at 10 counts at 1"
    assert study.report(second, 0.2, step=9) is Decision.STOP
    assert study.report(third, 0.5, step=26) is Decision.STOP
    with pytest.raises(whet.errors.StaleAttempt):
        study.report(third, 0.5, step=27)
    last = study.ask()
    assert study.report(last, 0.9, step=27) is Decision.CONTINUE, "what has all its budget ends by itself"


def test_repeated_and_earlier_steps_are_not_asked_about_again() -> None:
    study = whet.Study({"x": whet.Float(0, 1)}, fidelity={"epochs": (1, 27)}, scheduler="asha", sampler="random")
    first, second = study.ask(2)
    assert study.report(second, 0.5, step=3) is Decision.CONTINUE
    assert study.report(first, 0.1, step=3) is Decision.CONTINUE
    for step in (3, 1, 2, 8.5):
        assert study.report(second, 0.9, step=step) is Decision.CONTINUE, "it was the best when it was asked"
    assert study.report(second, 0.9, step=9) is Decision.CONTINUE, "nobody else is there"


@pytest.mark.parametrize("way", ["asha", PROMOTION])
@pytest.mark.parametrize("lost", [math.nan, math.inf])
def test_no_finite_number_ends_a_trial_and_is_the_worst(way: str, lost: float) -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        return lost if config["x"] < 0.3 and step >= 3 else falling(config, step)

    run = driven(way, 30, 3, curve)
    ended = [trial for trial in run.trials if (trial.config or {})["x"] < 0.3 and run.cost[trial.number] == 3]
    assert ended and {trial.state for trial in ended} == {State.STOPPED}
    if lost == math.inf:
        assert {trial.message for trial in ended} == {"no finite number at 3 epochs"}
    assert run.study.best_config["x"] >= 0.3


def asked(n: int, way: str = "asha") -> tuple[whet.Study, list[Trial]]:
    study = whet.Study({"x": whet.Float(0, 1)}, fidelity={"epochs": (1, 27)}, scheduler=way, sampler="random")
    return study, study.ask(n)


# ---- stopping, where trials come to nothing
def lose(study: whet.Study, trial: Trial, how: str) -> None:
    if how == "fails":
        study.fail(trial)
    elif how == "is cancelled":
        study.ledger.commit([Draft(Kind.CANCELLED, trial.number)])
    else:
        assert study.report(trial, float(how), step=3 if how == "inf" else 2) is Decision.STOP


LOSSES = ["fails", "is cancelled", "nan", "inf"]


@pytest.mark.parametrize("how", LOSSES)
def test_who_has_come_to_nothing_is_the_worst_where_it_was(how: str) -> None:
    study, (best, second, third, fourth) = asked(4)
    assert study.report(best, 0.1, step=1) is Decision.CONTINUE
    lose(study, best, how)
    assert study.report(second, 0.5, step=1) is Decision.CONTINUE
    assert study.report(third, 0.3, step=1) is Decision.CONTINUE, "nobody who may still come to something is ahead"
    assert study.report(fourth, 0.4, step=1) is Decision.STOP
    assert study.ledger.trial(fourth.number).message == "2nd of 4 at 1 epoch, the best goes on"


@pytest.mark.parametrize("how", LOSSES)
def test_as_long_as_nobody_else_has_gone_on_whoever_comes_does(how: str) -> None:
    study, (best, stopped, worse, last) = asked(4)
    assert study.report(best, 0.1, step=1) is Decision.CONTINUE
    assert study.report(stopped, 0.2, step=1) is Decision.STOP
    lose(study, best, how)
    assert study.report(worse, 0.3, step=1) is Decision.CONTINUE, "the one ahead of it will never get further"
    assert study.report(last, 0.4, step=1) is Decision.STOP, "the one before it may"
    for step in (3, 9):
        assert study.report(worse, 0.3, step=step) is Decision.CONTINUE
    assert study.tell(worse, 0.3).state is State.COMPLETED


def test_who_was_stopped_further_up_keeps_its_place() -> None:
    study, (first, second, third) = asked(3)
    assert study.report(first, 0.1, step=1) is Decision.CONTINUE
    study.report(first, 0.5, step=3)
    assert study.report(second, 0.05, step=1) is Decision.CONTINUE
    assert study.report(second, 0.6, step=3) is Decision.STOP
    assert study.report(third, 0.07, step=1) is Decision.STOP, "only one in eta goes on, and that was the second"


@pytest.mark.parametrize("seed", range(6))
def test_with_one_worker_one_is_trained_to_the_end_unless_all_come_to_nothing(seed: int) -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        if config["x"] < 0.7 and step > 30 * config["x"]:
            raise ArithmeticError("the better, the sooner")
        return float(config["x"]) + 1 / step

    run = driven("asha", 5, curve=curve, seed=seed, fresh_every=1)
    states = Counter(trial.state for trial in run.trials)
    assert states[State.COMPLETED] or states[State.FAILED] == 5


def test_the_first_fails_late_and_those_behind_it_go_on() -> None:
    known: dict[float, int] = {}

    def curve(config: Mapping[str, Any], step: float) -> float:
        rank = known.setdefault(config["x"], len(known))
        if rank == 0 and step > 9:
            raise ArithmeticError("too good to be true")
        return float(rank)

    run = driven("asha", 5, curve=curve)
    assert [trial.state for trial in run.trials] == [State.FAILED, State.COMPLETED] + 3 * [State.STOPPED]


def test_with_two_objectives_who_has_come_to_nothing_is_the_worst_as_well() -> None:
    study = whet.Study(
        {"x": whet.Float(0, 1)},
        {"a": "min", "b": "min"},
        fidelity={"epochs": (1, 27)},
        scheduler="asha",
        sampler="random",
    )
    first, second, third = study.ask(3)
    assert study.report(first, {"a": 0.1, "b": 0.1}, step=1) is Decision.CONTINUE
    study.fail(first)
    assert study.report(second, {"a": 0.5, "b": 0.5}, step=1) is Decision.CONTINUE
    assert study.report(third, {"a": 0.4, "b": 0.4}, step=1) is Decision.CONTINUE


# ---- promotion
@pytest.mark.parametrize(("way", "workers"), [(PROMOTION, 1), (PROMOTION, 6), ("asha(type=promotion, eta=2)", 3)])
def test_promotions_are_of_the_best_and_from_the_highest_rung(way: str, workers: int) -> None:
    run = driven(way, 40, workers)
    eta = 2 if "eta" in way else 3
    levels = (2, 3, 7, 14, 27) if eta == 2 else LEVELS
    done = 0
    for history, one in resumes(run):
        budget = history.unfinished[one.number].budget
        assert budget is not None
        assert history.unfinished[one.number].state is State.PAUSED
        level = levels.index(int(budget))
        assert one.budget == levels[level + 1]
        known = at_level(history, 0, budget)
        rank = [n for _, n in known].index(one.number)
        if rank < len(known) // eta:
            done += 1
            for higher in levels[level + 1 : -1]:  # nobody there was to go on
                best = [n for _, n in at_level(history, 0, higher)]
                for number in best[: len(best) // eta]:
                    waiting = history.unfinished.get(number)
                    assert waiting is None or waiting.state is not State.PAUSED or waiting.budget != higher
        else:  # the finish: nothing new may begin, nothing runs, and nobody was ever trained to the end
            assert not history.running and sum(t.given is None for t in run.trials) == 40
    assert done > 10 and run.waited == 0
    assert all(run.cost[trial.number] == trial.budget for trial in run.trials), "every step was made once"


def test_a_search_of_a_few_trials_ends_with_one_that_was_trained_to_the_end() -> None:
    for n_trials in (1, 2, 5):
        run = driven(PROMOTION, n_trials, 2)
        assert [trial.state for trial in run.trials].count(State.COMPLETED) == 1
        assert run.study.best.budget == 27


def test_where_the_best_fail_the_next_ones_go_on() -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        if step > 3 and config["x"] < 0.6:
            raise ArithmeticError("too good to be true")
        return falling(config, step)

    run = driven(PROMOTION, 20, 3, curve)
    assert run.study.best_config["x"] >= 0.6
    assert any(trial.state is State.FAILED for trial in run.trials)


def test_a_failed_trial_takes_its_place_on_the_rung() -> None:
    study = whet.Study({"x": whet.Float(0, 1)}, fidelity={"epochs": (1, 27)}, scheduler=PROMOTION, sampler="random")
    good, *others = study.ask(3)
    study.tell(good, 0.1)
    study.fail(others[0])
    assert study.ask().number == 3, "one of two is no third"
    study.fail(others[1])
    assert study.ask().number == good.number


def test_who_fails_at_the_very_end_was_not_trained_to_it() -> None:
    study, trials = asked(2, PROMOTION)
    for trial, value in zip(trials, (0.1, 0.2), strict=True):
        study.tell(trial, value)
    for budget in (3, 9, 27):
        (last,) = study.scheduler.assign(study.ledger.history, 1, 0)
        assert last == Resume(0, budget)
        study.ledger.commit([Draft(Kind.RESUMED, 0, {"budget": budget})])
        (trial,) = study.ask(1)
        assert (trial.number, trial.budget) == (0, budget)
        if budget < 27:
            study.tell(trial, 0.1)
    study.report(trial, 0.1, step=27)
    study.fail(trial)
    assert study.scheduler.assign(study.ledger.history, 1, 0) == [Resume(1, 3)]


def test_cancelled_trials_neither_go_on_nor_hold_up() -> None:
    def between(study: whet.Study, tick: int) -> None:
        if tick % 5 == 0 and study.ledger.history.unfinished:
            number = max(study.ledger.history.unfinished)
            study.ledger.commit([Draft(Kind.CANCELLED, number)])

    run = driven(PROMOTION, 25, 3, between=between)
    states = Counter(trial.state for trial in run.trials)
    assert states[State.CANCELLED] > 3 and not states[State.RUNNING]


# ---- both
@pytest.mark.parametrize("way", ["asha", "asha(eta=2, brackets=2)"])
def test_a_deterministic_study_stops_the_same_trials_however_many_workers(way: str) -> None:
    outcomes = []
    for workers in (1, 2, 4):
        run = driven(way, 24, workers, lookahead=4, seed=3)
        outcomes.append([(trial.config, trial.bracket, trial.state, run.cost[trial.number]) for trial in run.trials])
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len({state for _, _, state, _ in outcomes[0]}) == 2


def test_so_it_does_where_trials_fail() -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        if config["x"] < 0.5 and step == 5:
            raise ArithmeticError("too good to be true")
        return falling(config, step)

    outcomes = []
    for workers in (1, 3):
        run = driven("asha", 24, workers, curve, lookahead=3, seed=3)
        outcomes.append([(trial.config, trial.state, run.cost[trial.number]) for trial in run.trials])
    assert outcomes[0] == outcomes[1]
    assert len({state for _, state, _ in outcomes[0]}) == 3


@pytest.mark.parametrize("way", ["asha", PROMOTION])
def test_all_failing_ends(way: str) -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        raise ArithmeticError("never")

    run = driven(way, 12, 3, curve)
    assert [trial.state for trial in run.trials] == [State.FAILED] * 12


@pytest.mark.parametrize("way", ["asha", PROMOTION])
def test_a_finite_space_is_exhausted_and_its_best_trained(way: str) -> None:
    space = {"x": [0.1, 0.2, 0.3, 0.5, 0.9]}
    run = driven(way, 100, 2, space=space)
    assert sorted((trial.config or {})["x"] for trial in run.trials) == space["x"]
    assert run.study.best.state is State.COMPLETED
    with pytest.raises(SearchExhausted, match="nothing left to ask"):
        run.study.ask()


@pytest.mark.parametrize("way", ["asha", PROMOTION])
def test_what_people_give_runs_to_the_end_and_counts(way: str) -> None:
    def before(study: whet.Study) -> None:
        study.enqueue({"x": 0.3})
        study.enqueue({"x": 0.9})
        study.add_trials([({"x": 0.31}, 0.02), ({"x": 0.8}, math.nan)])

    run = driven(way, 20, 2, before=before)
    assert [trial.state for trial in run.of(None)] == [State.COMPLETED] * 3 + [State.FAILED]
    assert [run.cost.get(trial.number) for trial in run.of(None)] == [27, 27, None, None]
    for history, number, decision, reason in run.watched.decided:
        if decision is Decision.STOP and history.unfinished[number].curve.last_step() == 3:
            known = at_level(history, 0, 3) + at_level(history, None, 3)
            n_failed = 1 if any(trial.state is State.FAILED for trial in history.finished) else 0
            assert f"of {len(known)} " in reason or f"of {len(known) + n_failed} " in reason


def test_added_trials_are_compared_with_nobody_and_failed_ones_count_on_the_lowest_rung() -> None:
    study = whet.Study({"x": whet.Float(0, 1)}, fidelity={"epochs": (1, 27)}, scheduler="asha", sampler="random")
    study.add_trials([({"x": 0.31}, 0.02), ({"x": 0.8}, math.nan)])
    first, second, third = study.ask(3)
    assert study.report(first, 0.5, step=1) is Decision.CONTINUE
    assert study.report(second, 0.6, step=1) is Decision.STOP
    assert study.ledger.trial(second.number).message == "2nd of 3 at 1 epoch, the best goes on"
    assert study.report(third, 0.4, step=1) is Decision.CONTINUE
    assert study.report(third, 0.4, step=3) is Decision.CONTINUE
    assert study.report(first, 0.5, step=3) is Decision.STOP
    assert study.ledger.trial(first.number).message == "2nd of 2 at 3 epochs, the best goes on"


def test_what_was_added_does_not_stand_for_what_was_trained() -> None:
    run = driven(PROMOTION, 5, before=lambda study: study.add_trials([({"x": 0.99}, 50.0)]))
    assert [trial.state for trial in run.of(0)].count(State.COMPLETED) == 1


@pytest.mark.parametrize("way", ["asha(brackets=3)", "asha(type=promotion, brackets=9)"])
def test_brackets_begin_at_levels_of_their_own_in_the_proportions_of_hyperband(way: str) -> None:
    run = driven(way, 78, 4)
    counts = Counter(trial.bracket for trial in run.trials)
    shares = {0: 27, 1: 12, 2: 6, 3: 4} if "promotion" in way else {0: 27, 1: 12, 2: 6}
    for bracket, share in shares.items():
        assert abs(counts[bracket] - 78 * share / sum(shares.values())) < 2
    for _, one in run.watched.assigned:
        if isinstance(one, New) and "promotion" in way:
            assert one.bracket is not None and one.budget == LEVELS[one.bracket]
    for history, number, decision, _ in run.watched.decided:
        trial = history.unfinished[number]
        step = trial.curve.last_step()
        if trial.bracket is not None and step is not None and step < LEVELS[trial.bracket]:
            assert decision is Decision.CONTINUE


@pytest.mark.parametrize("way", ["asha", PROMOTION])
def test_with_two_objectives_whoever_is_dominated_does_not_go_before_who_dominates(way: str) -> None:
    def curve(config: Mapping[str, Any], step: float) -> Mapping[str, float]:
        return {"loss": falling(config, step), "ms": config["size"] + config["x"] / 10}

    space = {"x": whet.Float(0.0, 1.0), "size": whet.Int(1, 5)}
    run = driven(way, 30, 3, curve, space=space, objective={"loss": "minimize", "ms": "minimize"})
    last = [trial for trial in run.trials if trial.state is State.COMPLETED]
    assert last
    for history, number, decision, _ in run.watched.decided:
        trial = history.unfinished[number]
        rows = [*trial.curve]
        if decision is Decision.STOP and len(rows) == 1:
            others = [next(iter(t.curve)) for t in [*history.finished, *history.unfinished.values()] if t.curve]
            ahead = [row for row in others if row[1:] != rows[0][1:]]
            assert len(ahead) >= max(1, len(others) // 3)
    for history, one in resumes(run):
        mine = list(history.unfinished[one.number].curve)[-1]
        for other in history.unfinished.values():
            if other.state is State.PAUSED and other.budget == mine[0]:
                assert not all(a < b for a, b in zip(list(other.curve)[-1][1:], mine[1:], strict=True))


def test_constraints_come_first() -> None:
    def curve(config: Mapping[str, Any], step: float) -> Mapping[str, float]:
        return {"loss": falling(config, step), "ms": 20.0 if config["x"] < 0.5 else 5.0}

    run = driven("asha", 30, 2, curve, objective={"loss": "minimize"}, constraints=["ms <= 10"])
    assert run.study.best_config["x"] >= 0.5


@pytest.mark.parametrize("eta", [1, 1.99, 0, -3, math.nan, math.inf, "3", None, True])
def test_eta_is_at_least_2(eta: Any) -> None:
    with pytest.raises(UsageError, match="eta must be a number of at least 2"):
        ASHA(eta=eta)


def test_options_out_of_range() -> None:
    with pytest.raises(UsageError, match="'stopping' or 'promotion', got 'random'"):
        ASHA(type="random")  # type: ignore[arg-type]
    for brackets in (0, -1, 1.5, True, "2"):
        with pytest.raises(UsageError, match="brackets must be a whole number"):
            ASHA(brackets=brackets)  # type: ignore[arg-type]


def test_what_it_needs() -> None:
    with pytest.raises(UsageError, match=r"needs a fidelity.*fidelity=\{'epochs': \(1, 81\)\}.*--fidelity epochs=1:81"):
        whet.Study({"x": whet.Float(0, 1)}, scheduler="asha")
    with pytest.raises(UsageError, match="needs two levels, and with eta=4 there is one from 1 to 3"):
        whet.Study({"x": whet.Float(0, 1)}, scheduler="asha(eta=4)", fidelity={"epochs": (1, 3)})
    with pytest.raises(UsageError, match="needs a fidelity"):
        ASHA().assign(whet.Study({"x": whet.Float(0, 1)}).ledger.history, 1, 1)


def test_the_study_keeps_its_options() -> None:
    study = whet.Study({"x": whet.Float(0, 1)}, scheduler="asha(eta=2.5, brackets=2)", fidelity={"epochs": (1, 9)})
    assert study.ledger.history.settings["scheduler_options"] == {"eta": 2.5, "brackets": 2}


# ---- a deterministic study


def test_what_each_trial_of_a_deterministic_study_is_to_know_is_not_put_together_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_placed = 0
    original = rungs.place_of

    def place_of(*args: Any) -> rungs.Place:
        nonlocal n_placed
        n_placed += 1
        return original(*args)

    monkeypatch.setattr(rungs, "place_of", place_of)

    def train(config: dict[str, float], trial: Any) -> None:
        for epoch in (1, 3, 9):
            trial.report((config["x"] - 0.3) ** 2 + 1 / epoch, epoch)

    counts = []
    for n_trials in (30, 90):
        n_placed = 0
        options: dict[str, Any] = {"scheduler": "asha", "sampler": "random", "deterministic": True}
        options |= {"fidelity": {"epochs": (1, 9)}, "n_trials": n_trials, "seed": 0, "progress": False}
        whet.tune(train, {"x": (0.0, 1.0)}, executor="inline", **options)
        counts.append(n_placed)
    assert counts[1] < 3.5 * counts[0], "what it costs does not grow with the trials"


# ---- after an interruption


@pytest.mark.parametrize("is_killed", [False, True])
def test_levels_that_a_trial_had_passed_before_it_was_interrupted_are_not_judged_again(is_killed: bool) -> None:
    study = whet.Study({"x": (0.0, 1.0)}, scheduler="asha", fidelity={"epochs": (1, 81)}, sampler="random", seed=1)
    trial = study.ask()
    for epoch in range(1, 31):
        assert study.report(trial, 1.0 - epoch / 100, step=epoch) is Decision.CONTINUE
    for i, other in enumerate(study.ask(3)):
        study.report(other, 0.9 - i / 100, step=1)  # ahead of it at the first level
    if is_killed:
        lost = Draft(Kind.REQUEUED, trial.number, {"reason": "lost", "counts": False}, trial.token)
        study.ledger.commit([lost])
        trial = study.ask()
        assert trial.number == 0
    assert study.report(trial, 0.69, step=31) is Decision.CONTINUE


def test_a_trial_that_ends_with_no_finite_value_is_not_the_one_that_was_trained_to_the_end() -> None:
    settings = {"rules": {"infinite": "worst"}}
    options: dict[str, Any] = {"fidelity": {"epochs": (1, 9)}, "scheduler": "asha(type=promotion)"}
    study = whet.Study({"x": [1, 2, 3, 4]}, sampler="grid", settings=settings, **options)
    with pytest.raises(SearchExhausted):
        while True:
            trial = study.ask()
            is_first = trial.number == 0 and trial.budget == 9
            study.tell(trial, math.inf if is_first else 0.1 * (trial.number + 1))
    assert study.best.number == 1 and study.best.budget == 9
