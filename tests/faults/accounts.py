"""What workers say they were told, held against what the store knows: nothing lost, nothing doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from whet.core.events import Kind
from whet.core.trial import State
from whet.study import Study

_ONCE = (Kind.CLAIMED, Kind.ASKED, Kind.STARTED, Kind.COMPLETED)


def check_accounts(study: Study, said: Iterable[Mapping[str, Any]], n_trials: int, n_reports: int = 0) -> None:
    """Check a study of which workers, none of whom died, have run all *n_trials* with *n_reports* each.

    Args:
        study: its objective is a value that each config has as ``x``, unless a line of *said* has another ``value``.
        said: the lines of :mod:`tests.faults.ask_tell_worker`.
        n_trials: how many there have to be.
        n_reports: of each trial, at the steps from 0 on.
    """
    lines = list(said)
    asked = [line["number"] for line in lines if line["did"] == "asked"]
    told = [line["number"] for line in lines if line["did"] == "told"]
    reported = [(line["number"], line["step"]) for line in lines if line["did"] == "reported"]
    assert sorted(asked) == sorted(told) == list(range(n_trials))  # each handed out once, and acknowledged once
    assert sorted(reported) == [(number, step) for number in range(n_trials) for step in range(n_reports)]
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(n_trials))
    assert {trial.state for trial in trials} == {State.COMPLETED}
    assert {trial.attempt for trial in trials} == {1}
    configs = {line["number"]: line["config"] for line in lines if line["did"] == "asked"}
    for trial in trials:
        assert dict(trial.config) == configs[trial.number]
        assert list(trial.values.values()) == [trial.config["x"]]
        assert [step for step, _ in trial.curve] == list(range(n_reports))
    events = study.ledger.store.events(study.ledger.study)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    counts = Counter((event.kind, event.trial) for event in events)
    assert all(counts[kind, number] == 1 for kind in _ONCE for number in range(n_trials))
    assert Counter(event.kind for event in events) == {
        Kind.CREATED: 1,
        **dict.fromkeys(_ONCE, n_trials),
        **({Kind.REPORTED: n_trials * n_reports} if n_reports else {}),
    }
