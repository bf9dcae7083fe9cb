"""What every `whet.core.protocols.Store` must keep, as a test class to inherit from.

::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def connect(self, tmp_path):
            return lambda: MyStore(tmp_path / "studies")

Each call of ``connect`` opens the same place once more, as another process would; the first one finds it empty. A store
that nobody else can open returns the same object each time. Written for pytest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from whet.core.events import Draft, Kind
from whet.core.problem import Constraint, Objective
from whet.core.protocols import Store
from whet.core.trial import Cause, State
from whet.errors import StudyBusy, StudyExists, StudyNotFound, UsageError
from whet.storage.doctor import differences
from whet.testing.store_given_suite import GivenContract
from whet.testing.store_lease_suite import LeaseContract
from whet.testing.store_log_suite import LogContract
from whet.testing.store_writer import STRANGE_NAMES, STRANGE_VALUES, Connect, Writer, fold, settings_of, started

_CLOCKS_DIFFER_S = 60.0  # a server's and ours


class StoreContract(LogContract, GivenContract, LeaseContract):
    """Inherit, and define the fixture ``connect``: opens the place under test once more at each call."""

    @pytest.fixture
    def store(self, connect: Connect) -> Iterator[Store]:
        """The store under test."""
        with closing(connect()) as store:
            yield store

    @pytest.fixture
    def writer(self, store: Store) -> Writer:
        """A writer on a study of its own."""
        return Writer(store, store.create("study", settings_of()).id)

    def test_a_new_study_has_its_settings_and_one_event(self, store: Store) -> None:
        settings = settings_of(note="a note")
        record = store.create("a", settings)
        assert store.studies() == store.studies("a") == [record]
        assert (record.name, record.settings, record.holder) == ("a", settings, None)
        (created,) = store.events(record.id)
        assert (created.seq, created.kind, created.trial, created.attempt) == (1, Kind.CREATED, None, 0)
        assert created.payload == settings
        assert created.time == record.created_at
        history = store.load(record.id)
        assert (history.seq, history.n_numbers, history.n_finished, history.seed) == (1, 0, 0, 7)
        assert history.settings == settings

    def test_names_are_taken_once(self, store: Store) -> None:
        first = store.create("a", settings_of())
        with pytest.raises(StudyExists, match="'a'"):
            store.create("a", settings_of())
        assert store.studies() == [first]

    def test_strange_names_are_kept_exactly(self, store: Store, connect: Connect) -> None:
        records = [store.create(name, settings_of(note=name)) for name in STRANGE_NAMES]
        assert len({record.id for record in records}) == len(STRANGE_NAMES)
        with closing(connect()) as other:
            assert [record.name for record in other.studies()] == list(STRANGE_NAMES)
            for record in records:
                assert other.studies(record.name) == [record]

    @pytest.mark.parametrize("name", ["", " ", "\t\n", "a\0b", "\ud800", "n" * 201])
    def test_names_that_are_no_names_are_refused(self, store: Store, name: str) -> None:
        with pytest.raises(UsageError, match="name"):
            store.create(name, settings_of())
        assert store.studies() == []

    def test_an_unknown_name_lists_the_close_ones(self, store: Store) -> None:
        with pytest.raises(StudyNotFound, match="no study"):
            store.studies("resnet")
        for name in ("resnet-50", "vgg"):
            store.create(name, settings_of())
        with pytest.raises(StudyNotFound, match="resnet-50"):
            store.studies("resnet-5")
        with pytest.raises(StudyNotFound, match="vgg"):
            store.studies("zzz")

    def test_settings_are_kept_exactly_and_apart_from_the_callers(self, store: Store) -> None:
        settings = settings_of(strange=list(STRANGE_VALUES), inner={"a": 1})
        record = store.create("a", settings)
        settings["inner"]["a"] = 2
        kept = store.studies("a")[0].settings
        assert kept["inner"] == record.settings["inner"] == {"a": 1}
        assert repr(kept["strange"]) == repr(list(STRANGE_VALUES))

    def test_settings_that_are_no_json_are_refused(self, store: Store) -> None:
        with pytest.raises(TypeError):
            store.create("a", settings_of(bad={1, 2}))
        assert store.studies() == []

    @pytest.mark.parametrize("name", ["a\0b", "\ud800", "", "x" * 10_000, "'; drop table study; --"])
    def test_no_name_that_a_study_cannot_have_finds_one(self, store: Store, name: str) -> None:
        store.create("a", settings_of())
        with pytest.raises(StudyNotFound):
            store.studies(name)

    def test_a_deleted_study_is_gone_and_its_id_is_not_used_again(self, store: Store) -> None:
        kept = Writer(store, store.create("kept", settings_of()).id)
        gone = Writer(store, store.create("gone", settings_of()).id)
        kept.complete(loss=1.0)
        gone.complete(loss=2.0)
        store.delete(gone.study)
        assert [record.name for record in store.studies()] == ["kept"]
        assert kept.trial(0).values == {"loss": 1.0}
        for use in (
            lambda: store.append(gone.study, [], after=gone.history.seq, reserve=1),
            lambda: store.events(gone.study),
            lambda: store.load(gone.study),
            lambda: store.trials(gone.study),
            lambda: store.summary(gone.study),
            lambda: store.delete(gone.study),
            lambda: store.hold(gone.study).__enter__(),
        ):
            with pytest.raises(StudyNotFound):
                use()
        again = store.create("gone", settings_of())
        assert again.id != gone.study
        assert store.load(again.id).n_numbers == 0

    # ------------------------------------------------------------------------------------------------ what is known

    def test_loading_is_folding(self, writer: Writer, connect: Connect) -> None:
        """Every kind of event, then: the projection says what the log says."""
        first, second = writer.start(budget=1), writer.start(why={"how": math.inf})
        rows = [[1, 0.5], [2, None]]
        writer.write(Draft(Kind.REPORTED, first, {"rows": rows}, f"token {first}"), durable=False)
        writer.write(Draft(Kind.REPORTED, first, {"rows": [[3, -math.inf]]}, f"token {first}"), durable=False)
        writer.write(Draft(Kind.PAUSED, first, {"values": {"loss": 0.5}}, f"token {first}"))
        writer.write(Draft(Kind.RESUMED, first, {"budget": 3.0}))
        lost = {"reason": "worker lost", "counts": True, "cause": "signal"}
        writer.write(Draft(Kind.REQUEUED, second, lost, f"token {second}"))
        third = writer.start(parent=first, from_step=2.0, member=1, replicate=0)
        failed = {"cause": "memory", "message": "out of memory", "exit_code": -9, "values": {"loss": math.nan}}
        writer.write(Draft(Kind.FAILED, third, failed, f"token {third}"))
        writer.write(Draft(Kind.CANCELLED, writer.ask()), Draft(Kind.COMMAND, None, {"command": "stop"}))
        fifth = writer.start()
        writer.write(Draft(Kind.REPORTED, fifth, {"rows": [[1, 0.1]]}, f"token {fifth}"))
        writer.write(Draft(Kind.STOPPED, fifth, {"values": {"loss": 0.1}}, f"token {fifth}"), reserve=2)
        with closing(connect()) as store:
            loaded = store.load(writer.study)
            assert not differences(fold(store.events(writer.study)), loaded)
            assert not differences(writer.history, loaded)
            assert [trial.number for trial in store.trials(writer.study)] == [0, 1, 2, 3, 4]
            trial = store.trials(writer.study, numbers=[third])[0]
        assert (trial.cause, trial.exit_code, trial.parent, trial.from_step) == (Cause.MEMORY, -9, first, 2.0)
        assert loaded.unfinished[second].retries == {"signal": 1}
        assert [row.number for row in loaded.finished] == [2, 3, 4]
        assert list(loaded.finished[2].curve) == [(1.0, 0.1)]

    def test_a_loaded_history_goes_on(self, writer: Writer, connect: Connect) -> None:
        writer.complete(loss=1.0)
        number = writer.start()
        with closing(connect()) as store:
            other = Writer(store, writer.study)
            other.write(Draft(Kind.REPORTED, number, {"rows": [[1, 0.5]]}, f"token {number}"))
            other.write(Draft(Kind.COMPLETED, number, {"values": {"loss": 0.5}}, f"token {number}"))
            assert other.history.best() == number
            assert list(other.history.finished[1].curve) == [(1.0, 0.5)]

    def test_a_restarted_trial_replaces_what_it_reports_again(self, writer: Writer, connect: Connect) -> None:
        number = writer.start()
        writer.write(Draft(Kind.REPORTED, number, {"rows": [[1, 0.5], [2, 0.4]]}, f"token {number}"))
        writer.write(Draft(Kind.REQUEUED, number, {"reason": "lost"}), started(number))
        assert len(writer.trial(number).curve) == 2, "it may go on from a checkpoint"
        writer.write(Draft(Kind.REPORTED, number, {"rows": [[2, 0.25]]}, f"token {number}"))
        with closing(connect()) as store:
            trial = store.load(writer.study).unfinished[number]
            assert (list(trial.curve), trial.n_earlier) == ([(1.0, 0.5), (2.0, 0.25)], 1)
        writer.write(Draft(Kind.COMPLETED, number, {"values": {}}, f"token {number}"))
        with closing(connect()) as store:
            (row,) = store.load(writer.study).finished
            assert (list(row.curve), row.n_earlier) == ([(1.0, 0.5), (2.0, 0.25)], 1)

    def test_pages_of_trials(self, writer: Writer) -> None:
        for _ in range(7):
            writer.ask()
        writer.write(reserve=1)
        store, study = writer.store, writer.study

        def numbers(**how: Any) -> list[int]:
            return [trial.number for trial in store.trials(study, **how)]

        assert numbers() == [0, 1, 2, 3, 4, 5, 6]
        assert numbers(limit=3) == [0, 1, 2]
        assert numbers(after=2, limit=3) == [3, 4, 5]
        assert numbers(newest_first=True, limit=2) == [6, 5]
        assert numbers(newest_first=True, after=5) == [4, 3, 2, 1, 0]
        assert numbers(numbers=[5, 1, 99, 1, 7]) == [1, 5]
        assert numbers(numbers=[5, 1, 3], newest_first=True, limit=2) == [5, 3]
        assert numbers(numbers=[5, 1, 3], after=1) == [3, 5]
        assert numbers(numbers=[]) == numbers(limit=0) == numbers(after=6) == []

    def test_the_summary_counts_and_names_the_best(self, writer: Writer) -> None:
        for loss in (0.5, 0.2, 0.2, 0.9):
            writer.complete(loss=loss)
        writer.write(Draft(Kind.FAILED, writer.start(), {"cause": "error"}))
        writer.start()
        writer.ask()
        summary = writer.store.summary(writer.study)
        assert summary.counts == writer.history.counts()
        assert summary.counts[State.COMPLETED] == 4
        assert summary.best == writer.trial(1)
        assert writer.history.best() == 1

    @pytest.mark.parametrize(
        ("direction", "values", "best"),
        [
            ("minimize", [math.inf, math.nan, 3.0], 2),
            ("minimize", [math.inf, math.nan], 0),
            ("maximize", [-math.inf, math.nan, -3.0, 1e308], 3),
            ("maximize", [0.5, 0.9, 0.9], 1),
            ("minimize", [0.0, -0.0, -5e-324], 2),
            ("minimize", [math.nan], None),
            ("minimize", [], None),
        ],
    )
    def test_the_best_of_strange_values(
        self, store: Store, direction: Any, values: list[float], best: int | None
    ) -> None:
        writer = Writer(store, store.create("a", settings_of([Objective("loss", direction)])).id)
        for value in values:
            writer.complete(loss=value)
        found = store.summary(writer.study).best
        assert (found and found.number) == best == writer.history.best() == store.load(writer.study).best()

    def test_the_best_keeps_the_constraints(self, store: Store) -> None:
        settings = settings_of([Objective("acc", "maximize")], [Constraint("ms", "<=", 20.0)])
        writer = Writer(store, store.create("a", settings).id)
        assert store.summary(writer.study).best is None
        for values in ({"acc": 0.9, "ms": 21.0}, {"acc": 0.8, "ms": 20.0}, {"acc": 0.85}, {"ms": 1.0}):
            writer.complete(**values)
        best = store.summary(writer.study).best
        assert best is not None
        assert best.number == writer.history.best() == 1

    def test_one_process_at_a_time_runs_a_study(self, writer: Writer, connect: Connect) -> None:
        store, study = writer.store, writer.study
        another = store.create("another", settings_of()).id
        began = time.time()
        with closing(connect()) as other, store.hold(study):
            record = other.studies("study")[0]
            holder, since = record.holder, record.held_since
            assert holder is not None
            assert holder.startswith("pid ")
            assert since is not None
            assert began - _CLOCKS_DIFFER_S <= since <= time.time() + _CLOCKS_DIFFER_S
            for handle in (store, other):
                with (
                    pytest.raises(StudyBusy, match=r"'study' is being run by pid .* since .* UTC; "),
                    handle.hold(study),
                ):
                    pass
                with pytest.raises(StudyBusy):
                    handle.delete(study)
            with other.hold(another):
                pass
            assert writer.write(reserve=1) == [0]
        assert (store.studies("study")[0].holder, store.studies("study")[0].held_since) == (None, None)
        with pytest.raises(ZeroDivisionError), store.hold(study):
            raise ZeroDivisionError
        with store.hold(study):
            pass
        store.delete(study)

    def test_several_processes_may_share_a_study_and_none_has_it_to_itself_then(
        self, writer: Writer, connect: Connect
    ) -> None:
        store, study = writer.store, writer.study
        with closing(connect()) as other, store.hold(study, shared=True):
            with other.hold(study, shared=True):
                for handle in (store, other):
                    with pytest.raises(StudyBusy), handle.hold(study):
                        pass
            holder = other.studies("study")[0].holder
            assert holder is not None
            assert holder.startswith("pid ")
            with pytest.raises(StudyBusy):
                other.delete(study)
        with store.hold(study), pytest.raises(StudyBusy), store.hold(study, shared=True):
            pass
        assert store.studies("study")[0].holder is None

    def test_closing_twice_does_no_harm(self, connect: Connect) -> None:
        store = connect()
        store.close()
        store.close()
