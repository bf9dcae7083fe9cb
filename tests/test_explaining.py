"""What a sampler does and why, in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import whet
from whet.core.history import History
from whet.core.protocols import Explains, RngOf, Suggestion
from whet.core.trial import Trial
from whet.explaining import Choice, explanation_of, why_text
from whet.study import Study, load

SPACE = {"x": (0.0, 1.0)}


class Turning:
    """A sampler that changes its mind after three trials, and says so."""

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        source = "early" if history.n_finished < 3 else "late"
        why = {"source": source, "mean": 0.25, "std": 0.0312, "acquisition": "logei", "score": -2.125, "n": 3}
        return [Suggestion({"x": float(rng_of(number).random())}, why) for number in numbers]

    def explain(self, history: History) -> str:
        n = history.n_finished
        return f"{'even' if n < 3 else 'greedy'} search\n{n} trials are known. \x1b[31mRed\x1b[0m."


def _told(study: Study, n: int) -> Study:
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, (trial.config or {})["x"])
    return study


# ---- a trial
@pytest.mark.parametrize(
    ("why", "text"),
    [
        ({}, ""),
        ({"source": "grid"}, "grid"),
        ({"source": "gp", "mean": 0.31, "std": 0.0412, "acquisition": "logei", "score": -2.104},
         "gp: expected 0.31 ± 0.041, log EI -2.1"),
        ({"source": "gp", "mean": 12, "acquisition": "ts"}, "gp: expected 12, ts"),
        ({"source": "tpe", "score": 1.919, "n_good": 5, "n_bad": 27}, "tpe: score 1.92, n_good=5 n_bad=27"),
        ({"mean": "no number", "std": 1.0, "score": None}, "mean=no number std=1 score=None"),
        ({"source": "a\nb\x1b[31m", "k": [1, 2]}, "a b: k=[1, 2]"),
        ({"mean": float("nan"), "std": float("inf")}, "expected nan ± inf"),
    ],
)  # fmt: skip
def test_why_in_words(why: dict[str, Any], text: str) -> None:
    assert why_text(Trial(0, why=why)) == text


def test_a_given_config_was_chosen_by_a_person() -> None:
    study = Study(SPACE, seed=0)
    study.enqueue({"x": 0.5})
    study.add_trials([({"x": 0.25}, 1.0)])
    assert [why_text(trial) for trial in study.trials] == ["a person (enqueued)", "a person (added)"]


# ---- a study
def test_a_study_explains_itself() -> None:
    study = Study(SPACE, sampler=Turning(), seed=0)
    assert study.explain() == "Turning: even search\n0 trials are known. \x1b[31mRed\x1b[0m."
    study.add_trials([({"x": 0.75}, 0.75)])
    _told(study, 4)
    first, second, configs, best = study.explain().split("\n")
    assert first == "Turning: greedy search"
    assert second.startswith("5 trials are known.")
    assert configs == "configs: 1 added, 2 early, 2 late"
    assert best.startswith(f"best: {study.best_value:.6g} (trial {study.best.number}), chosen by ")
    assert best.endswith(": expected 0.25 ± 0.031, log EI -2.12, n=3")


def test_a_sampler_that_says_nothing_is_named_with_its_options() -> None:
    study = _told(Study(SPACE, sampler="tpe(n_start=2)", seed=0), 3)
    assert study.explain().startswith("tpe(n_start=2)")
    assert "configs: 2 start, 1 tpe" in study.explain()


def test_a_best_config_with_repeats_counts_once() -> None:
    study = Study(SPACE, sampler="random", seed=0, repeats=2)
    _told(study, 4)
    assert "configs: 2 random\nbest: mean " in study.explain()


def test_several_objectives_have_no_best_trial() -> None:
    study = Study(SPACE, {"a": "minimize", "b": "minimize"}, sampler="random", seed=0)
    study.tell(study.ask(), {"a": 1.0, "b": 2.0})
    assert study.explain() == "random\nconfigs: 1 random"


def test_without_the_sampler_its_name_is_told(tmp_path: Path) -> None:
    study = _told(Study(SPACE, sampler=Turning(), seed=0, store=tmp_path / "a.db"), 1)
    found = explanation_of(study.ledger, None)
    assert (found.sampler, found.words, found.sources) == ("Turning", "", {"early": 1})
    with pytest.raises(whet.errors.UsageError, match=r"sampler=Turning\(\)"):
        load("study", tmp_path / "a.db")
    assert load("study", tmp_path / "a.db", sampler=Turning()).explain().startswith("Turning: even")


def test_auto_says_what_it_does() -> None:
    assert isinstance(whet.samplers.Auto(), Explains)
    for space in (SPACE, {"g": whet.NumpyDistribution("gamma", (2.0,))}):
        said = Study(space, seed=0).explain()
        assert said.startswith("auto: ")
        assert len(said.split("\n")[0]) > len("auto: ")


# ---- while it runs
def test_a_choice_is_told_when_it_is_another_one() -> None:
    study, choice = Study(SPACE, sampler=Turning(), seed=0), Choice(Turning())
    assert choice.news(study.ledger.history) == "Turning: even search"
    assert choice.news(study.ledger.history) is None
    _told(study, 2)
    assert choice.news(study.ledger.history) is None
    _told(study, 1)
    assert choice.news(study.ledger.history) == "Turning: greedy search"
    assert Choice(whet.samplers.Random()).news(study.ledger.history) is None


def test_a_run_tells_each_choice_once(capfd: pytest.CaptureFixture[str]) -> None:
    whet.tune(lambda config: config["x"], SPACE, sampler=Turning(), seed=0, n_trials=6, executor="inline")
    said = capfd.readouterr().err
    assert said.count("Turning: even search") == said.count("Turning: greedy search") == 1
    assert "trials are known" not in said


def test_a_run_without_progress_tells_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    whet.tune(lambda config: config["x"], SPACE, sampler=Turning(), n_trials=6, executor="inline", progress=False)
    assert not capfd.readouterr().err
