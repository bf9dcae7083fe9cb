"""Running real programs on a `CommandExecutor` in the tests of executors."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from whet.core.protocols import Ended, Happening, Launch
from whet.executors.commands import Command, CommandExecutor
from whet.testing.executor_suite import ends_of, launch_of


class Running:
    """An executor for the commands that a test makes up as it goes; none of their processes may be left at the end."""

    def __init__(self, tmp_path: Path, **options: Any) -> None:
        self.tmp_path = tmp_path
        self._commands: dict[str, Command] = {}
        self.executor = CommandExecutor(lambda launch: self._commands[launch.token], **options)
        self.tokens: list[str] = []

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.executor.close()
        left = [process for token in self.tokens for process in carrying(token)]
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        assert not left or kind is not None, left

    def trial_dir(self, number: int = 0) -> Path:
        return self.tmp_path / "trials" / str(number)

    def read(self, name: str, number: int = 0) -> bytes:
        return (self.trial_dir(number) / name).read_bytes()

    def start(
        self,
        *argv: str,
        number: int = 0,
        attempt: int = 1,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        **limits: Any,
    ) -> Launch:
        command = Command(argv, cwd or self.tmp_path, {**os.environ, **(env or {})}, self.trial_dir(number), **limits)
        launch = launch_of({}, number, attempt)
        self._commands[launch.token] = command
        self.tokens.append(launch.token)
        self.executor.start(launch)
        return launch

    def start_python(self, code: str, *argv: str, **options: Any) -> Launch:
        return self.start(sys.executable, "-u", "-c", code, *argv, **options)

    def run(self, *argv: str, **options: Any) -> Ended:
        self.start(*argv, **options)
        return ends_of(self.executor)[0]

    def run_python(self, code: str, *argv: str, **options: Any) -> Ended:
        self.start_python(code, *argv, **options)
        return ends_of(self.executor)[0]

    def poll_until_end(self) -> list[Happening]:
        happened: list[Happening] = []
        while not any(isinstance(h, Ended) for h in happened):
            happened += self.executor.poll(1.0)
        return happened


def carrying(token: str) -> list[psutil.Process]:
    """Return the living processes of an attempt, wherever they have gone."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("WHET_TOKEN") == token and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def slot_processes(executor_pid: int | None = None) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Return the guards that a process (this one, if not said) has started, and their slot processes."""
    guards = [
        child
        for child in psutil.Process(executor_pid).children()
        if any("whet.executors.runner" in word for word in child.cmdline())
    ]
    return guards, [slot for guard in guards for slot in guard.children() if slot.cmdline() == guard.cmdline()]


def wait_for(path: Path, patience_s: float = 60.0) -> str:
    """Wait until a file is there and ends with a newline; return its text."""
    deadline = time.monotonic() + patience_s
    while not (path.exists() and (text := path.read_text()).endswith("\n")):
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.01)
    return text
