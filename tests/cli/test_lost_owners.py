"""Trials whose process is lost, as its lease has run out, show as waiting, and go on where all must be in order."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.cli.studies import begin, call
from whet.core.events import Draft, Kind
from whet.errors import UsageError
from whet.study import Study

OWNER = "elsewhere:7:abc"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def begun_elsewhere(*, lease_s: float, **options: object) -> Study:
    """Return study a, one of whose trials was begun by a process whose lease lasts so long."""
    study = begin(**options)
    store, ours = study.ledger.store, study.ledger.study
    store.lease(ours, OWNER, for_s=lease_s)
    store.append(ours, [], reserve=1, owner=OWNER)
    asked = Draft(Kind.ASKED, 0, {"config": {"lr": 0.1, "opt": "sgd"}})
    store.append(ours, [asked, Draft(Kind.STARTED, 0, {"token": "t", "owner": OWNER})])
    time.sleep(0.05)
    return study


@pytest.mark.parametrize(("lease_s", "state"), [(600.0, "running"), (0.01, "waiting")])
def test_every_command_says_so(lease_s: float, state: str) -> None:
    begun_elsewhere(lease_s=lease_s)
    assert f"1 {state}" in call("status", "a").out
    assert json.loads(call("export", "a", "--format", "json").out)[0]["state"] == state
    assert json.loads(call("show", "a", "--json").out.splitlines()[0])["state"] == state
    assert json.loads(call("show", "a/0", "--json").out)["state"] == state
    assert state in call("logs", "a").out
    assert json.loads(call("show", "a", "--json", "--state", state).out)["number"] == 0


def test_following_a_trial_that_nobody_runs_any_more_ends() -> None:
    begun_elsewhere(lease_s=0.01)
    call("logs", "a/0", "--follow")


@pytest.mark.parametrize("lease_s", [600.0, 0.01])
def test_a_deterministic_study_goes_on_without_who_is_lost(lease_s: float) -> None:
    study = begun_elsewhere(lease_s=lease_s, lookahead=1)
    if lease_s > 1:
        with pytest.raises(UsageError, match="waits for trial 0, which was asked by hand"):
            study.run(lambda config: config["lr"], n_trials=2, executor="inline", progress=False)
    else:
        study.run(lambda config: config["lr"], n_trials=2, executor="inline", progress=False)
        assert [(trial.number, trial.attempt) for trial in study.trials] == [(0, 2), (1, 1)]
