"""The processes beside the trials and their parts: messages, readings, and who survives whom."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

import whet.executors.runner
from tests.executors.running import Running, carrying, slot_processes, wait_for
from whet.core.protocols import Ended
from whet.errors import ExecutorError
from whet.executors import slots
from whet.executors.processtree import children, descendants, kill_marked, proportional_bytes, resident_bytes, table
from whet.executors.readings import GrowingFile, Readings
from whet.executors.wire import Unpacker, from_os, pack, to_os
from whet.testing.executor_suite import ends_of, is_alive, poll_until

# ---- messages
MESSAGES = st.lists(st.dictionaries(st.text(max_size=5), st.floats() | st.text(max_size=20), max_size=3), max_size=5)


@given(messages=MESSAGES, sizes=st.lists(st.integers(1, 30), min_size=1))
def test_messages_arrive_whole_however_they_are_cut(messages: list[dict[str, object]], sizes: list[int]) -> None:
    wire = b"".join(map(pack, messages))
    unpacker = Unpacker()
    found = []
    for i in range(len(wire)):
        size = sizes[i % len(sizes)]
        piece, wire = wire[:size], wire[size:]
        found += unpacker.feed(piece)
    assert repr(found) == repr(messages)


@given(st.binary(max_size=50).filter(lambda raw: b"\0" not in raw))
def test_strings_of_the_system_travel_byte_by_byte(raw: bytes) -> None:
    sent = json.loads(json.dumps(from_os(os.fsdecode(raw))))
    assert to_os(sent) == raw


# ---- readings
def readings(tmp_path: Path, watch: tuple[str, ...] = ("loss",), cap: int = 1_000_000) -> Readings:
    return Readings(watch, None, os.fsencode(tmp_path / "metrics.jsonl"), cap)


def written(tmp_path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]


def test_all_metrics_are_kept_and_those_on_watch_are_reported(tmp_path: Path) -> None:
    found = readings(tmp_path, watch=("val loss", "acc"))
    for line in (b"epoch 1 val_loss=0.5 lr=0.1", b"nothing here", b"epoch 2 val_loss=nan ACC=0.75"):
        found.feed(line)
    assert repr(found.take_rows()) == "[(1.0, {'val loss': 0.5}), (2.0, {'val loss': nan, 'acc': 0.75})]"
    assert found.take_rows() == []
    assert repr(found.last) == "{'val_loss': nan, 'lr': 0.1, 'ACC': 0.75}"
    assert found.close() == []
    first, second = written(tmp_path)
    assert first["step"] == 1
    assert isinstance(first["time"], float)
    assert first["metrics"] == {"val_loss": 0.5, "lr": 0.1}
    assert second["metrics"] == {"val_loss": {"$float": "nan"}, "ACC": 0.75}


def test_a_name_is_streamed_only_while_it_is_clear_what_it_means(tmp_path: Path) -> None:
    found = readings(tmp_path, watch=("loss",))
    found.feed(b"step 1 Loss: 0.5")
    found.feed(b"step 2 LOSS: 0.4")
    assert found.take_rows() == [(1.0, {"loss": 0.5})]
    found.feed(b"step 3 loss: 0.3")
    found.feed(b"step 4 Loss: 0.2")
    assert found.take_rows() == [(3.0, {"loss": 0.3})]


def test_rows_that_nobody_takes_are_thinned_but_no_latest_value_is_lost(tmp_path: Path) -> None:
    found = readings(tmp_path, watch=("loss", "acc"))
    found.feed(b"step 0 acc: 0.9")
    for step in range(1, 10_001):
        found.feed(b"step %d loss: %d" % (step, step))
    rows = found.take_rows()
    assert len(rows) <= 1_001
    assert rows == sorted(rows, key=lambda row: row[0])
    assert (0.0, {"acc": 0.9}) in rows
    assert rows[-1] == (10_000.0, {"loss": 10_000.0})


def test_names_beyond_a_thousand_are_left_out_except_those_on_watch(tmp_path: Path) -> None:
    found = readings(tmp_path)
    for i in range(1_100):
        found.feed_json(b'{"name%d": %d}' % (i, i))
    found.feed_json(b'{"loss": 0.5, "one_more": 1}')
    assert len(found.last) == 1_001
    assert found.last["loss"] == 0.5
    assert found.take_rows()[-1][1] == {"loss": 0.5}
    assert found.close() == ["more than 1000 metrics: later names were left out"]


def test_the_file_of_metrics_is_capped_with_one_note(tmp_path: Path) -> None:
    found = readings(tmp_path, cap=2_000)
    for step in range(100):
        found.feed(b"step %d loss: 0.5" % step)
        found.write()
    assert found.close() == ["metrics.jsonl has reached its cap; later readings are not in it"]
    *lines, note = written(tmp_path)
    assert note == {"note": "the file has reached its cap"}
    assert [line["step"] for line in lines] == list(range(len(lines)))
    assert 1_800 < (tmp_path / "metrics.jsonl").stat().st_size < 2_100


def test_a_file_of_metrics_that_cannot_be_written_is_noted(tmp_path: Path) -> None:
    found = readings(tmp_path / "missing")
    found.feed(b"loss: 0.5")
    assert found.close() == ["metrics.jsonl could not be written: No such file or directory"]
    assert found.last == {"loss": 0.5}


# ---- the file that a program appends to
def test_a_growing_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "reported.jsonl"
    path.write_bytes(b"an earlier attempt's\n")
    file, lines = GrowingFile(os.fsencode(path)), []
    assert not file.read(lines.append)
    with path.open("ab") as out:
        out.write(b"one\ntw")
        out.flush()
        assert file.read(lines.append)
        assert lines == [b"one"]
        out.write(b"o\n\nthree")
        out.flush()
        file.finish(lines.append, 1_000_000)
    assert lines == [b"one", b"two", b"three"]


def test_a_growing_file_may_begin_anew_or_be_missing_or_no_file(tmp_path: Path) -> None:
    path, lines = tmp_path / "reported.jsonl", []
    file = GrowingFile(os.fsencode(path))
    assert not file.read(lines.append)
    path.write_bytes(b"a long line\n")
    file.read(lines.append)
    path.write_bytes(b"new\n")
    file.read(lines.append)
    assert lines == [b"a long line", b"new"]
    os.mkfifo(tmp_path / "fifo")
    GrowingFile(os.fsencode(tmp_path / "fifo")).finish(lines.append, 100)
    GrowingFile(os.fsencode(tmp_path)).finish(lines.append, 100)
    assert len(lines) == 2


def test_of_a_growing_file_a_line_too_long_is_skipped_and_the_end_is_bounded(tmp_path: Path) -> None:
    path, lines = tmp_path / "reported.jsonl", []
    file = GrowingFile(os.fsencode(path))
    path.write_bytes(b"first\n" + b"x" * 5_000_000 + b"\nlast\n")
    file.finish(lines.append, 100_000_000)
    assert lines == [b"first", b"last"]
    file = GrowingFile(os.fsencode(tmp_path / "other"))
    (tmp_path / "other").write_bytes(b"12345678\n" * 1_000_000)
    file.finish(lines.append, 3_000_000)
    assert 3_000_000 <= len(lines) * 9 < 6_000_000


# ---- processes
def test_the_tables_of_processes_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '100']); print(flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (sleeping,) = children(process.pid)
        try:
            assert descendants(os.getpid()) == [process.pid, sleeping]
            assert table()[sleeping][0] == process.pid
            used = resident_bytes(os.getpid())
            once = proportional_bytes(os.getpid())
            assert once is None or 0 < once < used
            monkeypatch.setattr("whet.executors.processtree._HAS_PROC", False)
            assert descendants(os.getpid()) == [process.pid, sleeping]
            assert table()[sleeping][0] == process.pid
            assert resident_bytes(os.getpid()) == pytest.approx(used, rel=0.3)
        finally:
            os.kill(sleeping, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: environments of other processes")
def test_marked_processes_are_killed_and_no_others() -> None:
    env = {**os.environ, "WHET_TOKEN": "a-mark"}
    with (
        subprocess.Popen(["sleep", "100"], env=env) as marked,
        subprocess.Popen(["sleep", "100"], env={**env, "WHET_TOKEN": "a-mark-2"}) as other,
        subprocess.Popen(["sleep", "100"], env={}) as bare,
    ):
        try:
            kill_marked(b"WHET_TOKEN=a-mark")
            assert marked.wait() == -signal.SIGKILL
            assert (other.poll(), bare.poll()) == (None, None)
        finally:
            other.kill()
            bare.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: environments of other processes")
@pytest.mark.slow
def test_a_marked_process_that_has_just_been_started_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    env = {**os.environ, "WHET_TOKEN": "a-mark"}
    sleep = shutil.which("sleep")
    assert sleep is not None
    started: list[int] = []
    monkeypatch.setattr(os, "listdir", lambda path: [str(started[-1])])  # no time is lost with other processes
    for _ in range(300):  # some of them have no environment yet when they are looked at at once
        started.append(os.posix_spawn(sleep, ["sleep", "3"], env))
        kill_marked(b"WHET_TOKEN=a-mark")
        assert os.waitstatus_to_exitcode(os.waitpid(started[-1], 0)[1]) == -signal.SIGKILL


def test_the_runner_loads_nothing_heavy_and_nothing_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('this json must not be imported')")
    root = str(Path(whet.executors.runner.__file__).parents[2])
    code = "import sys; sys.path.append(sys.argv[1]); import whet.executors.runner; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, root], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {
        "numpy",
        "asyncio",
        "subprocess",
        "multiprocessing",
        "threading",
        "socket",
        "logging",
        "pathlib",
    }


def test_there_is_one_guard_and_a_slot_process_for_each_slot(tmp_path: Path) -> None:
    with Running(tmp_path, slots=3) as running:
        running.run("true")
        guards, found = slot_processes()
        assert len(guards) == 1
        assert len(found) == 3
        others = [process for process in psutil.Process().children() if process not in guards]
        assert not others
        pids = [process.pid for process in guards + found]
    assert not any(map(is_alive, pids))


ENDLESS = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid()); time.sleep(600)"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: a child subreaper")
def test_a_slot_process_that_is_killed_loses_its_attempt_and_no_other(tmp_path: Path) -> None:
    with Running(tmp_path, slots=2, grace_s=1.0) as running:
        launches = [running.start_python(ENDLESS, number=number) for number in range(2)]
        pids = [int(wait_for(running.trial_dir(number) / "stdout.log")) for number in range(2)]
        _, found = slot_processes()
        (victim,) = [slot for slot in found if pids[0] in children(slot.pid)]
        victim.kill()
        (end,) = ends_of(running.executor)
        assert (end.token, end.cause, end.exit_code) == (launches[0].token, "lost", None)
        assert "killed" in end.message
        assert not is_alive(pids[0])
        assert is_alive(pids[1])
        running.run("true", number=3)  # the slot has been replaced
        running.executor.stop(launches[1].token, "kill")
        assert ends_of(running.executor)[0].cause == "signal"


@pytest.mark.parametrize("victims", ["the guard", "a slot process that is idle", "everything"])
def test_whoever_is_killed_the_executor_goes_on(tmp_path: Path, victims: str) -> None:
    with Running(tmp_path, slots=2, grace_s=0.5) as running:
        launch = running.start_python(ENDLESS)
        pid = int(wait_for(running.trial_dir() / "stdout.log"))
        (guard,), found = slot_processes()
        (idle,) = [slot for slot in found if pid not in children(slot.pid)]
        if victims == "a slot process that is idle":
            idle.kill()
            idle.wait()
            while running.run("true", number=1).cause == "lost":  # started before anybody knew
                pass
            running.executor.stop(launch.token, "kill")
        elif victims == "the guard":
            guard.kill()
        else:
            os.killpg(guard.pid, signal.SIGKILL)
        (end,) = ends_of(running.executor)
        assert end.cause == ("signal" if victims == "a slot process that is idle" else "lost")
        assert not carrying(launch.token)
        assert [running.run("true", number=number).cause for number in (2, 3)] == [None, None]


@pytest.mark.parametrize(
    ("code", "is_stopped"),
    [
        ("import os, time\nif os.fork() == 0: time.sleep(600)", False),
        ("import os, time\nif os.fork() == 0:\n    if os.fork() == 0: time.sleep(600)", False),
        ("import os, time\nif os.fork() == 0: os.setsid()\nprint('ready')\ntime.sleep(600)", True),
    ],
    ids=["a fork", "a double fork", "a session of its own below a trial that is stopped"],
)
def test_where_there_is_no_subreaper_groups_and_trees_are_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, is_stopped: bool
) -> None:
    as_on_macos = "from whet.executors import processtree; processtree._HAS_PROC = False; from whet"
    monkeypatch.setattr(slots, "_PROGRAM", slots._PROGRAM.replace("from whet", as_on_macos, 1))
    with Running(tmp_path, grace_s=0.2) as running:
        launch = running.start_python(code, memory_bytes=1 << 30)
        if is_stopped:
            wait_for(running.trial_dir() / "stdout.log")
            running.executor.stop(launch.token, "terminate")
        (end,) = ends_of(running.executor)
        assert end.cause == ("signal" if is_stopped else None)
        assert not carrying(launch.token)
        assert running.run("true", number=1).cause is None


def test_signals_to_all_processes_leave_the_decision_to_the_coordinator(tmp_path: Path) -> None:
    with Running(tmp_path, slots=1) as running:
        running.run("true")
        (guard,), _ = slot_processes()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            os.killpg(guard.pid, signum)
        end = running.run_python("import signal; print(*(signal.getsignal(s) for s in (1, 2, 3, 15)))")
        assert end.cause is None
        assert running.read("stdout.log") == b"0 <built-in function default_int_handler> 0 0\n"


def test_a_runner_that_does_not_come_up_is_an_error_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_PROGRAM", "raise SystemExit('there is no room')")
    with Running(tmp_path) as running:
        with pytest.raises(ExecutorError, match="there is no room"):
            running.start("true")
        running.tokens.clear()


def test_no_interpreter_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ExecutorError, match="is the Python that runs whet still there"):
        Running(tmp_path)


def test_a_crash_of_a_slot_process_is_told_with_its_traceback(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        running.run("true")
        launch = running.start("sleep", "100", number=1)
        (slot,) = running.executor._pool._connected
        slot._connection.sendall(b"\0\0\0\2[}")
        (end,) = ends_of(running.executor)
        assert end.cause == "lost"
        assert "JSONDecodeError" in end.message
        assert not carrying(launch.token)


def test_reports_come_while_the_attempt_runs(tmp_path: Path) -> None:
    code = "import sys, time\nprint('step 1 loss: 0.5')\nsys.stderr.write('step 2 loss: 0.25\\n')\ntime.sleep(600)"
    with Running(tmp_path, watch=["loss"]) as running:
        launch = running.start_python(code)
        rows: list[object] = []
        while len(rows) < 2:
            for happening in poll_until(running.executor, bool):
                assert not isinstance(happening, Ended)
                rows += happening.rows
        assert sorted(rows) == [(1.0, {"loss": 0.5}), (2.0, {"loss": 0.25})]
        running.executor.stop(launch.token, "terminate")
        assert ends_of(running.executor)[0].exit_code == -signal.SIGTERM
