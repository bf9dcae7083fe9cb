"""Starts workers on one study as processes of their own, and reads what they say they do."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WORKER = Path(__file__).with_name("ask_tell_worker.py")
_PATIENCE_S = 60.0


class Worker:
    """A process that asks and tells; its lines come one by one.

    Args:
        arguments: of the worker.
        env: for its environment, beside ours.
        inside: a command that runs the one that follows it.
    """

    def __init__(self, *arguments: object, env: Mapping[str, str] | None = None, inside: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*inside, sys.executable, str(_WORKER), *map(str, arguments)],
            stdout=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            text=True,
        )
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.said: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def next(self, did: str) -> dict[str, Any]:
        """Return the next line about what it *did*, waiting for it."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            assert line is not None, f"the worker ended before it {did}"
            self.said.append(line)
            if line["did"] == did:
                return line

    def so_far(self) -> list[dict[str, Any]]:
        """Return all that it has said by now."""
        while not self._lines.empty():
            line = self._lines.get()
            if line is None:  # for `rest`
                self._lines.put(None)
                break
            self.said.append(line)
        return self.said

    def rest(self) -> list[dict[str, Any]]:
        """Wait for its end, and return all that it has ever said."""
        assert self.process.wait(_PATIENCE_S) == 0, f"the worker died with {self.process.returncode}"
        while (line := self._lines.get(timeout=_PATIENCE_S)) is not None:
            self.said.append(line)
        return self.said

    def send(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(signum)

    def close(self) -> None:
        """End it, however it is."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
