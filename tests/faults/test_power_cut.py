"""Power is cut at any moment, files are cut off anywhere: all that was durable is there, the rest is whole (F5)."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cli.studies import call
from tests.faults.disks import PowerDisk, power_disk
from tests.storage import worker
from whet.core.trial import State
from whet.storage.doctor import check
from whet.storage.open import open_store
from whet.study import load
from whet.testing.store_writer import Writer, settings_of

_SLOW = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PowerDisk]:
    with power_disk(tmp_path) as disk:
        yield disk


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder where writing through costs nothing, if there is one: files are cut off there thousands of times."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def _seq(acknowledged: str) -> int:
    return int(acknowledged.partition(":")[0])


def _freeze(process: subprocess.Popen[str]) -> None:
    """Stop a process where it is, and return once it has stopped: after the call to the system that it is in."""
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def _kept(path: Path, study: int) -> list[str]:
    """Return the events of a store that was cut off, which must be sound and go on; as the writer speaks of them."""
    assert check(path) == []
    with closing(open_store(path)) as store:
        events = [f"{event.seq}:{event.kind}:{event.trial}" for event in store.events(study)]
        Writer(store, study).complete(loss=0.5)
    assert check(path) == []
    return events


@pytest.mark.root
@pytest.mark.parametrize("n_cuts", [3, pytest.param(25, marks=_SLOW)])
def test_what_was_acknowledged_survives_a_power_cut(disk: PowerDisk, n_cuts: int) -> None:
    """A real one: the file system drops whatever was not written through."""
    rng = random.Random(n_cuts)
    path = disk.folder / "whet.db"
    with closing(open_store(path)) as store:
        study = store.create("a", settings_of()).id
    n_acknowledged = 0
    for _ in range(n_cuts):
        with worker.start("write", path, study, 10**9) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            threading.Event().wait(rng.uniform(0.0, 0.2))
            _freeze(process)  # in the middle of a call, the ioctl itself may let a sync succeed that it has cut off
            disk.cut_power()
            process.kill()
            acknowledged = process.stdout.read().split()
        disk.restart()
        kept = _kept(path, study)
        # A report costs no write of its own: it is durable with whatever comes next.
        last = max((_seq(said) for said in acknowledged if ":reported:" not in said), default=0)
        assert {said for said in acknowledged if _seq(said) <= last} <= set(kept)
        n_acknowledged += len(acknowledged)
    assert n_acknowledged > 10 * n_cuts


@pytest.mark.parametrize("n_copies", [5, pytest.param(100, marks=_SLOW)])
def test_a_copy_taken_at_any_moment_holds_all_that_was_acknowledged(tmp_path: Path, n_copies: int) -> None:
    """What a machine would find that stopped at that moment: the file and its log, as they are in between two calls."""
    rng = random.Random(n_copies)
    path = tmp_path / "whet.db"
    with closing(open_store(path)) as store:
        study = store.create("a", settings_of()).id
    with worker.start("write", path, study, 10**9) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        acknowledged: list[str] = []
        reader = os.fdopen(os.dup(process.stdout.fileno()), "rb", buffering=0)
        for i in range(n_copies):
            threading.Event().wait(rng.uniform(0.0, 0.03))
            _freeze(process)
            os.set_blocking(reader.fileno(), False)
            said = b""
            while piece := reader.read(1 << 16):
                said += piece
            acknowledged += said.decode().split()
            copy = tmp_path / str(i) / "whet.db"
            copy.parent.mkdir()
            for suffix in ("", "-wal"):
                if path.with_name(f"whet.db{suffix}").exists():
                    shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
            kept = _kept(copy, study)
            assert set(acknowledged) <= set(kept)
            assert len(kept) - 1 - len(acknowledged) <= 3  # the one write that it has not spoken of yet
            shutil.rmtree(copy.parent)
            process.send_signal(signal.SIGCONT)
        reader.close()
        process.kill()
    assert len(acknowledged) > 10


@pytest.mark.parametrize("stride", [97, pytest.param(1, marks=_SLOW)])
def test_a_log_of_the_store_may_lack_any_number_of_its_last_bytes(quick_folder: Path, stride: int) -> None:
    path = quick_folder / "whet.db"
    with closing(open_store(path)) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        for _ in range(6):
            writer.complete(loss=0.5)
        whole = store.events(writer.study)
        main, log = path.read_bytes(), path.with_name("whet.db-wal").read_bytes()
    assert len(log) > 4096
    copy = quick_folder / "copy" / "whet.db"
    n_events = []
    for n_missing in range(0, 4097, stride):
        copy.parent.mkdir()
        copy.write_bytes(main)
        copy.with_name("whet.db-wal").write_bytes(log[: len(log) - n_missing])
        with closing(open_store(copy)) as store:
            events = store.events(writer.study)
        assert events == whole[: len(events)]
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        n_events.append(len(events))
        shutil.rmtree(copy.parent)
    assert n_events[0] == len(whole)
    assert n_events == sorted(n_events, reverse=True)
    assert n_events[-1] >= len(whole) - 2  # of the last write, and no more


@pytest.mark.parametrize("stride", [211, pytest.param(1, marks=_SLOW)])
def test_the_output_of_a_killed_trial_may_end_anywhere(
    quick_folder: Path, monkeypatch: pytest.MonkeyPatch, stride: int
) -> None:
    """Logs and metrics are for people: none of them is needed to show a trial, or to go on with its study."""
    monkeypatch.chdir(quick_folder)
    (quick_folder / "train.py").write_text(
        "import sys\n"
        "for step in range(60):\n"
        "    print(f'step={step} loss={1 / (step + 1)} \\u00e9\\x1b[31m|{\"x\" * 40}', flush=True)\n"
        "    print('warning: \\U0001f600', step, file=sys.stderr)\n"
    )
    call("run", "--name", "s", "--minimize", "loss", "train.py")
    folder = quick_folder / ".whet/s/0"
    names = ["stdout.log", "stderr.log", "metrics.jsonl"]
    whole = {name: (folder / name).read_bytes() for name in names}
    assert len(whole["metrics.jsonl"]) > 4096
    for n_missing in range(1, 4097, stride):
        for name, content in whole.items():
            (folder / name).write_bytes(content[: max(0, len(content) - n_missing)])
        shown = call("logs", "s/0", "--tail", 3)
        assert not {"\x1b", "\x9b"} & set(shown.out)
        if n_missing % (8 * stride) == 1:
            call("show", "s/0")
            call("resume", "s")
            call("doctor")
    assert [trial.state for trial in load("s").trials] == [State.COMPLETED]


@pytest.mark.parametrize("left", [b'{"loss": 0.', b"{", b'{"step": 1, "loss": 0.75}', b"\xff\xfe\x00", b"9" * 100_000])
def test_a_file_of_metrics_that_an_attempt_left_torn_is_appended_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(
        "import os\n"
        f"torn = {left!r}\n"
        "path = os.environ['WHET_METRICS']\n"
        "is_first = os.environ['WHET_ATTEMPT'] == '1'\n"
        "with open(path, 'ab', buffering=0) as file:\n"
        "    file.write(torn if is_first else b'{\"loss\": 0.5}\\n')\n"
        "if is_first: raise SystemExit(1)\n"
    )
    call("run", "--name", "s", "--minimize", "loss", "--retries", 1, "train.py")
    (trial,) = load("s").trials
    assert (trial.state, trial.attempt, trial.values) == (State.COMPLETED, 2, {"loss": 0.5})
