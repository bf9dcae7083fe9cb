"""What every store keeps of limits, of given configs and of annotations; part of `whet.testing.store_suite`.

Written for pytest.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from whet.core.events import Draft, Event, Kind
from whet.core.trial import State
from whet.errors import StateError
from whet.storage.doctor import differences
from whet.testing.store_writer import STRANGE_VALUES, Connect, Writer, fold, settings_of

_CONFIG = {"config": {"lr": 0.5}}


def enqueued(first: int) -> list[Draft]:
    """Return the drafts of a config that is given under the number *first*."""
    return [Draft(Kind.ENQUEUED, first, {**_CONFIG, "group": first})]


class GivenContract:
    """Limits, given configs, annotations. Inherit `StoreContract` instead."""

    # ------------------------------------------------------------------------------------------------ limits

    def test_numbers_beyond_a_limit_are_not_handed_out(self, writer: Writer) -> None:
        assert writer.write(reserve=3, below=5) == [0, 1, 2]
        assert writer.write(reserve=9, below=5) == [3, 4]
        assert writer.write(reserve=1, below=5) == writer.write(reserve=1, below=0) == []
        assert writer.history.n_numbers == 5
        assert writer.write(reserve=1, below=6) == [5]
        assert writer.write(reserve=1) == [6]

    def test_released_numbers_below_a_limit_are_handed_out(self, writer: Writer) -> None:
        writer.write(reserve=6)
        writer.write(*(Draft(Kind.RELEASED, number) for number in (1, 3, 5)))
        assert writer.write(reserve=9, below=4) == [1, 3]
        assert writer.write(Draft(Kind.RELEASED, 0), reserve=9, below=4) == [0]
        assert writer.write(reserve=9, below=7) == [5, 6]

    def test_threads_that_keep_a_limit_reach_it_exactly(self, writer: Writer) -> None:
        reserved: list[int] = []

        def work() -> None:
            mine = Writer(writer.store, writer.study)
            while numbers := mine.write(reserve=2, below=51, durable=False):
                reserved.extend(numbers)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(reserved) == list(range(51))

    # ------------------------------------------------------------------------------------------------ given configs

    def test_a_given_config_gets_a_number_that_nobody_had(self, writer: Writer, connect: Connect) -> None:
        writer.write(reserve=3)
        writer.write(Draft(Kind.RELEASED, 1))
        asked_for: list[int] = []

        def fresh(first: int) -> Sequence[Draft]:
            asked_for.append(first)
            return enqueued(first)

        assert writer.write(Draft(Kind.RELEASED, 2), reserve=3, fresh=fresh) == [1, 2, 4]
        assert asked_for == [3]
        trial = writer.trial(3)
        assert (trial.state, trial.given, trial.config) == (State.WAITING, "enqueued", {"lr": 0.5})
        with closing(connect()) as store:
            for history in (writer.history, store.load(writer.study)):
                assert [(config.number, config.parsed()) for config in history.given.configs] == [(3, {"lr": 0.5})]
                assert history.unfinished[3] == trial

    def test_fresh_numbers_follow_what_others_and_the_batch_itself_have_taken(
        self, writer: Writer, connect: Connect
    ) -> None:
        with closing(connect()) as store:
            Writer(store, writer.study).write(reserve=2)
        writer.write(Draft(Kind.CLAIMED, 2, {"owner": "me"}), fresh=enqueued)
        assert writer.trial(3).given == "enqueued"

    def test_what_fresh_cannot_do_leaves_nothing(self, writer: Writer) -> None:
        with pytest.raises(ZeroDivisionError):
            writer.write(Draft(Kind.COMMAND, None, {"command": "stop"}), fresh=lambda first: enqueued(1 // first))
        with pytest.raises(StateError, match="cannot be enqueued"):
            writer.write(fresh=lambda first: enqueued(first) * 2)
        assert writer.store.load(writer.study).seq == 1
        writer.write(fresh=enqueued)
        assert writer.trial(0).given == "enqueued"

    def test_what_a_check_refuses_leaves_nothing(self, writer: Writer, connect: Connect) -> None:
        seen: list[list[Kind]] = []

        def check(events: Sequence[Event]) -> None:
            seen.append([event.kind for event in events])
            if events:
                raise StateError("somebody else was faster")

        writer.write(check=check)
        with closing(connect()) as store:
            Writer(store, writer.study).ask()
        with pytest.raises(StateError, match="somebody else was faster"):
            writer.write(Draft(Kind.COMMAND, None, {"command": "stop"}), reserve=1, check=check)
        writer.write()
        assert not writer.history.pending_commands
        assert writer.write(reserve=1, check=check) == [1]
        assert seen == [[], [Kind.CLAIMED, Kind.ASKED], []]

    def test_an_added_trial_has_ended_and_never_ran(self, writer: Writer, connect: Connect) -> None:
        def added(first: int) -> Sequence[Draft]:
            return [
                Draft(Kind.ADDED, first, _CONFIG),
                Draft(Kind.REPORTED, first, {"rows": [[1, 0.5]]}),
                Draft(Kind.COMPLETED, first, {"values": {"loss": 0.5}}),
                Draft(Kind.ADDED, first + 1, _CONFIG),
                Draft(Kind.FAILED, first + 1, {"cause": "error"}),
            ]

        writer.complete(loss=1.0)
        writer.write(fresh=added)
        with closing(connect()) as store:
            loaded = store.load(writer.study)
            assert store.summary(writer.study).best == writer.trial(1)
        for history in (writer.history, loaded):
            assert (history.n_finished, history.n_added, history.best()) == (3, 2, 1)
            assert [row.given for row in history.finished] == [None, "added", "added"]
        trial = writer.trial(1)
        assert (trial.given, trial.attempt, trial.duration_s, len(trial.curve)) == ("added", 0, None, 1)
        assert writer.trial(2).state is State.FAILED

    # ------------------------------------------------------------------------------------------------ annotations

    def test_a_trial_is_annotated_in_whatever_state(self, writer: Writer, connect: Connect) -> None:
        waiting, running, ended = writer.ask(), writer.start(), writer.complete(loss=1.0)
        writer.write(Draft(Kind.REPORTED, running, {"rows": [[1, 0.5]]}))
        counts, ended_before = writer.history.counts(), writer.trial(ended)
        for number in (waiting, running, ended):
            writer.write(Draft(Kind.ANNOTATED, number, {"attributes": {"a": [number], "b": 1}, "note": "good"}))
            writer.write(Draft(Kind.ANNOTATED, number, {"attributes": {"b": None}}))
        with closing(connect()) as store:
            for number in (waiting, running, ended):
                trial = store.trials(writer.study, numbers=[number])[0]
                assert (trial.attributes, trial.note) == ({"a": [number]}, "good")
            loaded = store.load(writer.study)
            assert store.summary(writer.study).counts == loaded.counts() == writer.history.counts() == counts
            assert store.summary(writer.study).best == writer.trial(ended)
        assert (writer.history.n_finished, writer.history.best()) == (1, ended)
        assert (trial.ended_at, trial.values) == (ended_before.ended_at, ended_before.values)
        assert not differences(fold(writer.store.events(writer.study)), loaded)
        assert not differences(writer.history, loaded)
        writer.write(Draft(Kind.COMPLETED, running, {"values": {"loss": 0.5}}, f"token {running}"))
        assert (writer.trial(running).note, writer.history.best()) == ("good", running)
        assert [row.number for row in writer.store.load(writer.study).finished] == [ended, running]
        with pytest.raises(StateError, match="is completed"):
            writer.write(Draft(Kind.CANCELLED, ended))

    @pytest.mark.parametrize("number", [1, 7])
    def test_a_trial_without_a_config_cannot_be_annotated(self, writer: Writer, number: int) -> None:
        writer.write(reserve=2)
        with pytest.raises(StateError, match="annotated"):
            writer.write(Draft(Kind.ANNOTATED, number, {"note": "what?"}))
        assert writer.store.load(writer.study).seq == writer.history.seq

    def test_annotations_of_the_study_are_merged_name_by_name(self, writer: Writer, connect: Connect) -> None:
        with closing(connect()) as store:
            other = Writer(store, writer.study)
            writer.write(Draft(Kind.ANNOTATED, None, {"attributes": {"a": 1, "b": 2}, "note": "first"}))
            other.write(Draft(Kind.ANNOTATED, None, {"attributes": {"c": {"d": None}, "a": None}}))
            writer.write(
                Draft(Kind.AMENDED, None, {"settings": {"n": 1}}),
                Draft(Kind.ANNOTATED, None, {"attributes": {"e": list(STRANGE_VALUES)}}),
            )
            expected: dict[str, Any] = {"b": 2, "c": {"d": None}, "e": list(STRANGE_VALUES)}
            loaded = store.load(writer.study)
            for settings in (store.studies("study")[0].settings, loaded.settings, writer.history.settings):
                assert repr(settings) == repr(settings_of(attributes=expected, note="first", n=1))
            assert not differences(fold(store.events(writer.study)), loaded)
