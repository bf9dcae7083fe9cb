"""What is shown of a run in Python, wherever it runs, and whoever stops looking."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pexpect
import pytest
from nbclient import NotebookClient

from whet import progress as progress_module
from whet.core.trial import Trial
from whet.progress import Pace, Progress, style_for
from whet.run import Outcome, Reason
from whet.screens import Style
from whet.study import Study

HOSTILE = "<script>alert('x')</script>\x1b]0;owned\x07\x1b[2J\x9b31m\rbad\x00\u202e"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")
ALL_STYLES: list[Style] = ["bar", "notebook", "lines", "none"]


@pytest.fixture(autouse=True)
def _logger_as_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what other tools do that set up logging in this process: they switch off every logger there is."""
    monkeypatch.setattr(logging.getLogger("whet"), "disabled", False)


def _study(**options: Any) -> Study:
    return Study({"a": (0, 99), "b": ["x", "y"]}, **{"sampler": "random", "seed": 1, **options})


def _drive(study: Study, shown: Progress, results: list[Any]) -> None:
    """Run a trial for each of *results* as the run loop would: a value, or the cause of a failure."""
    for result in results:
        trial = study.ask()
        shown.started(trial, study.ledger.history)
        if isinstance(result, str):
            ended = study.fail(trial, cause=result, message=f"Traceback of {trial.number}\n  line 2\nValueError: no")
        else:
            ended = study.tell(trial, result)
        shown.ended(ended, study.ledger.history)
        shown.tick(study.ledger.history)


def _shown(results: list[Any], reason: Reason = "done", n_total: int | None = 10, **options: Any) -> list[str]:
    """Return the lines of a log about a run with *results*."""
    stream = io.StringIO()
    study = _study(**options.pop("study", {}))
    shown = Progress(study.name, n_total=n_total, workers=1, style="lines", stream=stream, **options)
    _drive(study, shown, results)
    shown.close(study.ledger.history, Outcome(reason))
    return stream.getvalue().splitlines()


# ---- lines: quiet, but for the first failure and the end
def test_a_run_in_which_all_is_well_says_one_line() -> None:
    (line,) = _shown([3.0, 0.0123, 2.0])
    assert re.fullmatch(r"study: 3 trials in 0\.\d s: best 0\.0123 \(trial 1\)", line)


def test_the_first_failure_is_shown_in_full_and_the_others_are_counted() -> None:
    lines = _shown([1.0, "error", "timeout", "error", 2.0, "error"])
    assert re.fullmatch(r"trial 1 failed \(error\); config: a=\d+ b=[xy]", lines[0])
    assert lines[1:4] == ["  Traceback of 1", "    line 2", "  ValueError: no"]
    assert lines[5:] == ["4 trials failed: 3 error (first: trial 1), 1 timeout (trial 2)"]
    assert lines[4].startswith("study: 6 trials in ")


def test_the_first_failure_may_be_of_a_trial_that_runs_again() -> None:
    stream = io.StringIO()
    study = _study()
    shown = Progress("s", n_total=2, workers=1, style="lines", stream=stream)
    trial = study.fail(study.ask(), message="first")
    shown.requeued(replace(trial, cause=None), study.ledger.history)
    assert stream.getvalue() == "", "a worker that is lost is no failure of the trial"
    shown.requeued(trial, study.ledger.history)
    shown.requeued(trial, study.ledger.history)
    assert re.fullmatch(r"trial 0 failed \(error\) and will run again; config: .*\n  first\n", stream.getvalue())


@pytest.mark.parametrize(
    ("reason", "is_kept", "last"),
    [
        ("interrupted", True, "Ctrl-C: 2 of 10 trials done; call it again with the same name to go on"),
        ("interrupted", False, "Ctrl-C: 2 of 10 trials done; study.run(fn, …) goes on"),
        ("terminated", True, "SIGTERM: 2 of 10 trials done; call it again with the same name to go on"),
        ("stopped", False, "the run was asked to stop: 2 of 10 trials done; study.run(fn, …) goes on"),
        ("timeout", False, "the time is up"),
        ("target", False, "the target is reached"),
        ("failures", False, "the run ended because too many trials failed"),
    ],
)
def test_why_it_ended_and_how_to_go_on(reason: Reason, is_kept: bool, last: str) -> None:
    assert _shown([1.0, 2.0], reason, is_kept=is_kept)[1:] == [last]


def test_an_endless_run_that_is_interrupted() -> None:
    assert _shown([1.0], "interrupted", None)[1] == "Ctrl-C: 1 trial done; study.run(fn, …) goes on"


def test_all_failed() -> None:
    lines = _shown(["error"] * 3, "failures")
    assert lines[4].endswith(": no completed trial yet")
    assert lines[5:] == [
        "3 trials failed: 3 error (first: trial 0)",
        "the run ended because its first trials all failed: it seems to be the function, not the configs",
    ]


@pytest.mark.parametrize("outcome", [None, Outcome("broken", "no")])
def test_where_an_exception_says_it_nothing_else_does(outcome: Outcome | None) -> None:
    stream = io.StringIO()
    study = _study()
    shown = Progress("s", n_total=1, workers=1, style="lines", stream=stream)
    _drive(study, shown, [1.0])
    shown.close(study.ledger.history, outcome)
    assert stream.getvalue() == ""


def test_a_study_that_goes_on_tells_the_run_from_the_whole() -> None:
    study, stream = _study(), io.StringIO()
    for _ in range(2):
        shown = Progress("s", n_total=5, workers=1, style="lines", stream=stream)
        _drive(study, shown, [1.0, 2.0])
        shown.close(study.ledger.history, Outcome("done"))
        shown.close(study.ledger.history, Outcome("done"))
    first, second = stream.getvalue().splitlines()
    assert first.startswith("s: 2 trials in ")
    assert second.startswith("s: 2 trials (4 in all) in ")


def test_several_objectives_and_metrics_with_names() -> None:
    two = {"study": {"objective": {"x": "minimize", "y": "maximize"}}}
    assert _shown([{"x": 1.0, "y": 2.0}], **two)[0].endswith(": 2 objectives, so no single best trial")
    one = {"study": {"objective": {"acc": "maximize"}}}
    assert _shown([{"acc": 0.5}, {"acc": 0.75}], **one)[0].endswith(": best acc=0.75 (trial 1)")


def test_a_long_run_says_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now)
    study, stream = _study(), io.StringIO()
    shown = Progress("s", n_total=10, workers=1, style="lines", stream=stream)
    _drive(study, shown, [1.0])
    for _ in range(700):
        now += 0.1
        shown.tick(study.ledger.history)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert re.fullmatch(
        r"s: 1/10 trials · best 1 \(trial 0\) · about \d\.\d s left · 0 running · 30 s so far", lines[0]
    )


def test_notices_are_given_once() -> None:
    stream = io.StringIO()
    shown = Progress("s", n_total=1, workers=1, style="lines", stream=stream)
    for _ in range(3):
        shown.notice("the disk is full")
    assert stream.getvalue() == "the disk is full\n"


# ---- nothing is printed, but what a person must know is logged
def test_none_prints_nothing_and_logs_what_casts_doubt(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    study = _study()
    shown = Progress("s", n_total=4, workers=1, style="none")
    _drive(study, shown, [1.0, 2.0])
    shown.close(study.ledger.history, Outcome("done"))
    assert caplog.messages == []
    shown = Progress("s", n_total=4, workers=1, style="none")
    _drive(study, shown, ["error", 3.0])
    shown.notice("the disk is full")
    shown.close(study.ledger.history, Outcome("done"))
    assert caplog.messages[0] == "the disk is full"
    assert caplog.messages[1].endswith("; 1 trial failed: 1 error (trial 2); the first said: ValueError: no")
    assert {(record.name, record.levelno) for record in caplog.records} == {("whet", logging.WARNING)}
    assert capsys.readouterr() == ("", "")


def test_none_logs_an_interruption(caplog: pytest.LogCaptureFixture) -> None:
    study = _study()
    shown = Progress("s", n_total=4, workers=1, style="none")
    _drive(study, shown, [1.0])
    shown.close(study.ledger.history, Outcome("interrupted"))
    assert "Ctrl-C: 1 of 4 trials done" in caplog.text


# ---- hostile text, streams that are gone
@pytest.mark.parametrize("style", ["bar", "lines", "none"])
def test_nothing_hostile_gets_through(style: Style, caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    study = _study(objective={f"m{HOSTILE}": "minimize"})
    shown = Progress(f"s{HOSTILE}", n_total=4, workers=1, style=style, stream=stream)
    _drive(study, shown, [{f"m{HOSTILE}": 1.0}])
    failed = study.fail(study.ask(), message=f"line 1 {HOSTILE}\nline 2")
    shown.ended(replace(failed, config={f"a{HOSTILE}": f"v{HOSTILE}\nsecond"}), study.ledger.history)
    shown.notice(f"notice {HOSTILE}")
    shown.close(study.ledger.history, Outcome("interrupted"))
    said = stream.getvalue() + "\n".join(caplog.messages)
    assert "notice" in said
    assert not CONTROL.search(said)


def test_a_traceback_without_end_is_cut() -> None:
    stream = io.StringIO()
    study = _study()
    shown = Progress("s", n_total=1, workers=1, style="lines", stream=stream)
    failed = study.fail(study.ask(), message="x" * 10_000_000 + "\nthe last line")
    shown.ended(failed, study.ledger.history)
    assert len(stream.getvalue()) < 30_000
    assert "the last line" in stream.getvalue()


class _Broken(io.StringIO):
    """A stream whose reader has gone; it says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("style", ALL_STYLES)
@pytest.mark.parametrize("kind", ["closed", "broken"])
def test_a_stream_that_is_gone_does_not_end_the_run(
    style: Style, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream: io.StringIO = _Broken()
    if kind == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setenv("TERM", "xterm")
    before = sys.stdout, sys.stderr
    study = _study()
    for _ in range(2):  # the bar is free again for the second one
        shown = Progress("s", n_total=4, workers=1, style=style, stream=stream)
        _drive(study, shown, [1.0, "error"])
        if style == "bar":
            _tick_until_drawn(study, shown)
        shown.close(study.ledger.history, Outcome("done"))
    assert (sys.stdout, sys.stderr) == before


def test_no_standard_error_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    study = _study()
    for progress in (True, False):
        shown = Progress("s", n_total=4, workers=1, style=style_for(progress))
        shown.notice("nobody reads this")
        shown.close(study.ledger.history, Outcome("done"))


def test_a_locale_without_our_characters() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    study = _study()
    shown = Progress("étude", n_total=4, workers=1, style="lines", stream=stream)
    shown.notice("first")
    shown.close(study.ledger.history, Outcome("interrupted"))
    assert b"\\xe9tude" in raw.getvalue()
    assert b"study.run(fn, \\u2026) goes on" in raw.getvalue()


def _tick_until_drawn(study: Study, shown: Progress) -> None:
    """Tick until even a bar, which waits a moment, has been drawn."""
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        shown.tick(study.ledger.history)
        time.sleep(0.05)


# ---- which style
def test_the_style(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", _Broken())
    monkeypatch.setenv("TERM", "xterm")
    assert (style_for(True), style_for(False)) == ("bar", "none")
    monkeypatch.setenv("TERM", "dumb")
    assert style_for(True) == "lines"
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert style_for(True) == "lines"


def test_nothing_heavy_is_loaded_before_there_is_something_to_draw() -> None:
    code = (
        "import sys\nfrom whet.progress import Progress, style_for\n"
        "for style in ('bar', 'lines', 'none', style_for(True)): Progress('s', n_total=1, workers=1, style=style)\n"
        "sys.exit(bool({'rich', 'IPython', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_pace() -> None:
    pace = Pace(2)
    trial = Trial(0, started_at=1.0, ended_at=5.0)
    assert pace.left_s(3) is None
    pace.note(replace(trial, ended_at=None))
    assert pace.left_s(3) is None
    pace.note(trial)
    assert (pace.left_s(3), pace.left_s(-1), pace.left_s(None)) == (6.0, 0.0, None)


# ---- the bar on a terminal of its own
_RUN = """
import os, sys, time
from whet.progress import Progress, style_for
from whet.run import Outcome
from whet.study import Study

def drive(study, shown, n, pause_s):
    for i in range(n):
        trial = study.ask()
        shown.started(trial, study.ledger.history)
        if i % 5 == 1:
            ended = study.fail(trial, message="Traceback\\n  <b>ValueError</b>: \\x1b[2Jno")
        else:
            ended = study.tell(trial, float(i))
        until = time.monotonic() + pause_s
        while time.monotonic() < until:
            shown.tick(study.ledger.history)
            time.sleep(0.01)
        shown.ended(ended, study.ledger.history)
        if i == 7:
            print("printed by a callback")

study = Study({"a": (0, 99)}, sampler="random", seed=1, name="<b>s</b>")
"""


def _spawn(code: str, cwd: Path, **options: Any) -> pexpect.spawn:
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    return pexpect.spawn(
        sys.executable, ["-c", _RUN + code], cwd=str(cwd), env=env, dimensions=(24, 160), encoding="utf-8", **options
    )


def test_the_bar_on_a_terminal(tmp_path: Path) -> None:
    code = """
assert style_for(True) == "bar"
shown = Progress(study.name, n_total=10, workers=2)
drive(study, shown, 10, 0.1)
shown.close(study.ledger.history, Outcome("done"))
print("after", type(sys.stdout).__name__)
"""
    terminal = _spawn(code, tmp_path)
    text = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0, text
    assert re.search(r"━.* \d/10 trials · best 0 \(trial 0\) · about 0\.\d s left · 0 running", text)
    assert "\x1b[2J" not in text
    plain = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)
    assert re.search(r"trial 1 failed \(error\); config: a=\d+\r\n  Traceback\r\n    <b>ValueError</b>: no\r\n", plain)
    assert plain.count("printed by a callback") == 1
    assert re.search(r"<b>s</b>: 10 trials in \d\.\d s: best 0 \(trial 0\)\r\n2 trials failed: 2 error", plain)
    assert plain.endswith("after TextIOWrapper\r\n"), "standard output is what it was"
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is shown again"


def test_what_is_printed_to_a_file_arrives_there(tmp_path: Path) -> None:
    code = """
sys.stdout = open("out.txt", "w")
shown = Progress(study.name, n_total=10, workers=1)
drive(study, shown, 10, 0.08)
shown.close(study.ledger.history, Outcome("done"))
sys.stdout.close()
"""
    terminal = _spawn(code, tmp_path)
    text = terminal.read()
    terminal.close()
    assert "━" in text
    assert (tmp_path / "out.txt").read_text() == "printed by a callback\n"


def test_a_terminal_that_is_closed_does_not_end_the_run(tmp_path: Path) -> None:
    code = """
import signal
sys.stdout = open("printed.txt", "w")
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
shown = Progress(study.name, n_total=20, workers=1)
drive(study, shown, 20, 0.08)
shown.close(study.ledger.history, Outcome("done"))
sys.stdout.close()
open("done.txt", "w").close()
os._exit(0)
"""
    terminal = _spawn(code, tmp_path)
    terminal.expect("━")
    with suppress(pexpect.ExceptionPexpect):  # the process does not end with its terminal
        terminal.close(force=False)
    deadline = time.monotonic() + 60
    while not (tmp_path / "done.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "done.txt").exists()
    assert (tmp_path / "printed.txt").read_text() == "printed by a callback\n"


def test_two_studies_at_once_share_a_terminal(tmp_path: Path) -> None:
    code = """
import threading
def one(name):
    study = Study({"a": (0, 99)}, sampler="random", name=name)
    shown = Progress(name, n_total=10, workers=1)
    drive(study, shown, 10, 0.08)
    shown.close(study.ledger.history, Outcome("done"))
threads = [threading.Thread(target=one, args=(name,)) for name in ("first", "second")]
[t.start() for t in threads]
[t.join() for t in threads]
"""
    terminal = _spawn(code, tmp_path)
    text = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0
    assert "Exception" not in text
    for name in ("first", "second"):
        assert f"{name}: 10 trials in" in text
    assert len(set(re.findall(r"so far · (first|second)", text))) == 1, "one of them has the bar"


def test_the_bar_is_free_again_when_a_run_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for _ in range(2):
        stream, study = Terminal(), _study()
        shown = Progress("s", n_total=10, workers=1, style="bar", stream=stream)
        thread = threading.Thread(target=_tick_until_drawn, args=(study, shown))
        thread.start()
        thread.join()
        shown.close(study.ledger.history, Outcome("done"))
        assert "━" in stream.getvalue()


# ---- a notebook, executed by a kernel
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_display_of_a_notebook(tmp_path: Path) -> None:
    code = """
assert style_for(True) == "notebook" and style_for(False) == "none"
shown = Progress(study.name, n_total=10, workers=2)
drive(study, shown, 10, 0.15)
shown.notice("a <script>notice</script>")
shown.close(study.ledger.history, Outcome("interrupted"))
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(_RUN + code)])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = notebook.cells[0].outputs
    (display,) = [output for output in outputs if output.output_type == "display_data"]
    (page,) = [display["data"]["text/html"]]
    assert "&lt;b&gt;s&lt;/b&gt;: 10 trials in" in page
    assert "<pre>trial 1 failed (error); config: a=" in page
    assert "&lt;b&gt;ValueError&lt;/b&gt;: no" in page
    assert "<pre>a &lt;script&gt;notice" in page
    assert "Ctrl-C: 10 of 10 trials done" in page
    assert "<progress" not in page, "the last state stays"
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_a_notebook_without_its_library_falls_back_to_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    stream = io.StringIO()
    shown = Progress("s", n_total=2, workers=1, style="notebook", stream=stream)
    shown.notice("the disk is full")
    assert stream.getvalue() == "the disk is full\n"
