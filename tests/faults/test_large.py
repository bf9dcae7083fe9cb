"""Grids of 10^6 and 10^12 points, and studies of 10^5 trials: nothing is listed that need not be (F19, F20)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.studies import call
from tests.conftest import Whet
from tests.faults.memory import peak_of
from whet.core.events import Draft, Kind
from whet.study import Study, load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: peaks of memory are in /proc")
_MOST_MIB = 100.0

# A grid of so many points, asked for some of them: by the study, then the engine's own walk over it.
ASKS = """
import sys, time
from whet.study import Study
n_values, sampler = int(sys.argv[1]), sys.argv[2]
space = {name: list(range(n_values)) for name in ("a", "b", "c", "d", "e", "f")}
began = time.perf_counter()
study = Study(space, sampler=sampler, seed=1)
asked = [study.ask() for _ in range(20)]
took = time.perf_counter() - began
configs = [tuple(trial.config.values()) for trial in asked]
assert len(set(configs)) == 20
for trial in asked:
    study.tell(trial, 0.5)
print(study.ledger.history.problem.space.size)
"""


@pytest.mark.parametrize("sampler", ["grid", "random", "quasi_random"])
@pytest.mark.parametrize("n_values", [10, 100], ids=["10^6", "10^12"])
def test_a_huge_grid_is_walked_and_not_listed(n_values: int, sampler: str) -> None:
    peak, said = peak_of(ASKS, n_values, sampler)
    assert said.split() == [str(n_values**6)]
    assert peak < _MOST_MIB


@pytest.mark.parametrize("exponent", [3, 6], ids=["10^6", "10^12"])
def test_a_huge_grid_on_the_command_line(exponent: int, tmp_path: Path, whet: Whet) -> None:
    """It is asked for a limit, and with one it starts; the runner's peak is that of the largest of its processes."""
    (tmp_path / "fit.py").write_text("import sys\nprint('loss:', sum(map(int, sys.argv[2::2])))\n")
    axes = [word for i in range(exponent) for word in (f"--x{i}", "range(100)")]
    done = whet("run", "--minimize", "loss", "fit.py", *axes, expect=2)
    assert f"{100**exponent:,}" in done.stderr
    assert "--max-trials" in done.stderr
    assert "--trials" in done.stderr
    assert not (tmp_path / ".whet").exists()
    code = "from whet.cli.main import called\nassert called(sys.argv[1:]) == 0\n"
    peak, said = peak_of(
        code, "run", "--json", "--name", "s", "--trials", 3, "--minimize", "loss", "fit.py", *axes, cwd=tmp_path
    )
    records = [json.loads(line) for line in said.splitlines() if line]
    assert [record["number"] for record in records if record["event"] == "trial_finished"] == [0, 1, 2]
    assert peak < _MOST_MIB


# ---- studies of many trials
def _write(path: Path, n: int) -> None:
    """Make a study of *n* completed trials, as fast as that can be."""
    made = Study({"lr": (0.0, 1.0)}, {"loss": "minimize"}, sampler="random", seed=1, store=path, name="large")
    store, study, seq = made.ledger.store, made.ledger.study, made.ledger.history.seq
    at_once = 500
    for begin in range(0, n, at_once):
        numbers = range(begin, min(n, begin + at_once))
        seq = store.append(study, [], after=seq, reserve=len(numbers), durable=False).events[-1].seq
        drafts = [
            draft
            for number in numbers
            for draft in (
                Draft(Kind.ASKED, number, {"config": {"lr": number / n}, "group": number}),
                Draft(Kind.STARTED, number, {"token": f"t{number}", "owner": "h:1:x"}),
                Draft(Kind.REPORTED, number, {"rows": [[1, 1.0], [2, 0.5]]}, f"t{number}"),
                Draft(Kind.COMPLETED, number, {"values": {"loss": 1 + abs(number - n // 2)}}, f"t{number}"),
            )
        ]
        seq = store.append(study, drafts, after=seq, durable=False).events[-1].seq


LOOKS = """
import sys
from pathlib import Path
from whet.storage.open import open_store
path, n = Path(sys.argv[1]), int(sys.argv[2])
store = open_store(path)
record = store.studies("large")[0]
summary = store.summary(record.id)
newest = store.trials(record.id, newest_first=True, limit=50)
assert [trial.number for trial in newest] == list(range(n - 1, n - 51, -1))
"""
RESUMES = """
import sys
from whet.study import load
n = int(sys.argv[2])
study = load("large", store=sys.argv[1])
assert study.best.number == n // 2
trial = study.ask()
assert trial.number == n
study.tell(trial, {"loss": 0.5})
assert study.best.number == n
"""


@pytest.mark.parametrize("n", [20_000, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_study_of_many_trials_is_shown_in_pages_and_goes_on(
    n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".whet/whet.db"
    _write(path, n)
    peak, _ = peak_of(LOOKS, path, n)
    assert peak < 90  # 60, a page of trials and counts: the others are not read; 20,000 of them would be 60 more
    peak, _ = peak_of(RESUMES, path, n)
    assert peak < 300
    assert f"{n + 1:,}" in call("history").out.replace(str(n + 1), f"{n + 1:,}")
    shown = call("show", "large")
    assert len(shown.out.splitlines()) < 100
    assert load("large").best.number == n
