"""Programs on the executor for programs: how they start, what they print, how they end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.executors.running import Running, carrying, slot_processes, wait_for
from whet.core.protocols import Ended, Reported
from whet.errors import ExecutorError, UsageError
from whet.executors.commands import Command, CommandExecutor
from whet.testing.executor_suite import ends_of, launch_of

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc")


# ---- arguments, environment, directories
def test_a_program_runs_in_its_directory_with_its_environment_and_no_input(tmp_path: Path) -> None:
    code = (
        "import os, sys; print(os.getcwd(), repr(sys.stdin.read()), os.environ['COLOUR'], os.getsid(0) == os.getpid())"
    )
    (tmp_path / "here").mkdir()
    with Running(tmp_path) as running:
        end = running.run_python(code, cwd=tmp_path / "here", env={"COLOUR": "grün"})
        assert (end.cause, end.exit_code, end.message) == (None, 0, "")
        assert running.read("stdout.log").decode() == f"{tmp_path / 'here'} '' grün True\n"
        assert running.read("stderr.log") == b""
        assert sorted(path.name for path in running.trial_dir().iterdir()) == ["stderr.log", "stdout.log"]


def test_nothing_of_our_environment_gets_in_and_no_file_of_ours(tmp_path: Path) -> None:
    with (tmp_path / "ours").open("w") as ours, Running(tmp_path) as running:
        os.set_inheritable(ours.fileno(), True)
        command = Command((sys.executable, "-c", "import os; print(sorted(os.environ))"), tmp_path, {}, tmp_path / "t")
        launch = launch_of({})
        running._commands[launch.token] = command
        running.executor.start(launch)
        ends_of(running.executor)
        names = set(json.loads((tmp_path / "t" / "stdout.log").read_text().replace("'", '"')))
        assert names - {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"} == {"WHET_TOKEN"}
        if Path("/proc/self/fd").exists():
            running.run("ls", "-l", "/proc/self/fd", number=1)
            lines = running.read("stdout.log", 1).decode().splitlines()[1:]
            assert [line.split()[8] for line in lines] == ["0", "1", "2", "3"], lines


ARGUMENTS = st.lists(
    st.binary(max_size=20).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)
    | st.sampled_from(["--lr=-1", "-rf", "", " ", "a b", "'\"'", "$(ls)", ";rm", "*", "\n", "=", "{}", "\udcff", "é"]),
    max_size=6,
)


def test_arguments_and_environment_arrive_byte_by_byte(tmp_path: Path) -> None:
    code = "import os, sys; print([os.fsencode(a).hex() for a in sys.argv[1:]], os.environb.get(b'ODD', b'').hex())"
    with Running(tmp_path) as running:

        @settings(max_examples=40)
        @given(arguments=ARGUMENTS)
        def check(arguments: list[str]) -> None:
            odd = "".join(arguments)
            assert running.run_python(code, *arguments, env={"ODD": odd}).cause is None
            expected = f"{[os.fsencode(a).hex() for a in arguments]} {os.fsencode(odd).hex()}\n"
            assert running.read("stdout.log").decode() == expected

        check()


def test_directories_of_odd_names(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"od\xffd \n dir")
    odd.mkdir()
    with Running(odd) as running:
        assert running.run("pwd", cwd=odd).cause is None
        assert running.read("stdout.log").startswith(os.fsencode(odd))


def test_a_program_is_looked_up_in_the_path_that_it_will_see(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "unheard-of"
    program.write_text("#!/bin/sh\necho found by $0\n")
    program.chmod(0o755)
    with Running(tmp_path) as running:
        assert running.run("unheard-of", env={"PATH": f"/nowhere:{tmp_path}/bin"}).cause is None
        assert running.read("stdout.log").decode() == f"found by {program}\n"
        assert running.run("bin/unheard-of").cause is None
        assert running.run("unheard-of").cause == "error"


# ---- programs that cannot be started
def bad_shebang(path: Path) -> str:
    path.write_text("#!/no/such/python -u\nprint()\n")
    path.chmod(0o755)
    return str(path)


def windows_shebang(path: Path) -> str:
    path.write_bytes(b"#!/bin/sh\r\necho\r\n")
    path.chmod(0o755)
    return str(path)


def no_shebang(path: Path) -> str:
    path.write_text("echo hello\n")
    path.chmod(0o755)
    return str(path)


def not_executable(path: Path) -> str:
    path.write_text("#!/bin/sh\necho\n")
    return str(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: "no-such-program", ["'no-such-program' was not found", "PATH"]),
        (lambda path: "./no-such-program", ["does not exist", "spelling"]),
        (str, ["does not exist"]),
        (lambda path: str(path.parent), ["is a directory"]),
        (not_executable, ["is not executable", "chmod +x"]),
        (bad_shebang, ["first line asks for '/no/such/python -u'", "correct that line"]),
        (windows_shebang, [r"first line asks for '/bin/sh\r'"]),
        (no_shebang, ["neither a program", "'#!' line"]),
    ],
)
def test_a_program_that_cannot_be_started(tmp_path: Path, make: Callable[[Path], str], words: list[str]) -> None:
    with Running(tmp_path) as running:
        end = running.run(make(tmp_path / "script"))
        assert (end.cause, end.exit_code, dict(end.metrics)) == ("error", None, {})
        assert all(word in end.message for word in words), end.message
        assert "\n" not in end.message
        assert running.run("true").cause is None


def test_too_large_a_command_line(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        end = running.run("echo", *["x" * 100_000] * 100)
        assert end.cause == "error"
        assert re.search(r"take 100\d{5} bytes, more than the system passes .* into a file", end.message)
        assert running.run("echo", *["x" * 1000] * 100).cause is None


def test_a_working_directory_that_is_missing(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        end = running.run("true", cwd=tmp_path / "missing")
        assert end.cause == "error"
        assert f"working directory '{tmp_path}/missing' cannot be entered" in end.message


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: limits of a process that runs")
@pytest.mark.skipif(os.geteuid() == 0, reason="needs not to be root: root may have any number of processes")
def test_no_processes_left(tmp_path: Path) -> None:
    import resource

    with Running(tmp_path) as running:
        running.run("true")
        _, (slot,) = slot_processes()
        resource.prlimit(slot.pid, resource.RLIMIT_NPROC, (1, 1))
        end = running.run("true")
        assert end.cause == "error"
        assert "--workers" in end.message


def test_no_files_left(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(20):
            os.close(taken.pop())
        with pytest.raises(ExecutorError, match="ulimit -n"):
            CommandExecutor(lambda launch: pytest.fail("never called"), slots=20)
        assert os.dup(0) == taken[-1] + 1  # nothing is left open
        os.close(taken[-1] + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"argv": ()}, "argv is empty"),
        ({"argv": ("",)}, "argv is empty"),
        ({"argv": ("a", "b\0c")}, "argument 1 .* NUL"),
        ({"env": {"A=B": "c"}}, "'A=B'"),
        ({"env": {"A": "\0"}}, "'A'"),
        ({"timeout_s": 0.0}, "positive number of seconds"),
        ({"timeout_s": float("nan")}, "positive number of seconds"),
        ({"memory_bytes": -1}, "positive number of bytes"),
        ({"env": {"WHET_METRICS": "t/metrics.jsonl"}}, "name another file"),
    ],
)
def test_a_command_that_makes_no_sense(changes: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"argv": ("true",), "cwd": Path("/"), "env": {}, "trial_dir": Path("/t")}
    Command(**good)
    with pytest.raises(UsageError, match=words):
        Command(**{**good, **changes})


@pytest.mark.parametrize(
    "options", [{"slots": 0}, {"grace_s": -1.0}, {"log_cap_bytes": 0}, {"metric_pattern": "("}, {"metric_pattern": "a"}]
)
def test_an_executor_that_makes_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        CommandExecutor(lambda launch: pytest.fail("never called"), **options)


def test_a_command_that_cannot_be_rendered_fails_its_trial(tmp_path: Path) -> None:
    def render(launch: object) -> Command:
        raise UsageError("there is no {placeholder} of that name")

    executor = CommandExecutor(render)
    executor.start(launch_of({}))
    (end,) = executor.poll(0.0)
    assert isinstance(end, Ended)
    assert (end.cause, end.message) == ("error", "there is no {placeholder} of that name")
    executor.close()


# ---- ends
def test_how_a_program_ended(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        end = running.run("sh", "-c", "echo out; echo bad luck >&2; exit 3")
        assert (end.cause, end.exit_code, end.message) == ("exit_code", 3, "bad luck")
        end = running.run("sh", "-c", "echo only out; exit 255")
        assert (end.cause, end.exit_code, end.message) == ("exit_code", 255, "only out")
        end = running.run("false")
        assert (end.cause, end.message) == ("exit_code", "it ended with exit code 1 and printed nothing")
        end = running.run("sh", "-c", "kill -SEGV $$")
        assert (end.cause, end.exit_code, end.message) == ("signal", -signal.SIGSEGV, "it was ended by SIGSEGV")
        end = running.run("sh", "-c", "echo so far so good; kill -KILL $$")
        assert (end.cause, end.exit_code) == ("signal", -signal.SIGKILL)
        assert "out of memory" in end.message
        assert end.message.endswith("\nso far so good")


def test_a_message_is_safe_to_print_and_short(tmp_path: Path) -> None:
    code = r"import sys; sys.stderr.buffer.write(b'\x1b[31m\xff\x00\a\x1b]0;t\x07' + b'x' * 100000); sys.exit(1)"
    with Running(tmp_path) as running:
        end = running.run_python(code)
        assert end.message.isprintable()
        assert end.message.endswith("xxx")
        assert len(end.message) < 4096


def test_a_time_limit(tmp_path: Path) -> None:
    with Running(tmp_path, grace_s=5.0) as running:
        end = running.run("sh", "-c", "echo loss: 0.5; sleep 600", timeout_s=0.2)
        assert (end.cause, end.exit_code) == ("timeout", -signal.SIGTERM)
        assert end.message == "it ran longer than its limit of 0.2 s\nloss: 0.5"
        assert end.metrics["loss"] == 0.5
        code = "import sys, signal, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(600)"
        end = running.run_python(code, timeout_s=0.3)
        assert end.cause == "timeout"
        assert running.run("true", timeout_s=60.0).cause is None


def test_a_time_limit_for_those_who_do_not_listen(tmp_path: Path) -> None:
    with Running(tmp_path, grace_s=0.2) as running:
        end = running.run("sh", "-c", "trap '' TERM; while :; do sleep 1; done", timeout_s=0.2)
        assert (end.cause, end.exit_code) == ("timeout", -signal.SIGKILL)


@needs_linux
def test_a_memory_limit_is_of_all_processes_together(tmp_path: Path) -> None:
    hold = "import time; block = b'x' * (60 << 20); print(); time.sleep(600)"
    parent = f"import subprocess, sys; [subprocess.Popen([sys.executable, '-c', {hold!r}]) for _ in range(3)][0].wait()"
    with Running(tmp_path) as running:
        launch = running.start_python(parent, memory_bytes=120 << 20)
        (end,) = ends_of(running.executor)
        assert end.cause == "memory"
        assert "above the limit of 120 MiB" in end.message
        assert not carrying(launch.token)
        assert running.run_python("b'x' * (20 << 20)", memory_bytes=120 << 20).cause is None


@needs_linux
def test_memory_that_processes_share_counts_once(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "block = b'x' * (80 << 20)\n"
        "for _ in range(2):\n    if os.fork() == 0: break\n"
        "time.sleep(1.2)\n"
    )
    with Running(tmp_path) as running:
        assert running.run_python(code, memory_bytes=150 << 20).cause is None


# ---- stopping
WAITING = "import signal, sys, time\n{}\nprint('ready')\ntime.sleep(600)"
IGNORING = "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def started(running: Running, code: str, number: int = 0) -> str:
    launch = running.start_python(WAITING.format(code), number=number)
    wait_for(running.trial_dir(number) / "stdout.log")
    return launch.token


def test_an_interrupt_is_a_ctrl_c(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        token = started(running, "")
        running.executor.stop(token, "interrupt")
        (end,) = ends_of(running.executor)
        assert "KeyboardInterrupt" in end.message
        assert (end.cause, end.exit_code) == ("signal", -signal.SIGINT)


def test_who_ignores_the_interrupt_is_terminated_and_then_killed(tmp_path: Path) -> None:
    with Running(tmp_path, grace_s=0.3) as running:
        token = started(running, "signal.signal(signal.SIGINT, signal.SIG_IGN)")
        running.executor.stop(token, "interrupt")
        assert ends_of(running.executor)[0].exit_code == -signal.SIGTERM
        token = started(running, IGNORING, 1)
        running.executor.stop(token, "interrupt")
        (end,) = ends_of(running.executor)
        assert (end.cause, end.exit_code) == ("signal", -signal.SIGKILL)
        assert "out of memory" not in end.message


def test_a_harsher_stop_does_not_wait_and_a_milder_one_changes_nothing(tmp_path: Path) -> None:
    with Running(tmp_path, grace_s=600.0) as running:
        for how in ("interrupt", "terminate"):
            token = started(running, IGNORING, number=["interrupt", "terminate"].index(how))
            running.executor.stop(token, how)
            running.executor.stop(token, "interrupt")
            assert running.executor.poll(0.3) == []
            running.executor.stop(token, "kill")
            assert ends_of(running.executor)[0].exit_code == -signal.SIGKILL


def test_an_attempt_that_ends_well_when_asked_says_so(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        handler = "signal.signal(signal.SIGTERM, lambda *_: (print('acc: 0.5', flush=True), sys.exit(0)))"
        token = started(running, handler)
        running.executor.stop(token, "terminate")
        (end,) = ends_of(running.executor)
        assert (end.cause, end.exit_code, dict(end.metrics)) == (None, 0, {"acc": 0.5})
        running.executor.stop(token, "kill")
        assert running.executor.poll(0.05) == []


@needs_linux
def test_an_attempt_whose_slot_process_takes_no_message_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet.executors.slots._SEND_S", 0.2)
    with Running(tmp_path) as running:
        token = started(running, IGNORING)
        _, (slot,) = slot_processes()
        slot.suspend()
        for _ in range(5_000):  # more than the socket holds
            running.executor.stop(token, "interrupt")
        (end,) = ends_of(running.executor)
        assert (end.token, end.cause) == (token, "lost")
        assert carrying(token) == []
        assert not slot.is_running()
        assert running.run_python("print('acc: 1')", number=1).cause is None


def test_closing_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    with Running(tmp_path, slots=3, grace_s=600.0) as running:
        for number in range(3):
            started(running, IGNORING, number)
        running.executor.close()
        assert not any(carrying(token) for token in running.tokens)
        assert slot_processes() == ([], [])


def test_many_quick_attempts(tmp_path: Path) -> None:
    with Running(tmp_path, slots=4, watch=["loss"]) as running:
        happened: list[Any] = []
        for number in range(50):
            while number - sum(isinstance(h, Ended) for h in happened) >= 4:
                happened += running.executor.poll(5.0)
            running.start("sh", "-c", f"echo loss: {number}; exit {number % 2}", number=number)
        while sum(isinstance(h, Ended) for h in happened) < 50:
            happened += running.executor.poll(5.0)
    for number, token in enumerate(running.tokens):
        *reports, end = [h for h in happened if h.token == token]
        assert [row for h in reports for row in h.rows] == [(1.0, {"loss": number})]
        assert (end.exit_code, dict(end.metrics)) == (number % 2, {"loss": number})


# ---- output
def test_logs_are_raw_and_earlier_ones_are_kept(tmp_path: Path) -> None:
    raw = bytes(range(256)) * 3
    code = f"import sys; sys.stdout.buffer.write({raw!r}); sys.stderr.buffer.write({raw[::-1]!r})"
    with Running(tmp_path) as running:
        assert running.run_python(code).cause is None
        assert running.read("stdout.log") == raw
        assert running.read("stderr.log") == raw[::-1]
        running.run("echo", "loss: 0.5", attempt=2)
        running.run("echo", "loss: 0.25", attempt=3)
        assert running.read("stdout.attempt1.log") == raw
        assert running.read("stderr.attempt1.log") == raw[::-1]
        assert running.read("stdout.attempt2.log") == b"loss: 0.5\n"
        assert running.read("stdout.log") == b"loss: 0.25\n"
        assert json.loads(running.read("metrics.attempt2.jsonl"))["metrics"] == {"loss": 0.5}
        assert json.loads(running.read("metrics.jsonl"))["metrics"] == {"loss": 0.25}


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@needs_linux
@pytest.mark.parametrize(
    ("unit", "n_mb", "metrics"),
    [
        (b"nothing to see\n", 30, {}),
        (b"step 3 loss: 0.25\n", 30, {"loss": 0.25}),
        (b"0123456789", 30, {}),
        (b"loss: 0.25 \r", 30, {"loss": 0.25}),
        (b"\0", 30, {}),
        (b"\xff\xfe\x1b[2J", 30, {}),
    ],
    ids=["lines", "metrics", "one line", "progress", "NUL", "no UTF-8"],
)
def test_a_flood_fits_into_bounded_memory_and_a_bounded_log(
    tmp_path: Path, unit: bytes, n_mb: int, metrics: dict[str, float]
) -> None:
    block = unit * (100_000 // len(unit))
    code = f"""
import sys
block = {unit!r} * {len(block) // len(unit)}
for _ in range({n_mb * 10}):
    sys.stdout.buffer.write(block)
print('\\nlast words')
"""
    with Running(tmp_path, watch=["loss"], log_cap_bytes=1_000_000) as running:
        end = running.run_python(code)
        assert (end.cause, dict(end.metrics)) == (None, metrics)
        _, (slot,) = slot_processes()
        assert peak_mib(slot.pid) < 24  # below 13 without a flood, and 30 MB came
    log = running.read("stdout.log")
    assert log.startswith(block[:1000])
    assert log.endswith(b"last words\n")
    assert b"\n[whet: %d bytes left out here]\n" % (len(block) * n_mb * 10 + 12 - 1_000_000) in log
    assert len(log) < 1_000_100


def test_a_coordinator_that_does_not_listen_holds_nobody_up(tmp_path: Path) -> None:
    code = "for i in range(30_000): print('step', i, 'loss:', i)"
    with Running(tmp_path, watch=["loss"]) as running:
        running.start_python(code)
        while (
            not (running.trial_dir() / "stdout.log").exists() or b"29999 loss" not in running.read("stdout.log")[-50:]
        ):
            time.sleep(0.01)  # nobody polls meanwhile
        *reports, end = running.poll_until_end()
        rows = [row for h in reports if isinstance(h, Reported) for row in h.rows]
        assert rows == sorted(rows, key=lambda row: row[0])
        assert rows[-1] == (29_999.0, {"loss": 29_999.0})
        assert isinstance(end, Ended)
        assert end.metrics["loss"] == 29_999.0


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.close(1); os.write(2, b'acc: 0.5\\n')",
        "import os; os.close(2); os.write(1, b'acc: 0.5\\n'); os.close(1); import time; time.sleep(0.2)",
        "import os; os.write(1, b'acc: 0.5'); os._exit(0)",
        "import os, sys; sys.stdout.close(); os.write(2, b'acc: 0.5'); os.close(0)",
    ],
)
def test_streams_that_are_closed_early(tmp_path: Path, code: str) -> None:
    with Running(tmp_path) as running:
        end = running.run_python(code)
        assert (end.cause, dict(end.metrics)) == (None, {"acc": 0.5})


def test_a_terminal(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty(), *os.get_terminal_size(1), 'is it')\n"
        "sys.stderr.write('loss: 0.5\\n')\n"
        "try:\n    open('/dev/tty')\nexcept OSError:\n    print('no control')"
    )
    with Running(tmp_path) as running:
        end = running.run_python(code, pty=True)
        assert (end.cause, dict(end.metrics)) == (None, {"loss": 0.5})
        assert running.read("stdout.log") == (b"False True True 200 50 is it\nno control\n")
        assert running.read("stderr.log") == b"loss: 0.5\n"
        assert running.run("sh", "-c", "seq 100000; exit 4", pty=True).exit_code == 4
        assert running.read("stdout.log").endswith(b"\n99999\n100000\n")


# ---- metrics
def test_metrics_from_both_streams_and_the_file_meant_for_it(tmp_path: Path) -> None:
    code = (
        "import os, sys, whet.reporting\n"
        "print('epoch 1 loss=0.5', flush=True)\n"
        "print('acc: 0.25', file=sys.stderr, flush=True)\n"
        "whet.reporting.report(2, loss=float('nan'))\n"
        "open(os.environ['WHET_METRICS'], 'a').write('{\"other\": 1}')\n"
    )
    with Running(tmp_path, watch=["loss"]) as running:
        running.start_python(code, env={"WHET_METRICS": str(tmp_path / "reported.jsonl")})
        *reports, end = running.poll_until_end()
        assert isinstance(end, Ended)
        assert repr(sorted(end.metrics.items())) == "[('acc', 0.25), ('loss', nan), ('other', 1.0)]"
        rows = [row for h in reports if isinstance(h, Reported) for row in h.rows]
        assert repr(rows) == "[(1.0, {'loss': 0.5}), (2.0, {'loss': nan})]"
        assert len(running.read("metrics.jsonl").splitlines()) == 4


def test_the_metrics_of_an_earlier_attempt_are_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "reported.jsonl").write_text('{"loss": 0.5}\n')
    with Running(tmp_path) as running:
        end = running.run("sh", "-c", "echo '{\"acc\": 0.5}' >> $WHET_METRICS", env={"WHET_METRICS": "reported.jsonl"})
        assert dict(end.metrics) == {"acc": 0.5}


def test_a_pattern_of_the_users_own(tmp_path: Path) -> None:
    with Running(tmp_path, watch=["loss"], metric_pattern=r"verlust ist (?P<loss>\S+)") as running:
        running.start("echo", "der verlust ist 0.5 heute")
        report, end = running.poll_until_end()
        assert isinstance(report, Reported)
        assert report.rows == [(1.0, {"loss": 0.5})]
        assert isinstance(end, Ended)
        assert dict(end.metrics) == {"loss": 0.5}


# ---- places that cannot be written
def test_a_trial_directory_that_cannot_be_made_costs_the_logs_only(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("a file")
    with Running(tmp_path) as running:
        assert dict(running.run("echo", "acc: 0.5").metrics) == {"acc": 0.5}
        end = running.run("sh", "-c", "echo acc: 0.5; exit 1")
        assert end.message.splitlines()[0] == "9 bytes could not be written to stdout.log: Not a directory"


def test_a_trial_that_removes_its_own_directory(tmp_path: Path) -> None:
    with Running(tmp_path, log_cap_bytes=1000) as running:
        code = f"import shutil; print('x' * 5000); shutil.rmtree({str(tmp_path / 'trials')!r}); print('acc: 0.5')"
        assert dict(running.run_python(code).metrics) == {"acc": 0.5}


@pytest.mark.root
@needs_linux
def test_a_full_disk_costs_the_log_only(tmp_path: Path) -> None:
    import subprocess

    disk = tmp_path / "trials"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        with Running(tmp_path, watch=["loss"], log_cap_bytes=10_000_000) as running:
            code = "for i in range(10_000): print('step', i, 'loss:', i)\nraise SystemExit('over')"
            end = running.run_python(code)
            assert end.cause == "exit_code"
            assert end.metrics["loss"] == 9_999.0
            assert "could not be written to stdout.log: No space left on device" in end.message
            assert "metrics.jsonl could not be written: No space left on device" in end.message
            assert end.message.endswith("over")
            shutil.rmtree(running.trial_dir())
            assert running.run("echo", "room again").cause is None
            assert running.read("stdout.log") == b"room again\n"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
