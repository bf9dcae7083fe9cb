"""The command `whet` itself: help, version, unknown commands, and how errors are shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.conftest import Whet
from whet._version import __version__
from whet.cli import main
from whet.errors import StoreDamaged, UsageError


def test_help_lists_every_command_and_imports_none(whet: Whet) -> None:
    code = "import sys; from whet.cli.main import called; called(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=whet.env)
    help_text, _, modules = done.stdout.rpartition("\n[")
    for name, (_, summary) in main.COMMANDS.items():
        assert f"  {name} " in help_text
        assert summary in help_text
    for heavy in ("'numpy'", "'sqlalchemy'", "'rich'", "'yaml'", "'psutil'", "'whet.cli.run'"):
        assert heavy not in modules


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_loads(name: str) -> None:
    command = main.whet.get_command(click.Context(main.whet), name)
    assert isinstance(command, click.Command)
    assert command.name == name


def test_version(whet: Whet) -> None:
    assert __version__ in whet("--version").stdout


def test_no_arguments_show_the_help(whet: Whet) -> None:
    done = whet(expect=2)
    assert "Commands" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("stauts", "did you mean 'whet status'?"),
        ("train.py", "whet run train.py ..."),
        ("./x", "whet run ./x ..."),
        ("frobnicate", "known: run, resume"),
    ],
)
def test_an_unknown_command_is_answered_with_what_may_be_meant(whet: Whet, given: str, said: str) -> None:
    done = whet(given, expect=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_of_a_command_names_its_help(whet: Whet) -> None:
    done = whet("resume", "--frobnicate", "x", expect=2)
    assert "--frobnicate" in done.stderr
    assert "whet resume --help" in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("what you asked"), 2),
        (StoreDamaged("the file"), 1),
        (click.BadParameter("no number"), 2),
        (click.ClickException("other"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (BrokenPipeError(), 1),
    ],
)
def test_every_error_has_its_exit_code_and_one_message(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main.whet, "main", _raising(error))
    assert main.called(["run"]) == code
    shown = capsys.readouterr()
    assert not shown.out
    assert "Traceback" not in shown.err
    assert shown.err.count("\n") == (0 if isinstance(error, BrokenPipeError) else 1)


def _raising(error: BaseException):
    def run(**_: object) -> None:
        raise error

    return run


def test_a_fault_of_ours_shows_a_traceback_only_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main.whet, "main", _raising(ZeroDivisionError("of ours")))
    monkeypatch.delenv("WHET_TRACEBACK", raising=False)
    assert main.called(["run"]) == 1
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: of ours" in shown
    assert "WHET_TRACEBACK=1" in shown
    monkeypatch.setenv("WHET_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main.called(["run"])


def test_messages_cannot_command_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main.whet, "main", _raising(UsageError("no study \x1b]0;owned\x07\x1b[2Jx\x9b31m")))
    main.called(["show"])
    assert not {"\x1b", "\x07", "\x9b"} & set(capsys.readouterr().err)


def test_a_reader_that_goes_away_is_no_fault(whet: Whet) -> None:
    process = subprocess.Popen(
        whet.argv("--help"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=whet.env, cwd=whet.cwd
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    shown = process.stderr.read().decode()
    process.wait()
    process.stderr.close()
    assert "Traceback" not in shown
    assert "Exception ignored" not in shown


def test_windows_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main.sys, "platform", "win32")
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert "Linux and macOS" in str(caught.value.code)


def test_python_m_whet_is_whet(whet: Whet) -> None:
    env = {**whet.env, "PATH": os.pathsep.join([str(Path(sys.executable).parent), whet.env.get("PATH", "")])}
    as_script = subprocess.run(["whet", "--help"], capture_output=True, text=True, check=True, env=env, cwd=whet.cwd)
    assert as_script.stdout == whet("--help").stdout
