"""What every store keeps of its log and its trial numbers; part of `whet.testing.store_suite`. Written for pytest."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import pytest

from whet.core.events import Draft, Kind
from whet.core.trial import State
from whet.errors import StateError
from whet.storage.doctor import differences
from whet.testing.store_writer import STRANGE_VALUES, Connect, Writer, fold, settings_of


class LogContract:
    """The log: atomic, gapless, the same for all; and numbers, handed out once. Inherit `StoreContract` instead."""

    def test_the_log_counts_from_one_without_gaps(self, writer: Writer) -> None:
        writer.complete(loss=1.0)
        writer.complete(loss=2.0)
        events = writer.store.events(writer.study)
        assert [event.seq for event in events] == list(range(1, 10))
        kinds = [Kind.CLAIMED, Kind.ASKED, Kind.STARTED, Kind.COMPLETED]
        assert [event.kind for event in events] == [Kind.CREATED, *kinds, *kinds]
        assert [event.attempt for event in events] == [0, 0, 0, 1, 1, 0, 0, 1, 1]
        assert writer.store.events(writer.study, after=3) == events[3:]
        assert writer.store.events(writer.study, after=3, limit=2) == events[3:5]
        assert writer.store.events(writer.study, limit=0) == []
        assert writer.store.events(writer.study, after=9) == []

    def test_append_returns_what_others_have_written_too(self, writer: Writer, connect: Connect) -> None:
        with closing(connect()) as store:
            other = Writer(store, writer.study, owner="there:2:bbbb")
            other.complete(loss=1.0)
            assert writer.write(reserve=1) == [1]
            assert writer.history.seq == 6
            assert writer.history.best() == 0
            other.write()
            assert other.history.unfinished[1].owner == writer.owner

    def test_who_does_not_follow_the_log_gets_what_it_wrote(self, writer: Writer) -> None:
        writer.complete(loss=1.0)
        appended = writer.store.append(writer.study, [Draft(Kind.COMMAND, None, {"command": "stop"})])
        assert [event.kind for event in appended.events] == [Kind.COMMAND]
        assert appended.events == writer.store.events(writer.study)[-1:]

    def test_times_are_those_of_the_drafts_or_of_the_writing(self, writer: Writer) -> None:
        number = writer.ask()
        writer.write(Draft(Kind.STARTED, number, {"token": "t"}, time=1000.0))
        writer.write(Draft(Kind.COMPLETED, number, {"values": {"loss": 1.0}}, "t", time=1003.5))
        trial = writer.trial(number)
        assert (trial.started_at, trial.ended_at, trial.duration_s) == (1000.0, 1003.5, 3.5)
        assert trial.asked_at is not None
        assert trial.asked_at > 1e9
        assert writer.store.summary(writer.study).last_event_at == 1003.5

    @pytest.mark.parametrize("value", STRANGE_VALUES, ids=ascii)
    def test_strange_values_come_back_exactly(self, writer: Writer, connect: Connect, value: Any) -> None:
        config = {"lr": value, "it's": value}
        number = writer.start(config, why={"said": value}, budget=27)
        writer.write(Draft(Kind.FAILED, number, {"cause": "error", "message": f"{value!r}"}, f"token {number}"))
        with closing(connect()) as store:
            events = store.events(writer.study)
            trial = store.trials(writer.study, numbers=[number])[0]
            row = store.load(writer.study).finished[0]
        asked = next(event for event in events if event.kind is Kind.ASKED)
        assert repr(asked.payload["config"]) == repr(trial.config) == repr(config)
        assert repr(trial.why) == repr({"said": value})
        assert trial.message == repr(value)
        assert repr((trial.budget, row.budget)) == "(27, 27)"

    def test_strange_texts_come_back_exactly(self, writer: Writer) -> None:
        text = "\0 \ud8ff '; -- \x1b[2J \u202e ä"
        writer.owner = text
        (number,) = writer.write(reserve=1)
        assert writer.history.unfinished[number].owner == text
        writer.write(Draft(Kind.ASKED, number, {"config": {text: text}}))
        writer.write(Draft(Kind.STARTED, number, {"token": text, "owner": text}))
        trial = writer.trial(number)
        assert (trial.config, trial.token, trial.owner) == ({text: text}, text, text)
        writer.write(Draft(Kind.REPORTED, number, {"rows": [[1, 0.5]]}, token=text))
        assert not writer.refused
        writer.write(Draft(Kind.REQUEUED, number, {"reason": text}, token=text))
        assert writer.trial(number).message == text

    def test_what_is_kept_is_not_the_callers_dict(self, writer: Writer) -> None:
        config = {"lr": [1, 2]}
        number = writer.ask(config)
        config["lr"].append(3)
        assert writer.trial(number).config == {"lr": [1, 2]}
        assert writer.history.unfinished[number].config == {"lr": [1, 2]}

    def test_a_refused_transition_writes_nothing_of_its_batch(self, writer: Writer) -> None:
        number = writer.start()
        before = writer.store.events(writer.study)
        good = Draft(Kind.REPORTED, number, {"rows": [[1, 0.5]]}, f"token {number}")
        bad = Draft(Kind.ASKED, number, {"config": {}})
        with pytest.raises(StateError, match="trial 0 is running and cannot be asked"):
            writer.write(good, bad, reserve=3)
        assert writer.store.events(writer.study) == before
        assert not differences(writer.store.load(writer.study), writer.history)
        assert len(writer.trial(number).curve) == 0
        assert writer.write(reserve=1) == [1]

    def test_a_draft_that_is_no_json_writes_nothing(self, writer: Writer) -> None:
        (number,) = writer.write(reserve=1)
        with pytest.raises(TypeError):
            writer.write(Draft(Kind.ASKED, number, {"config": {"lr": object()}}))
        assert writer.store.load(writer.study).seq == writer.history.seq

    @pytest.mark.parametrize(
        "draft",
        [
            Draft(Kind.ASKED, 99, {"config": {}}),
            Draft(Kind.STARTED, None, {"token": "t"}),
            Draft(Kind.CREATED, None, {}),
            Draft(Kind.COMMAND, 0, {"command": "stop"}),
            Draft(Kind.AMENDED, None, {"settings": {"seed": 8}}),
            Draft(Kind.CLAIMED, 0, {"owner": "x"}),
            Draft(Kind.CANCELLED, 0),
        ],
        ids=lambda draft: f"{draft.kind} {draft.trial}",
    )
    def test_what_makes_no_sense_is_refused(self, writer: Writer, draft: Draft) -> None:
        writer.write(reserve=1)
        with pytest.raises(StateError):
            writer.write(draft)
        assert writer.store.load(writer.study).seq == writer.history.seq

    def test_a_late_report_is_refused_and_the_rest_is_written(self, writer: Writer) -> None:
        number = writer.start()
        writer.write(Draft(Kind.REQUEUED, number, {"reason": "lost"}))
        writer.write(Draft(Kind.STARTED, number, {"token": "second"}))
        late = Draft(Kind.COMPLETED, number, {"values": {"loss": 9.0}}, token=f"token {number}")
        of_nobody = Draft(Kind.COMPLETED, 77, {"values": {}}, "x")
        current = Draft(Kind.COMPLETED, number, {"values": {"loss": 1.0}}, "second")
        writer.write(late, of_nobody, current, current)
        assert writer.refused == [late, of_nobody, current]
        trial = writer.trial(number)
        assert (trial.state, trial.values, trial.attempt) == (State.COMPLETED, {"loss": 1.0}, 2)
        assert [event.kind for event in writer.store.events(writer.study)].count(Kind.COMPLETED) == 1

    def test_what_another_process_has_done_to_a_trial_counts(self, writer: Writer, connect: Connect) -> None:
        number = writer.start()
        with closing(connect()) as store:
            other = Writer(store, writer.study)
            other.write(Draft(Kind.REQUEUED, number, {"reason": "lost"}))
            other.write(Draft(Kind.STARTED, number, {"token": "second"}))
            other.write(Draft(Kind.REPORTED, number, {"rows": [[1, 0.5]]}, "second"))
            writer.write(Draft(Kind.REPORTED, number, {"rows": [[9, 9.0]]}, f"token {number}"))
            assert len(writer.refused) == 1
            writer.write(Draft(Kind.REPORTED, number, {"rows": [[2, 0.25]]}, "second"))
            assert list(writer.trial(number).curve) == [(1.0, 0.5), (2.0, 0.25)]
            other.write(Draft(Kind.COMPLETED, number, {"values": {"loss": 0.25}}, "second"))
        with pytest.raises(StateError, match="is completed"):
            writer.write(Draft(Kind.CANCELLED, number))

    def test_nothing_but_refused_drafts_leaves_the_log_as_it_was(self, writer: Writer) -> None:
        number = writer.ask()
        done = writer.store.append(
            writer.study,
            [Draft(Kind.COMPLETED, number, {}, "x")],
            after=writer.history.seq,
        )
        assert (done.events, len(done.refused), done.numbers) == ([], 1, [])

    def test_commands_are_pending_until_their_outcome(self, writer: Writer, connect: Connect) -> None:
        writer.write(Draft(Kind.COMMAND, None, {"command": "stop", "trial": 3}))
        given = writer.history.seq
        with closing(connect()) as store:
            assert store.load(writer.study).pending_commands == {given: {"command": "stop", "trial": 3}}
        writer.write(Draft(Kind.COMMAND, None, {"of": given, "outcome": "done"}))
        assert writer.history.pending_commands == writer.store.load(writer.study).pending_commands == {}

    def test_amendments_are_folded_into_the_settings(self, writer: Writer, connect: Connect) -> None:
        writer.write(Draft(Kind.AMENDED, None, {"settings": {"n_trials": 10, "rules": {"a": 1}}}))
        writer.write(Draft(Kind.AMENDED, None, {"settings": {"n_trials": 20}}))
        with closing(connect()) as store:
            for settings in (store.studies("study")[0].settings, store.load(writer.study).settings):
                assert settings == settings_of(n_trials=20, rules={"a": 1}) == writer.history.settings

    # ------------------------------------------------------------------------------------------------ numbers

    def test_numbers_are_reserved_for_their_owner(self, writer: Writer) -> None:
        assert writer.write(reserve=3) == [0, 1, 2]
        assert writer.write(reserve=2) == [3, 4]
        assert writer.history.n_numbers == 5
        assert {trial.owner for trial in writer.history.unfinished.values()} == {writer.owner}
        assert all(trial.is_reserved for trial in writer.history.unfinished.values())
        assert writer.store.trials(writer.study) == []
        assert sum(writer.store.summary(writer.study).counts.values()) == 0

    def test_released_numbers_come_first(self, writer: Writer, connect: Connect) -> None:
        writer.write(reserve=6)
        writer.write(Draft(Kind.RELEASED, 4), Draft(Kind.RELEASED, 1), Draft(Kind.RELEASED, 2))
        with closing(connect()) as store:
            other = Writer(store, writer.study, owner="there:2:bbbb")
            assert other.write(reserve=2) == [1, 2]
            assert other.history.unfinished[1].owner == other.owner
        assert writer.write(Draft(Kind.RELEASED, 0), reserve=4) == [0, 4, 6, 7]

    def test_a_free_number_that_gets_a_config_in_the_same_batch_is_not_handed_out(self, writer: Writer) -> None:
        writer.write(reserve=3)
        writer.write(*(Draft(Kind.RELEASED, number) for number in range(3)))
        asked = [Draft(Kind.ASKED, number, {"config": {"lr": 1}}) for number in (0, 1)]
        assert writer.write(*asked, reserve=2) == [2, 3]

    def test_two_writers_never_get_the_same_number(self, writer: Writer, connect: Connect) -> None:
        with closing(connect()) as store:
            other = Writer(store, writer.study)
            numbers = [number for _ in range(10) for w in (writer, other) for number in w.write(reserve=2)]
        assert numbers == list(range(40))

    def test_threads_share_a_store(self, writer: Writer) -> None:
        numbers: list[int] = []

        def work() -> None:
            mine = Writer(writer.store, writer.study)
            for _ in range(20):
                numbers.append(mine.complete(loss=1.0))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(numbers) == list(range(80))
        events = writer.store.events(writer.study)
        assert [event.seq for event in events] == list(range(1, 4 * 80 + 2))
        assert not differences(fold(events), writer.store.load(writer.study))
