"""Nothing of a trial outlives it: whatever it forks, however it ends, and whoever is killed on the way."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.executors.running import Running, carrying, slot_processes, wait_for
from whet.testing.executor_suite import ends_of, is_alive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: a child subreaper")

# How a trial starts a process that is to outlive it. Each writes its process id to the file `pids` and sleeps.
_STAY = """
def stay(ignore=True):
    if ignore:
        for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
    with open("pids", "a") as out:
        out.write(f"{os.getpid()}\\n")
    while True:
        time.sleep(600)
"""
WAYS = {
    "a plain fork": "if os.fork() == 0: stay()",
    "a fork that listens": "if os.fork() == 0: stay(ignore=False)",
    "setsid": "if os.fork() == 0: os.setsid(); stay()",
    "a double fork with nohup": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: stay()\n    os._exit(0)",
    "a group of its own": "if os.fork() == 0: os.setpgid(0, 0); stay()",
    "a chain": "for _ in range(5):\n    if os.fork(): break\nelse: stay()\nif os.getpid() != first: stay()",
    "a closed pipe": "if os.fork() == 0: os.closerange(0, 10); stay()",
    "a shell's background jobs": "subprocess.run(['sh', '-c', 'nohup setsid sleep 600 >/dev/null 2>&1 & exit'])",
    "a clean environment": "if os.fork() == 0: os.setsid(); os.execve('/bin/sleep', ['sleep', '600'], {})",
}
N_STAYING = {"a chain": 5, "a shell's background jobs": 0, "a clean environment": 0}
ENDINGS = ["exits", "fails", "crashes", "is stopped", "is interrupted", "is killed", "takes too long"]


def script(way: str, then: str) -> str:
    return "\n".join(
        [
            "import os, signal, subprocess, sys, time",
            "first = os.getpid()",
            _STAY,
            WAYS[way],
            f"while not os.path.exists('pids') or len(open('pids').readlines()) < {N_STAYING.get(way, 1)}:",
            "    if not " + str(N_STAYING.get(way, 1)) + ": break",
            "    time.sleep(0.01)",
            "print('all there', flush=True)",
            then,
        ]
    )


def stayed(tmp_path: Path) -> list[int]:
    path = tmp_path / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def sleepers() -> Iterator[None]:
    """No `sleep 600` may be left that was not there before, whatever its environment."""

    def found() -> set[int]:
        result = set()
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.cmdline()[-2:] == ["sleep", "600"] and process.status() != psutil.STATUS_ZOMBIE:
                    result.add(process.pid)
        return result

    before = found()
    yield
    assert found() <= before


@pytest.mark.usefixtures("sleepers")
@pytest.mark.parametrize("way", WAYS)
def test_what_a_trial_leaves_behind_is_ended_with_it(tmp_path: Path, way: str) -> None:
    with Running(tmp_path, grace_s=0.2) as running:
        launch = running.start_python(script(way, "sys.exit(0)"))
        (end,) = ends_of(running.executor)
        assert (end.cause, end.exit_code) == (None, 0)
        assert len(stayed(tmp_path)) == N_STAYING.get(way, 1)
        assert not any(map(is_alive, stayed(tmp_path)))
        assert not carrying(launch.token)
        assert running.read("stdout.log") == b"all there\n"


@pytest.mark.parametrize("ending", ENDINGS)
def test_however_a_trial_ends_nothing_is_left(tmp_path: Path, ending: str) -> None:
    then = {"exits": "", "fails": "sys.exit(3)", "crashes": "os.abort()"}.get(ending, "time.sleep(600)")
    everything = "a double fork with nohup"
    with Running(tmp_path, grace_s=0.2) as running:
        limit = 1.0 if ending == "takes too long" else None
        launch = running.start_python(script(everything, WAYS["a plain fork"] + "\n" + then), timeout_s=limit)
        if ending.startswith("is "):
            wait_for(running.trial_dir() / "stdout.log")
            how = {"is stopped": "terminate", "is interrupted": "interrupt", "is killed": "kill"}[ending]
            running.executor.stop(launch.token, how)
        (end,) = ends_of(running.executor)
        expected = {"exits": None, "fails": "exit_code", "takes too long": "timeout"}.get(ending, "signal")
        assert end.cause == expected
        assert stayed(tmp_path)
        assert not any(map(is_alive, stayed(tmp_path)))
        assert not carrying(launch.token)


def test_what_listens_gets_its_second_and_what_does_not_is_killed(tmp_path: Path) -> None:
    listens = "signal.signal(signal.SIGTERM, lambda *_: (open('said', 'w').write('goodbye'), os._exit(0)))"
    code = f"""
        import os, signal, sys, time
        if os.fork() == 0:
            os.setsid()
            {listens}
            open("ready", "w").close()
            time.sleep(600)
        while not os.path.exists("ready"):
            time.sleep(0.01)
    """
    with Running(tmp_path) as running:
        assert running.run_python(textwrap.dedent(code)).cause is None
        assert (tmp_path / "said").read_text() == "goodbye"


def test_processes_that_keep_forking_are_caught(tmp_path: Path) -> None:
    code = """
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        deadline = time.monotonic() + 60
        def flee():
            # Each generation starts the next one, in a session of its own, and dies.
            while time.monotonic() < deadline:
                if os.fork():
                    os._exit(0)
                os.setsid()
        for _ in range(3):
            if os.fork() == 0:
                flee()
        time.sleep(0.1)
    """
    with Running(tmp_path, grace_s=0.2) as running:
        launch = running.start_python(textwrap.dedent(code))
        (end,) = ends_of(running.executor)
        assert end.cause is None
        assert not carrying(launch.token)


def test_many_orphans_leave_no_zombies_while_the_trial_runs(tmp_path: Path) -> None:
    code = """
import os, time
for _ in range(200):
    if os.fork() == 0:
        os.fork()
        os._exit(0)
    os.wait()
"""
    with Running(tmp_path) as running:
        running.start_python(code + "print('done', flush=True)\ntime.sleep(600)")
        wait_for(running.trial_dir() / "stdout.log")
        _, (slot,) = slot_processes()
        deadline = time.monotonic() + 10
        while len(slot.children()) > 1:
            assert time.monotonic() < deadline, slot.children()
            time.sleep(0.01)


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_result(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        end = running.run("sh", "-c", "(sleep 600; echo late) & echo acc: 0.5")
        assert (end.cause, dict(end.metrics)) == (None, {"acc": 0.5})
        assert running.read("stdout.log") == b"acc: 0.5\n"


def test_a_process_outside_that_holds_the_pipe_does_not_either(tmp_path: Path) -> None:
    """The pipe is handed to a process that is no descendant, over a socket."""
    import socket

    address = str(tmp_path / "s")
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    code = "import socket as s; c = s.socket(s.AF_UNIX); c.connect('s'); s.send_fds(c, [b'x'], [1]); c.recv(1)"
    with Running(tmp_path) as running, server:
        running.start_python(code)
        connection, _ = server.accept()
        with connection:
            _, (pipe,), _, _ = socket.recv_fds(connection, 1, 1)
            connection.sendall(b"y")
            (end,) = ends_of(running.executor)
        os.close(pipe)
        assert end.cause is None


COORDINATOR = """
import os, sys, time
from pathlib import Path
from whet.core.protocols import Launch
from whet.executors.commands import Command, CommandExecutor
mark, grace_s, *argv = sys.argv[1:]
here = Path.cwd()
executor = CommandExecutor(
    lambda launch: Command(tuple(argv), here, dict(os.environ), here / "trial"), slots=2, grace_s=float(grace_s)
)
executor.start(Launch("s", 0, 1, mark, {}, 0))
if "--fork" in os.environ.get("OPTIONS", "") and os.fork() == 0:
    time.sleep(30)  # holds copies of all our descriptors
    os._exit(0)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("way", "options"), [("a plain fork", ""), ("a double fork with nohup", "--fork"), ("a chain", "")]
)
def test_the_death_of_the_coordinator_ends_everything(tmp_path: Path, way: str, options: str) -> None:
    mark = uuid.uuid4().hex
    trial = [sys.executable, "-c", script(way, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)")]
    with subprocess.Popen(
        [sys.executable, "-c", COORDINATOR, mark, "0.3", *trial], cwd=tmp_path, env={**os.environ, "OPTIONS": options}
    ) as coordinator:
        wait_for(tmp_path / "trial" / "stdout.log")
        forked = [child for child in psutil.Process(coordinator.pid).children() if "runner" not in str(child.cmdline())]
        guards, slots = slot_processes(coordinator.pid)
        assert len(carrying(mark)) == N_STAYING.get(way, 1) + 1
        coordinator.kill()
        coordinator.wait()
        processes = [*guards, *slots, *carrying(mark)]
        _, alive = psutil.wait_procs(processes, timeout=20)
        assert not alive
        assert not carrying(mark)
        for child in forked:
            child.kill()
        assert (tmp_path / "trial" / "stdout.log").read_bytes() == b"all there\n"


def test_the_death_of_the_coordinator_leaves_the_trial_its_grace(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    code = """
        import os, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), open("saved", "w").write("checkpoint"), sys.exit(0)))
        print("ready", flush=True)
        time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", COORDINATOR, mark, "30", sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path
    ) as coordinator:
        wait_for(tmp_path / "trial" / "stdout.log")
        processes = carrying(mark)
        coordinator.kill()
        coordinator.wait()
        _, alive = psutil.wait_procs(processes, timeout=20)
        assert not alive
        assert (tmp_path / "saved").read_text() == "checkpoint"


@pytest.mark.usefixtures("sleepers")
@pytest.mark.parametrize(
    ("victim", "way"),
    [
        *itertools.product(["the slot process", "the guard", "both"], ["setsid", "a double fork with nohup"]),
        ("the slot process", "a clean environment"),
        ("the guard", "a clean environment"),
    ],
)
def test_the_death_of_a_watcher_ends_everything(tmp_path: Path, way: str, victim: str) -> None:
    with Running(tmp_path, grace_s=0.2) as running:
        launch = running.start_python(script(way, "time.sleep(600)"))
        wait_for(running.trial_dir() / "stdout.log")
        (guard,), (slot,) = slot_processes()
        if victim != "the slot process":
            guard.send_signal(signal.SIGKILL)
        if victim != "the guard":
            slot.send_signal(signal.SIGKILL)
        (end,) = ends_of(running.executor)
        assert (end.token, end.cause) == (launch.token, "lost")
        assert not any(map(is_alive, stayed(tmp_path)))
        assert not carrying(launch.token)
