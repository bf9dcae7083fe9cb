"""A process that works on a store for the tests: ``python -m tests.storage.worker TASK PATH ...``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from whet.core import giving
from whet.core.annotating import annotation_draft
from whet.core.events import Draft, Kind
from whet.core.ledger import Ledger
from whet.core.protocols import StudyRecord
from whet.core.values import Verdict
from whet.storage.open import open_store
from whet.testing.store_writer import Writer, settings_of

_ROOT = Path(__file__).parents[2]


def start(task: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a worker; what it says is read from its ``stdout``."""
    argv = [sys.executable, "-m", "tests.storage.worker", task, *map(str, arguments)]
    return subprocess.Popen(argv, cwd=_ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def say(*words: object) -> None:
    """Tell the test, in one write: it arrives whole or not at all."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def write(path: str, study: str, n_trials: str) -> None:
    """Run trials, saying each event's seq, kind and trial once it is acknowledged."""
    writer = Writer(open_store(path), int(study), owner=f"here:{os.getpid()}:x")
    say("ready")
    for _ in range(int(n_trials)):
        (number,) = _acknowledged(writer, reserve=1)
        token = f"{os.getpid()}-{number}"
        asked = Draft(Kind.ASKED, number, {"config": {"lr": number / 7, "by": os.getpid()}})
        _acknowledged(writer, asked, Draft(Kind.STARTED, number, {"token": token, "owner": writer.owner}))
        _acknowledged(writer, Draft(Kind.REPORTED, number, {"rows": [[1, 0.5]]}, token), durable=False)
        _acknowledged(writer, Draft(Kind.COMPLETED, number, {"values": {"loss": 1 / (number + 1)}}, token))


def _acknowledged(writer: Writer, *drafts: Draft, reserve: int = 0, durable: bool = True) -> list[int]:
    after = writer.history.seq
    done = writer.store.append(writer.study, drafts, after=after, reserve=reserve, owner=writer.owner, durable=durable)
    writer.history = writer.history.extended(done.events)
    own = done.events[len(done.events) - len(drafts) - reserve :]
    say(*(f"{event.seq}:{event.kind}:{event.trial}" for event in own))
    return done.numbers


def share(path: str, study: str, n_trials: str) -> None:
    """Take trials up to a limit that all keep; enqueue, add and annotate in between."""
    ledger = Ledger(open_store(path), StudyRecord(int(study), "a", 0.0, {}))
    say("ready")
    sys.stdin.readline()
    n_done = 0
    while numbers := ledger.commit([], reserve=2, below=ledger.history.first_beyond(int(n_trials))).numbers:
        asked = [Draft(Kind.ASKED, number, {"config": {"lr": 0.5}, "group": number}) for number in numbers]
        ledger.commit(asked, durable=False)
        say("asked", *numbers)
        n_done += 1
        if n_done % 2:
            say("enqueued", *giving.enqueue(ledger, {"lr": 0.25}, now=time.time))
        elif n_done % 4 == 0:
            row = giving.Added({"lr": 0.75}, Verdict(None, "", {"loss": 1.0}))
            say("added", *giving.add(ledger, [row, row], now=time.time))
        name = f"{os.getpid()}.{n_done}"
        said = [annotation_draft(trial, {name: n_done}, now=time.time) for trial in (None, 0)]
        ledger.commit(said, durable=False)
        say("annotated", name)


def create(path: str, name: str) -> None:
    """Make a study, at the same moment as others do."""
    say("ready")
    sys.stdin.readline()
    store = open_store(path)
    say(store.create(name, settings_of()).id)
    store.close()


def hold(path: str, study: str) -> None:
    """Hold a study until killed, with a forked child that outlives this process."""
    store = open_store(path)
    with store.hold(int(study)):
        child = os.fork()
        if child == 0:
            sys.stdin.close()
            time.sleep(60)
            os._exit(0)
        say(child)
        time.sleep(60)


def fork(path: str, study: str) -> None:
    """Use a store in a forked child, and then in the parent."""
    store = open_store(path)
    if os.fork() == 0:
        try:
            store.load(int(study))
        except Exception as error:
            say(type(error).__name__, error)
        store.close()
        own = open_store(path)
        say(own.append(int(study), [], after=1, reserve=1).numbers)
        own.close()
        os._exit(0)
    os.wait()
    say(store.append(int(study), [], after=1, reserve=1).numbers)


if __name__ == "__main__":
    {"write": write, "share": share, "create": create, "hold": hold, "fork": fork}[sys.argv[1]](*sys.argv[2:])
