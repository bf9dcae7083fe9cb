"""An asker that is held up between reading the log and looking at the leases takes over what began meanwhile (F1)."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import whet
from whet.core.leases import Lease

_DIES = "import os, sys, whet; whet.load('s', sys.argv[1]).ask(); os._exit(9)"  # its heartbeat dies with it


def test_what_began_while_the_asker_was_held_up_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = str(tmp_path / "whet.db")
    whet.Study({"x": [1, 2, 3]}, sampler="grid", store=store, name="s", lease_s=1.0)
    study = whet.load("s", store)
    study.tell(study.ask(), 1.0)
    look = Lease.lost

    def held_up(lease: Lease, **options: bool) -> frozenset[str]:
        monkeypatch.setattr(Lease, "lost", look)  # once
        assert subprocess.run([sys.executable, "-c", _DIES, store], check=False).returncode == 9
        time.sleep(1.5)
        return look(lease, at_once=True)

    monkeypatch.setattr(Lease, "lost", held_up)
    seen = []
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        try:
            trial = study.ask()
        except whet.errors.NotReady:
            time.sleep(0.1)
            continue
        except whet.errors.SearchExhausted:
            break
        seen.append(trial.config["x"])
        study.tell(trial, 1.0)
    assert sorted(seen) == [2, 3]
