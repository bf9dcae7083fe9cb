"""Damaged files: refused or reported, never overwritten, and what can be read of them is saved (F5, F23)."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from whet.core.events import Draft, Event, Kind
from whet.core.trial import State, Trial
from whet.errors import StoreDamaged, StoreError, UsageError
from whet.storage import doctor
from whet.storage.doctor import check, sqlite_note
from whet.storage.recovery import recover
from whet.storage.sql import SqlStore
from whet.testing.store_writer import Writer, settings_of

_PAGE = 4096
_N_TRIALS = 120


def _fill(path: Path) -> None:
    """Make two studies with trials in every state."""
    with closing(SqlStore(path)) as store:
        for name in ("one", "two"):
            writer = Writer(store, store.create(name, settings_of(note="x" * 50)).id)
            writer.write(reserve=_N_TRIALS, durable=False)
            for number in range(_N_TRIALS):
                token = f"token {number}"
                life = [
                    Draft(Kind.ASKED, number, {"config": {"lr": number / 7, "note": name * 20}, "group": number}),
                    Draft(Kind.STARTED, number, {"token": token, "owner": "me"}),
                    Draft(Kind.REPORTED, number, {"rows": [[step, 1 / (step + 1)] for step in range(20)]}, token),
                    _ending(number, token),
                ]
                writer.write(*life[: 1 if number % 11 == 0 else 3 if number % 13 == 0 else 4], durable=False)
            writer.write(Draft(Kind.COMMAND, None, {"command": "stop"}), reserve=1)


def _ending(number: int, token: str) -> Draft:
    kind = (Kind.COMPLETED, Kind.COMPLETED, Kind.FAILED, Kind.STOPPED, Kind.PAUSED, Kind.REQUEUED)[number % 6]
    payload = {"values": {"loss": 1 / (number + 1)}, "cause": "error", "message": "it broke", "reason": "lost"}
    return Draft(kind, number, payload, token)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound store, closed; to be copied, not changed."""
    path = tmp_path_factory.mktemp("sound") / "whet.db"
    _fill(path)
    return path


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copyfile(sound, tmp_path / "whet.db"))


def _overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _trials(path: Path) -> dict[str, dict[int, Trial]]:
    with closing(SqlStore(path, must_exist=True)) as store:
        return {record.name: {trial.number: trial for trial in store.trials(record.id)} for record in store.studies()}


def _use(path: Path) -> None:
    """Do all that is done with a store."""
    with closing(SqlStore(path)) as store:
        for record in store.studies():
            store.summary(record.id)
            store.trials(record.id, newest_first=True, limit=50)
            store.events(record.id)
            writer = Writer(store, record.id)
            writer.complete(loss=0.0)


# ---- what nothing can be done with


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text("import torch\n" * 1000),
        lambda path: path.write_bytes(random.Random(0).randbytes(50_000)),
        lambda path: path.write_bytes(b"x"),
        lambda path: _overwrite(path, 0, random.Random(0).randbytes(100)),
        lambda path: _overwrite(path, 0, bytes(100)),
        lambda path: _overwrite(path, 0, random.Random(0).randbytes(2 * _PAGE)),
        lambda path: _overwrite(path, 68, b"FFOX"),
    ],
    ids=["text", "noise", "one byte", "header noise", "header zeros", "first pages", "application id"],
)
def test_what_is_no_store_is_refused_and_left_as_it_was(path: Path, damage: Callable[[Path], object]) -> None:
    damage(path)
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match=str(path)):
        SqlStore(path)
    assert check(path)
    assert path.read_bytes() == before


def test_an_empty_file_is_a_new_store(path: Path) -> None:
    path.write_bytes(b"")
    assert check(path) == []
    _use(path)
    assert check(path) == []


def test_an_empty_file_with_a_log_is_not_a_new_store(path: Path) -> None:
    path.write_bytes(b"")
    log = path.with_name("whet.db-wal")
    log.write_bytes(b"committed work")
    with pytest.raises(StoreDamaged, match="cut off"):
        SqlStore(path)
    assert log.read_bytes() == b"committed work"


# ---- pages overwritten


@pytest.mark.parametrize("seed", range(25))
def test_overwritten_pages_are_noticed_and_the_rest_is_saved(sound: Path, path: Path, seed: int) -> None:
    rng = random.Random(seed)
    _overwrite(path, rng.randrange(_PAGE, path.stat().st_size - 2 * _PAGE), rng.randbytes(2 * _PAGE))
    assert check(path)
    saved = path.with_name("saved.db")
    said = recover(path, saved)
    assert check(saved) == []
    was = _trials(sound)
    n_same = 0
    for name, trials in _trials(saved).items():
        assert name in was or name.startswith("recovered-")
        for number, trial in trials.items():
            original = was.get(name, {}).get(number)
            n_same += original is not None and _said(trial) == _said(original)
    assert n_same >= _N_TRIALS, said  # of two studies; what one page holds cannot cost more
    try:
        _use(path)
    except StoreError as error:
        assert str(path) in str(error)


def _said(trial: Trial) -> object:
    """Return what must not change: not how often it was tried, which may be lost."""
    return (trial.number, trial.state, trial.config, trial.values, trial.cause, trial.message, trial.curve)


def test_a_lost_log_leaves_the_results(sound: Path, path: Path) -> None:
    """Every page of the log but its first is gone; the trials themselves are still there."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM event WHERE seq > 1")
        connection.commit()
    findings = check(path)
    assert findings
    assert "gap" in findings[0]
    saved = path.with_name("saved.db")
    assert recover(path, saved) == [
        f"study {name!r}: {_N_TRIALS} trials were saved, {_N_TRIALS + 1} of them without the story of their attempts"
        for name in ("one", "two")
    ]
    was = _trials(sound)
    for name, trials in _trials(saved).items():
        for number, trial in trials.items():
            assert _said(trial) == _said(was[name][number])
            assert trial.asked_at == was[name][number].asked_at
            assert trial.ended_at == was[name][number].ended_at
    assert check(saved) == []


def test_lost_rows_come_back_from_the_log(sound: Path, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for table in ("trial", "curve"):
            connection.execute(f"DELETE FROM {table} WHERE number % 2")
        connection.commit()
    assert check(path)
    saved = path.with_name("saved.db")
    recover(path, saved)
    assert _trials(saved) == _trials(sound)


def test_a_sound_store_is_recovered_whole(sound: Path, path: Path) -> None:
    saved = path.with_name("saved.db")
    assert recover(path, saved) == [f"study {name!r}: {_N_TRIALS} trials were saved" for name in ("one", "two")]
    assert _trials(saved) == _trials(sound)
    with closing(SqlStore(saved)) as new, closing(SqlStore(path)) as old:
        for record, original in zip(new.studies(), old.studies(), strict=True):
            assert record == original
            assert _timeless(new.events(record.id)) == _timeless(old.events(record.id))
    assert path.read_bytes() == sound.read_bytes()


def _timeless(events: list[Event]) -> list[object]:
    """Return the events as they come back; commands are left out of a recovered study."""
    return [(event.kind, event.trial, event.payload, event.attempt) for event in events if event.kind != Kind.COMMAND]


def test_a_file_whose_first_page_is_lost_is_recovered(sound: Path, path: Path) -> None:
    _overwrite(path, 0, random.Random(0).randbytes(_PAGE))
    saved = path.with_name("saved.db")
    recover(path, saved)
    assert _trials(saved) == _trials(sound)


def test_a_file_cut_off_is_recovered_as_far_as_it_goes(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // _PAGE * _PAGE)
    saved = path.with_name("saved.db")
    recover(path, saved)
    assert check(saved) == []
    assert sum(map(len, _trials(saved).values())) > _N_TRIALS // 2


def test_what_is_in_the_log_only_is_recovered(path: Path, tmp_path: Path) -> None:
    with closing(SqlStore(path)) as store:
        writer = Writer(store, store.studies("one")[0].id)
        number = writer.complete(loss=-1.0)
        copy = tmp_path / "copy"
        copy.mkdir()
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{copy / 'whet.db'}{suffix}")
    recover(copy / "whet.db", copy / "saved.db")
    assert _trials(copy / "saved.db")["one"][number].values == {"loss": -1.0}


def test_recover_overwrites_nothing(sound: Path, path: Path) -> None:
    saved = path.with_name("saved.db")
    saved.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        recover(path, saved)
    assert saved.read_text() == "mine"
    with pytest.raises(UsageError, match="is no file"):
        recover(path.with_name("nothing.db"), path.with_name("new.db"))
    path.write_bytes(random.Random(0).randbytes(100_000))
    with pytest.raises(StoreDamaged, match="no study can be read"):
        recover(path, path.with_name("new.db"))
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["saved.db", "whet.db", "whet.db.lock"]


# ---- rows changed by another program


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trial SET config = '{\"lr\": 0.5}' WHERE number = 1",
        "UPDATE trial SET config = 'no json' WHERE number = 1",
        "UPDATE trial SET \"values\" = 'no json' WHERE number = 1",
        "UPDATE trial SET \"values\" = CAST(x'ff00ff' AS TEXT) WHERE number = 1",
        "UPDATE trial SET state = 'great' WHERE number = 1",
        "UPDATE trial SET state = 'failed' WHERE number = 1",
        "UPDATE trial SET value = -1 WHERE number = 1",
        "UPDATE trial SET ended_seq = NULL WHERE number = 1",
        "UPDATE trial SET rest = '[]' WHERE number = 1",
        "DELETE FROM trial WHERE number = 1",
        "DELETE FROM curve WHERE number = 1",
        "UPDATE curve SET packed = x'00' WHERE number = 1",
        "DELETE FROM event WHERE seq = 9",
        "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)",
        "UPDATE event SET payload = '{}' WHERE kind = 'asked'",
        "UPDATE event SET kind = 'completed' WHERE kind = 'asked'",
        "UPDATE event SET payload = '{\"settings\": 1' WHERE seq = 1",
        "UPDATE study SET counts = '{\"completed\": 5}' WHERE id = 1",
        "UPDATE study SET settings = '{}' WHERE id = 1",
        "UPDATE study SET n_numbers = 0 WHERE id = 1",
        "UPDATE study SET last_seq = 5 WHERE id = 1",
        "DELETE FROM study WHERE id = 1",
        "DROP TABLE curve",
        "DROP INDEX trial_best",
        "PRAGMA journal_mode = DELETE",
    ],
)
def test_the_doctor_finds_what_was_changed(path: Path, change: str) -> None:
    assert check(path) == []
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
        connection.commit()
    findings = check(path)
    if change not in ("DROP INDEX trial_best", "PRAGMA journal_mode = DELETE"):
        assert findings
        assert all(isinstance(finding, str) and "\n" not in finding for finding in findings)
    try:
        _use(path)
    except StoreError as error:
        assert str(path) in str(error)


def test_many_findings_are_cut_short(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE trial SET config = '{}'")
        connection.commit()
    findings = check(path)
    assert len(findings) == 2 * 11
    assert "more" in findings[10]


def test_the_doctor_looks_at_a_store_in_use(path: Path) -> None:
    with closing(SqlStore(path)) as store:
        writer = Writer(store, store.studies("one")[0].id)
        with store.hold(writer.study):
            for _ in range(3):
                writer.start()
                assert check(path) == []


# ---- the write-ahead log cut off, as by a power cut


def test_a_log_cut_anywhere_opens_with_all_that_came_before(tmp_path: Path) -> None:
    path = tmp_path / "whet.db"
    with closing(SqlStore(path)) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        for _ in range(4):
            writer.complete(loss=0.5)
        whole = store.events(writer.study)
        main, log = path.read_bytes(), path.with_name("whet.db-wal").read_bytes()
    rng = random.Random(0)
    cuts = [0, 1, 31, 32, *(len(log) - n for n in (1, 2, 24, _PAGE, _PAGE + 24)), *rng.sample(range(len(log)), 25)]
    n_events = []
    for i, cut in enumerate(sorted(cuts)):
        copy = tmp_path / str(i) / "whet.db"
        copy.parent.mkdir()
        copy.write_bytes(main)
        copy.with_name("whet.db-wal").write_bytes(log[:cut])
        assert check(copy) == []
        with closing(SqlStore(copy)) as store:
            events = store.events(writer.study) if store.studies() else []
            assert events == whole[: len(events)]
            n_events.append(len(events))
            if events:
                Writer(store, writer.study).complete(loss=0.1)
        assert check(copy) == []
    assert n_events == sorted(n_events)
    assert len(set(n_events)) > 5


def test_noise_in_the_log_costs_no_more_than_what_came_after(tmp_path: Path) -> None:
    path = tmp_path / "whet.db"
    with closing(SqlStore(path)) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        for _ in range(4):
            writer.complete(loss=0.5)
        whole = store.events(writer.study)
        main, log = path.read_bytes(), path.with_name("whet.db-wal").read_bytes()
    for seed in range(10):
        rng = random.Random(seed)
        copy = tmp_path / str(seed) / "whet.db"
        copy.parent.mkdir()
        copy.write_bytes(main)
        at = rng.randrange(len(log))
        copy.with_name("whet.db-wal").write_bytes(log[:at] + rng.randbytes(100) + log[at + 100 :])
        assert check(copy) == []
        with closing(SqlStore(copy)) as store:
            events = store.events(writer.study) if store.studies() else []
            assert events == whole[: len(events)]


@pytest.mark.parametrize(
    ("version", "is_noted"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_an_old_sqlite_is_worth_a_note(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], is_noted: bool
) -> None:
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version_info", version)
    assert (sqlite_note() is not None) is is_noted


def test_the_states_of_the_sound_store_are_all_there(sound: Path) -> None:
    """Else these tests would not look at all that may be lost."""
    states = {trial.state for trials in _trials(sound).values() for trial in trials.values()}
    assert states == set(State) - {State.CANCELLED}
