"""Histories and the ledger that extends them: previews, snapshots that share, what counts as the best."""

from __future__ import annotations

import math
import threading
import time
from contextlib import closing
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core.asking import start_draft
from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.ledger import Ledger
from whet.core.trial import State
from whet.errors import StateError
from whet.storage.doctor import differences
from whet.storage.memory import MemoryStore
from whet.storage.sql import SqlStore
from whet.study import Study
from whet.testing.store_writer import Writer, settings_of


def study(**options) -> Study:
    options = {"sampler": "random", "seed": 1, **options}
    return Study(options.pop("space", {"x": (0.0, 1.0)}), **options)


def completed(trial, value: float) -> Draft:
    return Draft(Kind.COMPLETED, trial.number, {"values": {"value": value}}, trial.token)


def numbers(history: History) -> list[int]:
    return [row.number for row in history.finished]


def loaded(searched: Study) -> History:
    return searched.ledger.store.load(searched.ledger.study)


# ---- previews
def test_a_preview_leaves_out_what_the_store_will_refuse():
    searched = study()
    trial = searched.ask()
    ledger = searched.ledger
    searched.tell(trial, 1.0)
    drafts = [Draft(Kind.REPORTED, trial.number, {"rows": [[1, 2.0]]}, trial.token), completed(trial, 2.0)]
    assert ledger.preview(drafts) is ledger.history
    assert ledger.commit(drafts).refused == drafts


def test_previews_go_on_from_one_another_and_are_what_is_then_written():
    searched = study()
    trials = searched.ask(3)
    ledger = searched.ledger
    first = ledger.preview([completed(trials[1], 1.0)])
    second = ledger.preview([completed(trials[0], math.nan)], first)
    assert (numbers(ledger.history), numbers(first), numbers(second)) == ([], [1], [1, 0])
    ledger.commit([completed(trials[1], 1.0), completed(trials[0], math.nan)])
    assert ledger.history.seq == second.seq
    assert numbers(ledger.history) == numbers(second)
    assert ledger.history.counts() == second.counts() == loaded(searched).counts()


def test_a_preview_that_does_not_come_true_is_forgotten():
    searched = study()
    first, second = searched.ask(2)
    ledger = searched.ledger
    preview = ledger.preview([completed(first, 1.0)])
    ledger.commit([completed(second, 5.0)])
    assert (numbers(preview), preview.best()) == ([0], 0)
    assert (numbers(ledger.history), ledger.history.best()) == ([1], 1)
    assert list(ledger.history.observations().values[:, 0]) == [5.0]
    assert list(preview.observations().values[:, 0]) == [1.0]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.sampled_from([1.0, 2.0, math.nan])), max_size=30))
def test_snapshots_never_change_whatever_is_previewed_and_written_after_them(steps):
    searched = study()
    ledger = searched.ledger
    seen: list[tuple[History, list[int], int]] = []
    for is_written, which, value in steps:
        running = ledger.history.running or searched.ask(4)
        drafts = [completed(running[which % len(running)], value)]
        known = ledger.preview(drafts)
        seen.append((known, numbers(known), known.counts()[State.COMPLETED]))
        if is_written:
            ledger.commit(drafts)
            seen.append((ledger.history, numbers(ledger.history), ledger.history.counts()[State.COMPLETED]))
    for history, then, n_completed in seen:
        assert numbers(history) == list(history.observations().numbers) == then
        assert history.counts()[State.COMPLETED] == n_completed == len(then)
        assert len(history.observations().x) == len(then)
    assert numbers(loaded(searched)) == numbers(ledger.history)


def test_what_has_finished_does_not_grow_under_one_who_looks_at_it():
    searched = study()
    for _ in range(3):
        searched.tell(searched.ask(), 1.0)
    met = []
    for row in searched.ledger.history.finished:  # as a suggestion does, in a thread of its own
        met.append(row.number)
        searched.tell(searched.ask(), 1.0)
    assert met == [0, 1, 2]


def test_what_others_have_made_impossible_is_not_possible():
    searched = study()
    trial = searched.ask()
    searched.ledger.commit([Draft(Kind.REQUEUED, trial.number, {"reason": "", "counts": False}, trial.token)])
    start = Draft(Kind.STARTED, trial.number, {"token": "t", "owner": "o"})
    again = Draft(Kind.STARTED, trial.number, {"token": "u", "owner": "o"})
    assert searched.ledger.possible([start, again]) == [start]
    assert searched.ledger.possible([again, completed(trial, 1.0)]) == [again, completed(trial, 1.0)]


# ---- the best
def test_a_number_that_is_only_reserved_keeps_no_other_config_from_being_the_best():
    searched = study(space={"n": [1, 2]}, sampler="grid", repeats=2)
    trials = searched.ask(5)  # the fifth number finds the space exhausted and stays reserved, for nobody
    for trial, value in zip(trials, [1.0, 2.0, 4.0, 4.0], strict=True):
        searched.tell(trial, value)
    assert searched.best.number == 0
    assert searched.ledger.history.leader() == (0, 1.5) == loaded(searched).leader()


@pytest.mark.parametrize("n_more", [0, 1])
def test_a_config_counts_once_all_its_repeats_have_ended(n_more):
    searched = study(repeats=2)
    trials = searched.ask(3)
    searched.ledger.commit([], reserve=n_more)  # the second repeat of the second config: reserved, or not even that
    for trial, value in zip(trials, [4.0, 4.0, 0.0], strict=True):
        searched.tell(trial, value)
    assert searched.ledger.history.leader() == (0, 4.0)


def test_the_mean_of_huge_values_is_finite():
    searched = study(repeats=2)
    for trial in searched.ask(2):
        searched.tell(trial, 1.5e308)
    assert searched.ledger.history.leader() == (0, 1.5e308)


@pytest.mark.parametrize(("direction", "reached", "missed"), [("minimize", 0.3, 0.2), ("maximize", 0.2, 0.5)])
def test_a_target_is_reached_by_the_best_value_that_keeps_the_constraints(direction, reached, missed):
    searched = study(objective={"a": direction}, constraints=["b <= 1"])
    assert not searched.ledger.history.reaches(reached)
    good, bad = (0.0, 1.0) if direction == "minimize" else (1.0, 0.0)
    for a, b in ((0.3, 1.0), (good, 2.0), (bad, 0.0) if direction == "minimize" else (0.2, 0.0)):
        searched.tell(searched.ask(), {"a": a, "b": b})
    for history in (searched.ledger.history, loaded(searched)):
        assert history.reaches(reached)
        assert not history.reaches(missed)


def test_counts_are_those_of_a_fresh_load():
    searched = study()
    trials = searched.ask(6)
    searched.tell(trials[0], 1.0)
    searched.fail(trials[1])
    searched.ledger.commit([Draft(Kind.CANCELLED, trials[2].number)])
    ledger = Ledger(searched.ledger.store, searched.ledger.store.studies("study")[0])
    searched.tell(trials[3], 1.0)
    ledger.catch_up()
    expected = {State.COMPLETED: 2, State.FAILED: 1, State.CANCELLED: 1, State.RUNNING: 2}
    for history in (searched.ledger.history, ledger.history, loaded(searched)):
        assert {state: n for state, n in history.counts().items() if n} == expected
        assert history.n_asked == 6


def test_a_new_attempt_begins_without_the_values_of_the_last_one():
    searched = study()
    trial = searched.ask()
    payload = {"values": {"value": 9.0}, "reason": "", "counts": False}
    searched.ledger.commit([Draft(Kind.REQUEUED, trial.number, payload, trial.token)])
    assert searched.ledger.history.unfinished[0].values == {"value": 9.0}
    again = searched.ask()
    assert (again.number, again.values) == (0, {})
    assert searched.fail(again).values == {}


def test_stores_are_shared_by_ledgers():
    store = MemoryStore()
    first = study(store=store)
    second = Ledger(store, store.studies("study")[0])
    trial = first.ask()
    assert [event.kind for event in second.catch_up()] == [Kind.CLAIMED, Kind.ASKED, Kind.STARTED]
    assert second.history == first.ledger.history
    first.tell(trial, 1.0)
    assert second.catch_up()
    assert second.history.best() == 0


@pytest.mark.parametrize("is_on_disk", [False, True])
def test_threads_share_a_ledger(is_on_disk, tmp_path):
    store = SqlStore(tmp_path / "x.db") if is_on_disk else MemoryStore()
    with closing(store):
        ledger = Ledger(store, store.create("a", settings_of()))
        other = Writer(store, ledger.study)
        problems: list[BaseException] = []
        seen: list[list[int]] = [[] for _ in range(4)]

        def work(mine: list[int]) -> None:
            try:
                for i in range(25):
                    (number,) = ledger.commit([], reserve=1, durable=False).numbers
                    drafts = [
                        Draft(Kind.ASKED, number, {"config": {"lr": i / 25}}),
                        Draft(Kind.STARTED, number, {"token": f"t{number}", "owner": "me"}),
                        Draft(Kind.COMPLETED, number, {"values": {"loss": float(number)}}),
                    ]
                    assert ledger.preview(drafts).counts()[State.COMPLETED] > len(mine)
                    assert ledger.commit(drafts, durable=False).refused == []
                    mine.append(number)
                    ledger.catch_up()
                    assert ledger.history.n_finished >= len(mine)
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=work, args=(mine,)) for mine in seen]
        for thread in threads:
            thread.start()
        for _ in range(20):
            other.complete(loss=1.0)
        for thread in threads:
            thread.join()
        assert problems == []
        ledger.catch_up()
        assert len({number for mine in seen for number in mine}) == 100
        assert ledger.history.n_finished == 120
        assert sorted(numbers(ledger.history)) == list(range(120))
        assert differences(ledger.history, store.load(ledger.study)) == []


def test_what_an_attempt_has_said_is_written_though_a_plan_for_its_trial_came_late():
    searched = study(fidelity={"epochs": (1, 9)}, scheduler="asha(type=promotion)")
    ledger = searched.ledger
    searched.report(searched.ask(), 0.5, step=1)
    known = ledger.history  # paused; then it is resumed elsewhere, given back, and begun here
    start = partial(start_draft, 0, now=time.time)
    ledger.commit([Draft(Kind.RESUMED, 0, {"budget": 3}), start()])
    ledger.commit([Draft(Kind.REQUEUED, 0, {"reason": "lost", "counts": False}, ledger.history.unfinished[0].token)])
    ledger.commit([start()])
    said = Draft(Kind.REPORTED, 0, {"rows": [[2.0, 0.4]]}, ledger.history.unfinished[0].token)
    drafts = [said, Draft(Kind.RESUMED, 0, {"budget": 3}), start()]
    with pytest.raises(StateError) as refusal:
        ledger.commit(drafts, known=known)
    assert ledger.salvaged(drafts, known, refusal.value) == ([said], set())
