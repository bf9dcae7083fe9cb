"""The ``whet`` command: finds the command that is meant and turns errors into one clear message.

Commands are loaded when they are called, so that ``whet --help`` costs little more than importing click.
"""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys
from typing import Any, TextIO

import click

from whet._version import __version__
from whet.errors import UsageError, WhetError
from whet.streams import Stream
from whet.text import printable

# Name -> where the command is and what `whet --help` says of it.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("whet.cli.run:run_command", "Sweep the arguments of a program."),
    "resume": ("whet.cli.resume:resume_command", "Go on with a study: run what is missing, or more."),
    "status": ("whet.cli.status:status_command", "Show the studies that are going on."),
    "history": ("whet.cli.status:history_command", "Show every study, oldest first."),
    "show": ("whet.cli.show:show_command", "Show a study and its trials."),
    "simulate": ("whet.cli.simulate:simulate_command", "Compare schedulers on the curves of a study."),
    "explain": ("whet.cli.explain:explain_command", "Say how the next configs are chosen, and why."),
    "best": ("whet.cli.show:best_command", "Show the best trial and its command line."),
    "logs": ("whet.cli.files:logs_command", "Print what a trial printed."),
    "artifacts": ("whet.cli.files:artifacts_command", "List the files that trials made."),
    "stop": ("whet.cli.stop:stop_command", "End a study, resumable, or one of its trials."),
    "delete": ("whet.cli.stop:delete_command", "Remove a study and its files."),
    "export": ("whet.cli.export:export_command", "Write the trials as CSV, JSON or Parquet."),
    "doctor": ("whet.cli.doctor:doctor_command", "Check the store and what whet needs."),
}
_TRACEBACK = "WHET_TRACEBACK"


class _Commands(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            ctx.fail(f"there is no command {name!r}{_likely(name)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def _likely(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    if close:
        return f"; did you mean 'whet {close[0]}'?"
    if os.sep in name or name.endswith(".py"):
        return f"; to sweep it: whet run {name} ..."
    return f" (known: {', '.join(COMMANDS)})"


_HELP = """Find good hyperparameters of a program without changing a line of it.

\b
whet run train.py --lr "loguniform(1e-5, 1e-1, 3)" --layers "[1, 2, 3, 4]"
"""


@click.group(cls=_Commands, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="whet")
def whet() -> None:
    """Hold the commands together; all of them need a directory to work in."""
    try:
        os.getcwd()  # noqa: PTH109 -- pathlib is not loaded for the sake of this
    except OSError as error:
        raise WhetError(
            f"the working directory cannot be used ({error.strerror}): it seems to have been deleted; "
            "go to one that exists, with cd, and try again"
        ) from None


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.platform == "win32":
        sys.exit("whet runs on Linux and macOS; on Windows, use it within WSL.")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to fail
    code = called(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    sys.exit(code)


def _let_go(stream: TextIO | None) -> None:
    """Flush a stream; if whoever read it is gone, see that Python does not complain when it flushes again at exit."""
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        assert stream is not None
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def called(args: list[str]) -> int:
    """Run the command line *args* and return the exit code; errors have been printed."""
    try:
        result: Any = whet.main(args=args, prog_name="whet", standalone_mode=False)
    except click.UsageError as error:
        where = f" (whet {error.ctx.info_name} --help)" if error.ctx is not None and error.ctx.parent else ""
        return _complain(f"{error.format_message()}{where}", 2)
    except click.ClickException as error:
        return _complain(error.format_message(), error.exit_code)
    except UsageError as error:
        return _complain(str(error), 2)
    except WhetError as error:
        return _complain(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted", 130)
    except BrokenPipeError:
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename is not None else ""
        return _complain(f"{error.strerror or error}{where}", 1)
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # Python 3.11 wraps what comes while a class is made
            return _complain("interrupted", 130)
        if os.environ.get(_TRACEBACK):
            raise
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        return _complain(f"unexpected {what}\nThis is a fault of whet ({_TRACEBACK}=1 shows where).", 1)
    return result if isinstance(result, int) else 0


def _complain(message: str, code: int) -> int:
    Stream("stderr").line(f"whet: {printable(message)}")
    return code
