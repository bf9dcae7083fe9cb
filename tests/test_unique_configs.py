"""No config is given to two trials, however many processes and threads ask at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from whet.core.history import History
from whet.core.protocols import RngOf, Sampler, Suggestion
from whet.core.trial import State
from whet.errors import SearchExhausted
from whet.storage.open import open_store
from whet.study import Study, load

SPACE = {"a": list(range(30))}


class Lowest:
    """Always suggests the lowest value that it knows nobody has been given, as a model that is sure would."""

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        known = [trial.config for trial in history.unfinished.values() if trial.config is not None]
        known += [json.loads(row.config) if isinstance(row.config, str) else row.config for row in history.finished]
        taken = {config["a"] for config in known if config is not None}
        left = [a for a in history.problem.space["a"].values if a not in taken]  # type: ignore[attr-defined]
        if not left:
            raise SearchExhausted
        return [Suggestion({"a": a}, {"source": "lowest"}) for a, _ in zip(left, numbers, strict=False)]


class Meanwhile(Lowest):
    """Lets *others* do something between the choice of a config and its being written, once."""

    def __init__(self, others: Any) -> None:
        self.others: Any = others

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        chosen = super().suggest(history, numbers, rng_of)
        others, self.others = self.others, None
        if others is not None:
            others()
        return chosen


def _two(sampler: Sampler, store: Any, **options: Any) -> tuple[Study, Study]:
    """Return a study and another view of it, as a second process has it."""
    first = Study(SPACE, sampler=sampler, seed=0, store=store, **options)
    return first, load("study", first.ledger.store, sampler=Lowest())


def _values(study: Study) -> list[int]:
    return [(trial.config or {})["a"] for trial in study.trials]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A store of each kind."""
    return open_store(None if request.param == "memory" else tmp_path / "a.db")


def test_a_config_that_another_process_was_given_meanwhile_is_chosen_anew(store: Any) -> None:
    sampler = Meanwhile(None)
    mine, theirs = _two(sampler, store)
    sampler.others = theirs.ask
    assert (mine.ask().config or {})["a"] == 1
    assert sorted(_values(mine)) == [0, 1]
    assert {trial.state for trial in mine.trials} == {State.RUNNING}
    assert mine.ledger.history.n_numbers == 2  # no number was lost


def test_it_is_chosen_anew_even_if_the_other_trial_is_over_already(store: Any) -> None:
    sampler = Meanwhile(None)
    mine, theirs = _two(sampler, store)
    sampler.others = lambda: theirs.tell(theirs.ask(), 1.0)
    assert (mine.ask().config or {})["a"] == 1


def test_of_a_batch_only_what_is_taken_is_left_out(store: Any) -> None:
    sampler = Meanwhile(None)
    mine, theirs = _two(sampler, store)
    sampler.others = lambda: theirs.ask(2)
    assert [(trial.config or {})["a"] for trial in mine.ask(4)] == [2, 3]
    assert [(trial.config or {})["a"] for trial in mine.ask(4)] == [4, 5, 6, 7]
    assert mine.ledger.history.n_numbers == 8


def test_what_somebody_enqueues_meanwhile_counts_too(store: Any) -> None:
    sampler = Meanwhile(None)
    mine, theirs = _two(sampler, store)
    sampler.others = lambda: theirs.enqueue({"a": 0})
    assert [(trial.config or {})["a"] for trial in (mine.ask(), mine.ask())] == [0, 1]


def test_repeats_share_their_config(store: Any) -> None:
    sampler = Meanwhile(None)
    mine, theirs = _two(sampler, store, repeats=3)
    sampler.others = lambda: theirs.ask(2)
    asked = [*mine.ask(3), *mine.ask(3)]
    assert all(trial.config is not None for trial in asked)
    groups: dict[int, set[int]] = {}
    for trial in mine.trials:
        groups.setdefault(trial.group, set()).add((trial.config or {})["a"])
    assert all(len(values) == 1 for values in groups.values())
    assert len(set.union(*groups.values())) == len(groups)


def test_a_sampler_that_insists_is_let_be(store: Any) -> None:
    class Stubborn:
        """Suggests one config for ever."""

        def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
            if others:
                others.pop()()
            return [Suggestion({"a": 3}) for _ in numbers]

    others: list[Any] = []
    mine, _ = _two(Stubborn(), store)
    theirs = load("study", mine.ledger.store, sampler=Stubborn())
    others.append(theirs.ask)
    mine.ask()
    assert _values(mine) == [3, 3]


def test_threads_of_one_study_share_no_config() -> None:
    study = Study(SPACE, sampler=Lowest(), seed=0)
    views = [load("study", study.ledger.store, sampler=Lowest()) for _ in range(3)]
    barrier = Barrier(len(views))

    def go(view: Study) -> None:
        barrier.wait()
        for _ in range(10):
            view.tell(view.ask(), 1.0)

    threads = [Thread(target=go, args=(view,)) for view in views]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(_values(study)) == list(range(30))


_PROGRAM = """\
import sys, time
from tests.test_unique_configs import Lowest
from whet.errors import SearchExhausted
from whet.study import load

study = load("study", sys.argv[1], sampler=Lowest())
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[2] == "run":
    study.run(lambda config: float(config["a"]), executor="inline", progress=False)
else:
    try:
        while True:
            study.tell(study.ask(), 1.0)
    except SearchExhausted:
        pass
"""


@pytest.mark.parametrize("how", ["run", "ask"])
def test_processes_share_no_config(how: str, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    study = Study(SPACE, sampler=Lowest(), seed=0, store=path)
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    argv = [sys.executable, "-c", _PROGRAM, str(path), how]
    root = Path(__file__).parents[1]
    processes = [subprocess.Popen(argv, cwd=root, **pipe) for _ in range(3)]  # type: ignore[call-overload]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert sorted(_values(study)) == list(range(30))
    assert {trial.state for trial in study.trials} == {State.COMPLETED}


def test_a_run_chooses_anew_too(store: Any) -> None:
    sampler = Meanwhile(None)
    mine, theirs = _two(sampler, store)
    sampler.others = lambda: theirs.tell(theirs.ask(), 1.0)
    mine.run(lambda config: float(config["a"]), executor="inline", n_trials=6, progress=False)
    assert sorted(_values(mine)) == list(range(6))
