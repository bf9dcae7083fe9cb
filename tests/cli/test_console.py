"""What is shown while a run goes on: lines, JSON, a table; whoever looks, and whoever stops looking."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest

from tests.conftest import Whet
from whet.cli.console import Console, Style, chosen_style
from whet.cli.progress import Progress
from whet.core.history import History
from whet.core.trial import Cause, Trial
from whet.space.domain import Categorical
from whet.space.space import Space
from whet.streams import Stream
from whet.study import Study

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\rbad\x00\u202e"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


def _ran(n: int = 3, n_failed: int = 0, **options: object) -> Study:
    """A study of *n* ended trials of 10, the last *n_failed* of them failed."""
    limits = {"n_trials": 10, "timeout_s": None, "target": None, "max_failures": None}
    study = Study(
        Space({"a": Categorical(list(range(20)))}),
        {"loss": "minimize"},
        sampler="grid",
        settings={"limits": limits},
        **options,
    )
    for i, trial in enumerate(study.ask(n)):
        if i < n - n_failed:
            study.tell(trial, {"loss": float(i), "other": 2.0})
        else:
            study.fail(trial, cause="exit_code", message=f"line 1\nline 2 {HOSTILE}")
    return study


def _console(style: Style, study: Study, name: str = "s") -> Console:
    del study
    return Console(name, style, Progress(2, 20), Path("/folder"))


def _show(study: Study, style: Style, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    console = _console(style, study)
    for trial in study.trials:
        console.started(trial, study.ledger.history)
        console.ended(trial, study.ledger.history)
        console.tick(study.ledger.history)
    console.close()
    shown = capsys.readouterr()
    return shown.out, shown.err


# ---- lines
def test_a_line_for_each_trial(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = _show(_ran(), "lines", capsys)
    lines = out.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"\[1/10\] s/0  completed  loss=0  a=0  \(0.0 s\)  best so far", lines[0])
    assert [line.split()[0] for line in lines] == ["[1/10]", "[2/10]", "[3/10]"], "all had ended before the first line"
    assert err == ""


def test_the_first_failure_shows_its_end_and_the_others_are_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = _show(_ran(4, n_failed=3), "lines", capsys)
    assert out.count("failed: exit code") == 3
    assert err.count("line 1") == 1
    assert "  | line 2 bad" in err
    assert "all it printed: /folder/1" in err


def test_what_is_quiet_says_nothing_but_notices(capsys: pytest.CaptureFixture[str]) -> None:
    study = _ran(4, n_failed=2)
    assert _show(study, "quiet", capsys) == ("", "")
    console = _console("quiet", study)
    console.notice("the disk is full")
    assert capsys.readouterr().err == "the disk is full\n"


def test_notices_are_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    console = _console("lines", _ran())
    for _ in range(3):
        console.notice("the disk is full")
    assert capsys.readouterr() == ("", "the disk is full\n")


def test_a_retry_is_told_and_an_interruption_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    study = _ran()
    console = _console("lines", study)
    trial = study.trials[0]
    console.requeued(replace(trial, cause=None), study.ledger.history)
    assert capsys.readouterr().out == ""
    console.requeued(replace(trial, cause=Cause.TIMEOUT), study.ledger.history)
    assert "s/0  failed: ran out of time; it will run again" in capsys.readouterr().out


@pytest.mark.parametrize("style", ["lines", "json", "quiet"])
def test_nothing_hostile_gets_through(style: Style, capsys: pytest.CaptureFixture[str]) -> None:
    study = _ran(4, n_failed=2)
    console = Console(f"s{HOSTILE}", style, Progress(1, None), Path(f"/folder{HOSTILE}"))
    config = {f"a{HOSTILE}": f"v{HOSTILE}\nsecond line"}
    for trial in study.trials:
        console.ended(replace(trial, config=config, values={f"m{HOSTILE}": 1.0}), study.ledger.history)
    console.notice(f"notice {HOSTILE}")
    shown = capsys.readouterr()
    assert not CONTROL.search(shown.out + shown.err)
    if style == "lines":
        assert len(shown.out.splitlines()) == 4


# ---- JSON
def test_json_is_one_object_for_each_trial(capsys: pytest.CaptureFixture[str]) -> None:
    study = _ran(3, n_failed=1)
    console = _console("json", study)
    odd = {"loss": float("inf"), "other": float("nan")}
    for trial in study.trials:
        console.ended(replace(trial, values=odd) if trial.number == 1 else trial, study.ledger.history)
    shown = capsys.readouterr()
    records = [json.loads(line, parse_constant=pytest.fail) for line in shown.out.splitlines()]
    assert [record["state"] for record in records] == ["completed", "completed", "failed"]
    assert records[1]["values"] == {"loss": "inf", "other": "nan"}
    assert records[2]["cause"] == "exit_code"
    assert {record["event"] for record in records} == {"trial_finished"}
    assert "line 1" in shown.err


# ---- how far, how long
def _with_limits(history: History, **limits: object) -> History:
    return replace(history, settings={**history.settings, "limits": {**history.settings["limits"], **limits}})


def test_progress() -> None:
    history = _ran(3).ledger.history
    progress = Progress(slots=2, n_configs=20)
    assert progress.n_total(history) == 10
    assert progress.fraction_text(history) == "3/10"
    assert progress.eta_s(history) is None
    for duration_s in (2.0, 4.0):
        progress.note(Trial(0, started_at=100.0, ended_at=100.0 + duration_s))
    assert progress.eta_s(history) == 7 * 3.0 / 2
    assert progress.n_total(_with_limits(history, n_trials=50)) == 20
    assert progress.n_total(_with_limits(history, n_trials=None)) == 20
    endless = Progress(2, None)
    assert endless.n_total(_with_limits(history, n_trials=None)) is None
    assert endless.fraction_text(_with_limits(history, n_trials=None)) == "3"
    assert endless.eta_s(_with_limits(history, n_trials=None)) is None
    assert progress.n_total(replace(history, repeats=3)) == 30
    assert progress.eta_s(_with_limits(history, n_trials=2)) == 0


# ---- streams that go away
class _Gone(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error
        self.n_writes = 0

    def write(self, text: str) -> int:
        self.n_writes += 1
        raise self._error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "Input/output error"), ValueError("closed file")])
def test_a_stream_that_is_gone_is_written_to_once(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = _Gone(error)
    monkeypatch.setattr(sys, "stdout", gone)
    monkeypatch.setattr(sys, "stderr", None)
    study = _ran(4, n_failed=1)
    console = _console("lines", study)
    for trial in study.trials:
        console.ended(trial, study.ledger.history)
    console.notice("nobody hears this")
    console.close()
    assert gone.n_writes == 1


def test_who_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert chosen_style(is_json=False, is_quiet=False) == "table"
    assert chosen_style(is_json=True, is_quiet=True) == "json"
    assert chosen_style(is_json=False, is_quiet=True) == "quiet"
    monkeypatch.setenv("TERM", "dumb")
    assert chosen_style(is_json=False, is_quiet=False) == "lines"
    monkeypatch.delenv("TERM")
    assert chosen_style(is_json=False, is_quiet=False) == "lines"
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("TERM", "xterm")
    assert chosen_style(is_json=False, is_quiet=False) == "lines"
    sys.stdout.close()
    assert not Stream("stdout").is_terminal


# ---- the table, on a real terminal
SCRIPT = """\
import sys, time
for step in range(4):
    print(f"step={step} loss={step}", flush=True)
    time.sleep(0.15)
print("\\x1b[2Jrude")
sys.exit("\\x1b]0;owned\\x07boom" if sys.argv[-1] == "3" else 0)
"""


def _on_terminal(whet: Whet, size: tuple[int, int], *arguments: object, term: str = "xterm") -> tuple[str, int | None]:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "whet", "run", *map(str, arguments)],
        cwd=str(whet.cwd),
        env={**whet.env, "TERM": term},
        dimensions=size,
        encoding="utf-8",
        timeout=120,
    )
    child.expect(pexpect.EOF)
    child.close()
    return child.before, child.exitstatus


def _screen(text: str) -> list[str]:
    """Return the lines that are left on a terminal of any width, cursor movements carried out."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[\??[0-9;]*[A-Za-z]|[^\x1b]", text):
        if token == "\n":
            row += 1
        elif token == "\r":
            column = 0
        elif token.startswith("\x1b["):
            amount = int(re.sub(r"\D", "", token) or 1)
            if token.endswith("A"):
                row = max(0, row - amount)
            elif token == "\x1b[2K":
                lines[row] = ""
        else:
            lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + 1 :]
            column += 1
        while len(lines) <= row:
            lines.append("")
    return lines


def test_the_table(whet: Whet, write_script) -> None:
    write_script("fit.py", SCRIPT)
    arguments = ["--name", "s", "--workers", 2, "--minimize", "loss", "fit.py", "--x", "[1, 2, 3, 4]"]
    text, code = _on_terminal(whet, (30, 120), *arguments)
    assert code == 1
    assert re.search(r"\d/4 trials · 2 running · .* so far", text)
    assert re.search(r"loss +config", re.sub(r"\x1b\[[0-9;]*m", "", text))
    assert "best so far: loss=3" in text
    assert "about" in text
    assert "\x1b]0;" not in text
    assert "\x1b[2J" not in text
    left = [line.rstrip() for line in _screen(text) if line.strip()]
    assert not [line for line in left if "running" in line]
    assert len([line for line in left if line.startswith("[")]) == 4
    assert any("| boom" in line for line in left)
    assert any(line.startswith("s: 4 trials: 3 completed, 1 failed") for line in left)
    assert text.count("\x1b[?25l") <= text.count("\x1b[?25h")


def test_the_table_with_a_scheduler(whet: Whet, write_script) -> None:
    write_script(
        "fit.py",
        "import sys, time\nfor epoch in range(1, int(sys.argv[4]) + 1):\n"
        "    print(f'epoch={epoch} loss={sys.argv[2]}', flush=True)\n"
        "    time.sleep(0.6 * (sys.argv[2] == '1'))\n",  # what is looked for is there while the last one runs
    )
    options = ["--name", "s", "--minimize", "loss", "--scheduler", "sha", "--fidelity", "epochs=1:4"]
    text, code = _on_terminal(whet, (30, 120), *options, "fit.py", "--x", "[3, 2, 1]")
    assert code == 0
    assert re.search(r"0/3 trials · 1 running · 2 paused · .* so far", text)
    assert re.search(r"1 running · 2 stopped · .* so far", text)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert re.search(r"running +for +epochs +loss +config", plain)
    assert re.search(r"s/2 .* 2/4 +1 @2", plain)
    assert "left" not in plain  # nobody can know when
    left = [line.rstrip() for line in _screen(text) if line.strip()]
    assert any(line.startswith("s/0  paused  loss=3  x=3") for line in left)
    assert "spent 7 epochs, as much as 1.8 full trials (1 of that repeated)" in left


@pytest.mark.parametrize("size", [(5, 20), (3, 200), (24, 10)])
def test_small_terminals(size: tuple[int, int], whet: Whet, write_script) -> None:
    write_script("fit.py", SCRIPT)
    arguments = ["--name", "s", "--workers", 12, "--minimize", "loss", "fit.py", "--x", "range(10, 20)"]
    text, code = _on_terminal(whet, size, *arguments)
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    block = [line for line in re.split(r"[\r\n]+", plain) if "━" in line or "running" in line]
    assert block
    assert max(map(len, block)) <= size[1]
    assert "10 completed" in text


def test_a_dumb_terminal_gets_lines(whet: Whet, write_script) -> None:
    write_script("fit.py", "print('loss: 1')\n")
    text, code = _on_terminal(whet, (24, 80), "--minimize", "loss", "fit.py", "--x", "[1, 2]", term="dumb")
    assert code == 0
    assert "\x1b" not in text
    assert text.count("completed  loss=1") == 2


def test_the_table_is_not_loaded_without_a_terminal(whet: Whet, write_script) -> None:
    write_script("fit.py", "print('loss: 1')\n")
    code = "import sys; from whet.cli.main import called; code = called(sys.argv[1:]); print('rich' in sys.modules)"
    env = {**whet.env, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = pexpect.run(
        f'{sys.executable} -c "{code}" run --quiet fit.py', cwd=str(whet.cwd), env=env, encoding="utf-8", timeout=60
    )
    assert child.splitlines()[-1] == "False"
