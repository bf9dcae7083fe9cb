"""Several processes on one study with a scheduler: who waits for whom, what the dead leave, and the quotas of rungs."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import whet
from tests.test_run_engine import Noted, Scripted, beside, command, ended
from whet import run as run_module
from whet.core.events import Draft, Kind
from whet.core.handing import hand_out
from whet.core.history import History
from whet.core.owner import pid_space
from whet.core.protocols import Launch, RngOf, Suggestion
from whet.core.trial import State, Trial
from whet.run import Outcome, run
from whet.samplers import Random
from whet.storage.open import open_store
from whet.study import Study

SPACE = {"x": whet.Float(0.0, 1.0)}
EPOCHS = {"epochs": (1, 9)}


def study_with(scheduler: str, n_trials: int, **options: Any) -> Study:
    limits = {"n_trials": n_trials, "timeout_s": None, "target": None, "max_failures": None}
    given: dict[str, Any] = {"sampler": "random", "seed": 0, "name": "s", "fidelity": EPOCHS} | options
    return Study(SPACE, **given, scheduler=scheduler, settings={"limits": limits})


def started(study: Study, owner: str) -> Trial:
    """Return a new trial that *owner* runs."""
    (number,) = study.ledger.commit([], reserve=1).numbers
    config = {"config": {"x": 0.5}, "why": {}, "group": number, "replicate": 0, "budget": 1, "bracket": 0}
    token = {"token": f"theirs {number}", "owner": owner}
    study.ledger.commit([Draft(Kind.ASKED, number, config), Draft(Kind.STARTED, number, token)])
    return study.ledger.trial(number)


def by_number(launch: Launch) -> Any:
    return ended(launch, value=float(launch.number))


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives, and does nothing."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def owner_of(process: subprocess.Popen[bytes]) -> str:
    return f"{pid_space()}:{process.pid}:abc"


# ---- who waits for whom
@pytest.mark.parametrize("scheduler", ["sha(n=3)", "asha(type=promotion)"])
def test_a_run_helps_until_the_study_is_done(scheduler: str, other: subprocess.Popen[bytes]) -> None:
    """All is asked, but what another process runs decides on who goes on."""
    study, noted = study_with(scheduler, 3), Noted()
    theirs = started(study, owner_of(other))

    def tell(n: int) -> None:
        if n == 12:
            row = {"rows": [[1, 9.0]]}
            paused = Draft(Kind.PAUSED, theirs.number, {"values": {"value": 9.0}}, theirs.token)
            beside(study).ledger.commit([Draft(Kind.REPORTED, theirs.number, row, theirs.token), paused])

    executor = Scripted(by_number, 2, tell)
    assert run(study, executor, noted) == Outcome("done")
    assert [(launch.number, launch.budget) for launch in executor.launches] == [(1, 1), (2, 1), (1, 3), (1, 9)]
    assert study.trials[1].state is State.COMPLETED
    assert [notice for notice in noted.notices if notice.startswith("waiting for 1 running elsewhere")] == noted.notices
    assert len(noted.notices) == 1


def test_what_a_process_runs_that_dies_meanwhile_is_run_here(
    other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_LEFT_AFTER_S", 0.0)
    monkeypatch.setattr(run_module, "_COMMANDS_EVERY_S", 0.0)
    study = study_with("sha(n=3)", 3)
    theirs = started(study, owner_of(other))

    def kill(n: int) -> None:
        if n == 12:
            other.kill()
            other.wait()

    executor = Scripted(by_number, 2, kill)
    assert run(study, executor, Noted()) == Outcome("done")
    launches = [(launch.number, launch.budget) for launch in executor.launches]
    assert launches == [(1, 1), (2, 1), (theirs.number, 1), (0, 3), (0, 9)]
    assert study.trials[0].state is State.COMPLETED


def test_what_the_dead_leave_is_not_taken_before_it_has_ended(other: subprocess.Popen[bytes]) -> None:
    study = study_with("sha(n=3)", 3)
    started(study, owner_of(other))

    def end(n: int) -> None:
        if n == 6:
            other.kill()
            other.wait()
        if n == 80:
            command(study, command="stop")

    executor = Scripted(by_number, 2, end)
    assert run(study, executor, Noted()) == Outcome("stopped")
    assert {launch.number for launch in executor.launches} == {1, 2}


def test_nobody_waits_for_its_own() -> None:
    study, noted = study_with("sha(n=3)", 3), Noted()
    assert study.ask().number == 0
    executor = Scripted(by_number, 2)
    assert run(study, executor, noted) == Outcome("done")
    assert {launch.number for launch in executor.launches} == {1, 2}
    assert noted.notices == []


def test_a_run_waits_for_other_hosts_and_takes_over_when_their_lease_has_run_out(tmp_path: Path) -> None:
    owner = "some-other-host:1:abc"
    study, noted = study_with("sha(n=3)", 3, store=tmp_path / "whet.db"), Noted()
    study.ledger.store.lease(study.ledger.study, owner, for_s=3.0)
    started(study, owner)
    executor = Scripted(by_number, 2)
    assert run(study, executor, noted) == Outcome("done")
    assert {launch.number for launch in executor.launches} == {0, 1, 2}
    assert len(noted.notices) == 1
    assert "waiting for 1 running elsewhere" in noted.notices[0]
    assert study.ledger.store.lease(study.ledger.study) == frozenset()


def test_what_a_lost_process_began_since_the_log_was_read_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "whet.db"
    study = study_with("none", 8, store=path)
    theirs = whet.load("s", path)
    theirs.ledger.store.lease(1, "some-other-host:1:abc", for_s=0.01)
    assert started(theirs, "some-other-host:1:abc").number == 0
    time.sleep(0.05)
    executor = Scripted(by_number, 1, lambda n: time.sleep(0.2))
    assert run(study, executor, Noted()) == Outcome("done")
    assert [trial.attempt for trial in study.trials] == [2] + 7 * [1]


@pytest.mark.parametrize("is_taken_over", [False, True])
def test_a_run_that_has_its_study_to_itself_ends_where_another_has_got_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_taken_over: bool
) -> None:
    """And not where somebody has only asked for a trial."""
    path = tmp_path / "whet.db"
    study = study_with("none", 4, store=path)
    theirs = whet.load("s", path)
    monkeypatch.setattr(run_module, "_COMMANDS_EVERY_S", 0.0)

    def ask(n: int) -> None:
        if n == 2:
            started(theirs, "some-other-host:1:abc")
            if is_taken_over:
                _held_by(study, "pid 1 on some-other-host", monkeypatch)

    outcome = run(study, Scripted(by_number, 1, ask), Noted(), is_only_runner=True)
    assert outcome.reason == ("broken" if is_taken_over else "done")
    assert ("some-other-host:1:abc has taken over the study" in outcome.message) is is_taken_over
    n_ended = sum(trial.state is State.COMPLETED for trial in study.trials)
    assert n_ended < 3 if is_taken_over else n_ended == 3


def _held_by(study: Study, holder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    records = study.ledger.store.studies
    monkeypatch.setattr(study.ledger.store, "studies", lambda name: [replace(records(name)[0], holder=holder)])


@pytest.mark.parametrize("scheduler", ["none", "asha", "median"])
def test_where_nothing_can_go_on_nobody_waits(scheduler: str, other: subprocess.Popen[bytes]) -> None:
    study, noted = study_with(scheduler, 3), Noted()
    started(study, owner_of(other))
    assert run(study, Scripted(by_number, 2), noted) == Outcome("done")
    assert noted.notices == []
    assert study.trials[0].state is State.RUNNING


# ---- no rung gets above its quota
class Meanwhile(Random):
    """Lets *others* do something while a config is chosen, once."""

    def __init__(self, others: Callable[[], object] | None = None) -> None:
        super().__init__()
        self.others = others

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        others, self.others = self.others, None
        if others is not None:
            others()
        return super().suggest(history, numbers, rng_of)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A store of each kind."""
    return open_store(None if request.param == "memory" else tmp_path / "a.db")


def two(store: Any, scheduler: str, n_trials: int = 100) -> tuple[Study, Study]:
    """Return a study whose sampler is `Meanwhile`, and another view of it."""
    mine = study_with(scheduler, n_trials, sampler=Meanwhile(), store=store)
    return mine, whet.load("s", mine.ledger.store, sampler="random")


def members(study: Study) -> Counter[int | None]:
    return Counter(trial.bracket for trial in study.trials)


@pytest.mark.parametrize("scheduler", ["sha(n=4)", "hyperband(eta=2)"])
def test_two_who_ask_do_not_fill_one_place(scheduler: str, store: Any) -> None:
    mine, theirs = two(store, scheduler)
    n = 4 if scheduler == "sha(n=4)" else 8
    mine.ask(n - 1)
    mine.sampler.others = theirs.ask  # type: ignore[attr-defined]
    assert mine.ask().bracket == 1
    assert members(mine) == {0: n, 1: 1}
    assert sorted(trial.number for trial in mine.trials) == list(range(n + 1))  # no number was lost


@pytest.mark.parametrize("scheduler", ["sha(n=4)", "hyperband(eta=2)"])
def test_where_there_is_room_for_both_nobody_is_asked_anew(scheduler: str, store: Any) -> None:
    mine, theirs = two(store, scheduler)
    mine.ask(2)
    mine.sampler.others = theirs.ask  # type: ignore[attr-defined]
    assert (mine.ask().number, mine.sampler.others) == (2, None)  # type: ignore[attr-defined]
    assert members(mine) == {0: 4}


def test_of_a_batch_what_there_is_room_for_stays(store: Any) -> None:
    mine, theirs = two(store, "sha(n=5)")
    mine.ask(1)
    mine.sampler.others = lambda: [theirs.tell(theirs.ask(), 1.0), theirs.ask()]  # type: ignore[attr-defined]
    assert [trial.bracket for trial in mine.ask(5)] == [0, 0, 1]
    assert members(mine) == {0: 5, 1: 1}


def test_one_that_has_ended_since_takes_its_place_all_the_same(store: Any) -> None:
    mine, theirs = two(store, "sha(n=2)")
    mine.ask(1)
    mine.sampler.others = lambda: theirs.fail(theirs.ask())  # type: ignore[attr-defined]
    assert mine.ask().bracket == 1


def test_a_run_keeps_to_the_quota_too(store: Any) -> None:
    mine, theirs = two(store, "sha(n=3)", 6)
    mine.sampler.others = lambda: [theirs.fail(trial) for trial in theirs.ask(2)]  # type: ignore[attr-defined]
    assert run(mine, Scripted(by_number, 3), Noted()) == Outcome("done")
    assert members(mine) == {0: 3, 1: 3}


def test_brackets_without_a_quota_take_everybody(store: Any) -> None:
    mine, theirs = two(store, "asha(type=promotion)")
    mine.sampler.others = lambda: theirs.ask(3)  # type: ignore[attr-defined]
    assert [trial.bracket for trial in mine.ask(4)] == [0] * 4


def test_who_joins_a_rung_that_was_closed_meanwhile_takes_no_place_that_is_taken() -> None:
    """The limit was reached for the others, who closed the rung of six and let its best two go on."""
    mine, theirs = two(open_store(None), "sha(n=9)")
    for trial in mine.ask(6):
        mine.tell(trial, 10.0 + trial.number)

    def close() -> None:
        resumed = hand_out(theirs.ledger, theirs.sampler, theirs.scheduler, 2, 0)
        assert [(trial.number, trial.budget) for trial in resumed] == [(0, 3), (1, 3)]

    mine.sampler.others = close  # type: ignore[attr-defined]
    for trial in mine.ask(3):  # all better than these two
        assert (trial.bracket, trial.budget) == (0, 1)
        mine.tell(trial, float(trial.number))
    trials = []
    for _ in range(9):
        trials += hand_out(mine.ledger, mine.sampler, mine.scheduler, 1, 1)
    assert [trial.number for trial in trials if trial.budget == 3] == [6]


def test_a_promotion_that_another_process_has_made_and_ended_is_not_made_twice(store: Any) -> None:
    mine, theirs = two(store, "asha(type=promotion)")
    for trial in mine.ask(3):
        mine.tell(trial, float(trial.number))
    known = mine.ledger.history
    theirs.tell(theirs.ask(), 0.0)
    assert theirs.trials[0].budget == 3 and theirs.trials[0].state is State.PAUSED
    late = [Draft(Kind.RESUMED, 0, {"budget": 3}), Draft(Kind.STARTED, 0, {"token": "late", "owner": "me"})]
    with pytest.raises(whet.errors.StateError, match="somebody else has got"):
        mine.ledger.commit(late, known=known)
    mine.ledger.catch_up()
    assert mine.ledger.salvaged(late, known, None) == ([], set())


PROGRAM = """
    import sys
    import whet
    from whet.errors import NotReady, SearchExhausted

    study = whet.load("s", "a.db")
    print("ready", flush=True)
    sys.stdin.readline()
    if sys.argv[1] == "run":
        study.run(lambda config, budget: config["x"] + 1 / budget, n_trials=60, executor="inline", progress=False)
    for _ in range(30 if sys.argv[1] == "ask" else 0):
        try:
            trial = study.ask()
        except NotReady:
            continue
        study.tell(trial, trial.config["x"] + 1 / trial.budget)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["run", "ask"])
@pytest.mark.parametrize("scheduler", ["sha(n=3)", "hyperband"])
def test_processes_together_keep_to_the_quotas(scheduler: str, how: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    study = study_with(scheduler, 60, store=tmp_path / "a.db")
    pipe: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    argv = [sys.executable, "program.py", how]
    processes: list[Any] = [subprocess.Popen(argv, cwd=tmp_path, **pipe) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=240)
        assert process.returncode == 0
    quota = [{1: 3, 3: 1, 9: 1}] if scheduler == "sha(n=3)" else [{1: 9, 3: 3, 9: 1}, {3: 5, 9: 1}, {9: 3}]
    counts: Counter[tuple[int, float]] = Counter()
    for trial in study.trials:
        assert trial.bracket is not None and trial.budget is not None
        counts.update((trial.bracket, budget) for budget in (1, 3, 9) if budget <= trial.budget)
    above = {key: n for key, n in counts.items() if n > quota[key[0] % len(quota)].get(int(key[1]), n)}
    assert not above
    assert len(study.trials) > 30
