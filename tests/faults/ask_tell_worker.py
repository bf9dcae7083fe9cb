"""A worker that others watch: asks one study for trials and tells them, one line of JSON for all that it does.

    python ask_tell_worker.py STORE NAME [SECONDS_PER_TRIAL] [MOST_TRIALS] [REPORTS_PER_TRIAL]

With HOST_OF_WORKER in the environment it takes itself to be on that host.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
import warnings

import whet
from whet.errors import LateReportWarning, NotReady, SearchExhausted


def say(**what: object) -> None:
    """Print a line that a reader sees at once."""
    print(json.dumps(what), flush=True)


def main(store: str, name: str, takes_s: float = 0.05, most: int = 10**9, n_reports: int = 0) -> None:
    """Work until nothing is left to ask."""
    if host := os.environ.get("HOST_OF_WORKER"):
        socket.gethostname = lambda: host
    study = whet.load(name, store)
    say(did="loaded")
    for _ in range(most):
        try:
            trial = study.ask()
        except SearchExhausted:
            break
        except NotReady:
            time.sleep(0.1)
            continue
        say(did="asked", number=trial.number, attempt=trial.attempt, config=dict(trial.config or {}))
        # Not by `time.sleep`: where a library sets the clock wrong for a test, it breaks that.
        select.select([], [], [], takes_s)
        for step in range(n_reports):
            study.report(trial, step, step=step)
            say(did="reported", number=trial.number, attempt=trial.attempt, step=step)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            told = study.tell(trial, (trial.config or {})["x"])
        late = [str(one.message) for one in caught if issubclass(one.category, LateReportWarning)]
        say(did="told", number=trial.number, attempt=trial.attempt, state=told.state.value, late=late)
    say(did="done")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:4]), *map(int, sys.argv[4:6]))
