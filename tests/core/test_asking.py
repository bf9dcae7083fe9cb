"""Asking: numbers that are reserved are used or given back, whatever happens, and whoever else asks."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import replace

import pytest

from whet.core.events import Draft, Kind
from whet.core.trial import Cause, State
from whet.errors import LateReportWarning, SearchExhausted, StaleAttempt, StateError, UsageError
from whet.samplers import Auto, Grid, QuasiRandom, Random
from whet.study import Study, load

GRID = {"n": list(range(12))}


def study(**options) -> Study:
    return Study(options.pop("space", GRID), **{"sampler": "grid", "seed": 1, **options})


class Moody(Grid):
    """Fails at its second call, whatever it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.n_calls = 0

    def suggest(self, history, numbers, rng_of):
        self.n_calls += 1
        if self.n_calls == 2:
            raise KeyboardInterrupt
        return super().suggest(history, numbers, rng_of)


def test_an_ask_that_is_interrupted_leaves_no_hole():
    searched = study(sampler=Moody())
    assert searched.ask().config == {"n": 0}
    with pytest.raises(KeyboardInterrupt):
        searched.ask(3)
    assert [trial.config["n"] for trial in searched.ask(3)] == [1, 2, 3]


def test_the_number_of_one_who_died_while_choosing_goes_to_the_next_ask(tmp_path):
    path = str(tmp_path / "x.db")
    searched = study(store=path, name="a")
    pid = os.fork()
    if pid == 0:
        load("a", path).ledger.commit([], reserve=2)
        os._exit(0)
    os.waitpid(pid, 0)
    assert [trial.config["n"] for trial in searched.ask(3)] == [0, 1, 2]
    assert [trial.number for trial in searched.trials] == [0, 1, 2]


def test_the_number_of_one_who_lives_is_left_to_it(tmp_path):
    path = str(tmp_path / "x.db")
    searched = study(store=path, name="a")
    assert load("a", path).ledger.commit([], reserve=2).numbers == [0, 1]
    assert searched.ask().number == 2


@pytest.mark.parametrize("is_on_disk", [False, True])
def test_a_trial_that_waits_goes_to_one_of_those_who_ask_at_once(is_on_disk, tmp_path, monkeypatch):
    store = str(tmp_path / "x.db") if is_on_disk else None
    searched = study(store=store, name="a")
    other = load("a", store or searched.ledger.store)
    trial = searched.ask()
    searched.ledger.commit([Draft(Kind.REQUEUED, trial.number, {"reason": "", "counts": False}, trial.token)])
    other.ledger.catch_up()
    catch_up = searched.ledger.catch_up
    taken = []

    def and_then_the_other_is_faster():
        catch_up()
        monkeypatch.undo()
        taken.append(other.ask())

    monkeypatch.setattr(searched.ledger, "catch_up", and_then_the_other_is_faster)
    mine = searched.ask()
    assert (taken[0].number, mine.number) == (0, 1)
    other.tell(taken[0], 1.0)
    searched.tell(mine, 2.0)
    assert [(t.number, t.values["value"]) for t in searched.trials] == [(0, 1.0), (1, 2.0)]


def test_many_who_ask_at_once_share_a_space_without_loss(tmp_path):
    path = str(tmp_path / "x.db")
    study(store=path, name="a", space={"n": list(range(40))})
    asked: list[int] = []
    problems: list[BaseException] = []

    def work() -> None:
        mine = load("a", path)
        try:
            while True:
                trial = mine.ask()
                asked.append(trial.number)
                if len(asked) % 3 == 0:
                    payload = {"reason": "", "counts": False}
                    mine.ledger.commit([Draft(Kind.REQUEUED, trial.number, payload, trial.token)])
                else:
                    mine.tell(trial, float(trial.number))
        except SearchExhausted:
            pass
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert len(asked) >= 40
    trials = load("a", path).trials
    assert [(t.number, t.config["n"]) for t in trials] == [(k, k) for k in range(40)]
    assert {t.state for t in trials} == {State.COMPLETED}


def test_what_a_trial_without_an_attempt_says_is_refused():
    searched = study()
    trial = searched.ask()
    searched.ledger.commit([Draft(Kind.REQUEUED, trial.number, {"reason": "", "counts": False}, trial.token)])
    waiting = searched.trials[0]
    searched.ask()
    for say in (searched.tell, lambda trial, value: searched.report(trial, value, step=1)):
        with pytest.raises(StateError, match="is not running"):
            say(waiting, 1.0)
        with pytest.warns(LateReportWarning, match="begun again"):
            say(trial, 1.0)
    with pytest.raises(StateError, match="is not running"):
        searched.fail(replace(trial, token=None))
    assert searched.trials[0].state is State.RUNNING


def test_a_number_speaks_for_the_attempt_that_runs_now_wherever_it_was_begun(tmp_path):
    path = str(tmp_path / "x.db")
    searched = study(store=path, name="a")
    load("a", path).ask()
    assert searched.tell(0, 3.0).state is State.COMPLETED
    with pytest.raises(StateError, match=r"trial 5 .* does not exist"):
        searched.tell(5, 3.0)


def test_a_trial_that_fails_by_its_values_keeps_them():
    searched = study(objective={"acc": "maximize"})
    assert searched.tell(searched.ask(), {"loss": 0.5}).values == {"loss": 0.5}
    failed = searched.tell(searched.ask(), {"acc": math.inf, "loss": 0.5})
    assert (failed.cause, failed.values) == (Cause.BAD_VALUE, {"acc": math.inf, "loss": 0.5})


@pytest.mark.parametrize("value", [None, "much", 10**400, [1.0], {"value": None}], ids=lambda v: type(v).__name__)
def test_a_value_that_is_no_number_is_refused_and_the_trial_runs_on(value):
    searched = study()
    trial = searched.ask()
    for say in (searched.tell, lambda trial, value: searched.report(trial, value, step=1)):
        with pytest.raises(UsageError, match="must be a number"):
            say(trial, value)
    with pytest.raises(UsageError, match="the step must be a number"):
        searched.report(trial, 1.0, step="two")
    assert searched.tell(trial, 1.0).state is State.COMPLETED


@pytest.mark.parametrize(
    "sampler", [Grid(), Random(), QuasiRandom(), Auto()], ids=lambda sampler: type(sampler).__name__
)
def test_a_study_made_with_a_sampler_of_ours_can_be_loaded(sampler, tmp_path):
    path = str(tmp_path / "x.db")
    searched = study(sampler=sampler, store=path, name="a")
    asked = [searched.ask().config for _ in range(3)]
    again = load("a", path)
    assert type(again.sampler) is type(sampler)
    straight = study(sampler=type(sampler)())
    assert asked + [again.ask().config for _ in range(3)] == [trial.config for trial in straight.ask(6)]


@pytest.mark.parametrize("repeats", [0, -1, 1.5, "2"])
def test_repeats_are_a_whole_number(repeats):
    with pytest.raises(UsageError, match="repeats must be at least 1"):
        study(repeats=repeats)


def test_the_config_of_a_repeat_is_that_of_one_that_has_finished():
    searched = study(space={"x": (0.0, 1.0)}, sampler="random", repeats=2)
    for _ in range(4):
        searched.tell(searched.ask(), 1.0)
    history = searched.ledger.history
    assert history.finished_config(range(2, 4)) == searched.trials[2].config
    assert history.finished_config(range(4, 6)) is None
    (third,) = searched.ledger.commit([], reserve=1).numbers
    assert searched.ledger.history.finished_config(range(third, third + 2)) is None


# ---- why an attempt is not heard
@pytest.mark.parametrize(("scheduler", "done"), [("threshold(upper=1)", "stopped"), ("hyperband", "paused")])
def test_who_does_not_heed_a_decision_hears_of_it(scheduler, done):
    searched = study(scheduler=scheduler, fidelity={"epochs": (1, 9)})
    trial = searched.ask()
    assert searched.report(trial, 5.0, step=1) != "continue"
    for say in (searched.tell, lambda trial, value: searched.report(trial, value, step=2)):
        with pytest.raises(StaleAttempt, match=rf"scheduler has {done} it at what was said last \(.*heed what report"):
            say(trial, 3.0)
    with pytest.raises(StateError, match=f"is not running, but {done}"):
        searched.tell(trial.number, 3.0)
    assert searched.trials[0].state.value == done


def test_who_was_overtaken_hears_by_whom():
    searched = study()
    trials = searched.ask(4)
    searched.tell(trials[0], 1.0)
    searched.fail(trials[1])
    searched.ledger.commit([Draft(Kind.CANCELLED, 2, {}, trials[2].token)])
    requeued = Draft(Kind.REQUEUED, 3, {"reason": "", "counts": False}, trials[3].token)
    searched.ledger.commit([requeued])
    whys = ["was told already", "has failed already"]
    for trial, why in zip(trials, whys, strict=False):
        with pytest.raises(StaleAttempt, match=why):
            searched.tell(trial, 2.0)
    # Whose trial was cancelled or taken over is told so, and lives on.
    with pytest.warns(LateReportWarning, match="was cancelled"):
        assert searched.tell(trials[2], 2.0).state is State.CANCELLED
    with pytest.warns(LateReportWarning, match="was cancelled"):
        assert searched.report(trials[2], 2.0, step=1) == "stop"
    with pytest.warns(LateReportWarning, match="waits to be run again") as caught:
        assert searched.tell(trials[3], 2.0).state is State.WAITING
    assert caught[0].filename == __file__
    assert searched.ask().number == 3
    with pytest.warns(LateReportWarning, match=r"begun again \(attempt 2\)"):
        assert searched.tell(trials[3], 2.0).state is State.RUNNING
    with pytest.warns(LateReportWarning, match="its 'reported' was refused"):
        assert searched.report(trials[3], 2.0, step=1) == "stop"
    with pytest.warns(LateReportWarning, match="its 'failed' was refused"):
        assert searched.fail(trials[3]).attempt == 2
