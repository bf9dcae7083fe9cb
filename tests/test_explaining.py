"""What a sampler does and why, in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import whet
from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.protocols import Explains, RngOf, Suggestion
from whet.core.trial import Trial
from whet.explaining import Choice, Unheard, explanation_of, why_text
from whet.schedulers.names import scheduler_named
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


class Odd(Turning):
    """A sampler of somebody's own, whose `explain` is whatever it was made with."""

    def __init__(self, explain: Any) -> None:
        self.explain = explain


def _raises(history: History) -> str:
    raise ValueError(f"boom\n{history.n_finished}")


@pytest.mark.parametrize("explain", [True, "a text", None, 3, {"a": 1}])
def test_an_attribute_of_that_name_is_none_of_ours(explain: object, capfd: pytest.CaptureFixture[str]) -> None:
    study = whet.tune(lambda c: c["x"], SPACE, sampler=Odd(explain), seed=0, n_trials=4, executor="inline")
    assert len(study.trials) == 4
    assert study.explain().startswith("Odd\nconfigs: ")
    assert "Odd" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("explain", "said"),
    [
        (_raises, "its `explain` raised ValueError("),
        (lambda history: None, "its `explain` returned NoneType where a text was expected"),
        (lambda history: b"x", "its `explain` returned bytes where a text was expected"),
        (lambda: "no history", "its `explain` raised TypeError("),
    ],
)
def test_an_explanation_that_fails_is_told_once(explain: Any, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    study = whet.tune(lambda c: c["x"], SPACE, sampler=Odd(explain), seed=0, n_trials=5, executor="inline")
    assert [trial.state for trial in study.trials] == ["completed"] * 5
    assert capfd.readouterr().err.count(said) == 1
    assert study.explain().startswith(f"Odd: {said}")


@pytest.mark.parametrize(
    ("sampler", "at_first", "then"),
    [
        ("gp(n_start=3)", "an even design first, then the config", "the config that promises most by a model"),
        ("tpe(n_start=3)", "an even design first, then the config", "the config that is most like the good trials"),
        ("cmaes", "a normal distribution", "a normal distribution"),
    ],
)
def test_models_say_what_they_do_and_where_they_stand(sampler: str, at_first: str, then: str) -> None:
    study = _told(Study(SPACE, sampler=sampler, seed=0), 2)
    first, *more = study.explain().splitlines()
    assert first.split(": ", 1)[1].startswith(at_first)
    assert "Known so far: 2 configs with a value." in more
    assert ("2 of 3 configs so far." in more) == (sampler != "cmaes")
    study.fail(_told(study, 2).ask())
    first, known, *_ = study.explain().splitlines()
    assert first.split(": ", 1)[1].startswith(then)
    assert known == "Known so far: 4 configs with a value, 1 failed."


@pytest.mark.parametrize("sampler", ["auto", "gp", "tpe", "cmaes"])
def test_where_all_has_failed_there_is_no_model(sampler: str) -> None:
    study = Study(SPACE, sampler=sampler, seed=0)
    for _ in range(7):
        study.fail(study.ask())
    assert "There is nothing to make a model of yet: 7 configs failed, none has a value." in study.explain()


# ---- a scheduler that hears nothing
def _heard(study: Study, reports: Sequence[tuple[float, float]], value: float = 0.5) -> None:
    trial = study.ask()
    if all(study.report(trial, loss, step=step) == "continue" for step, loss in reports):
        study.tell(trial, value)


@pytest.mark.parametrize(
    ("way", "fidelity"),
    [
        *((way, {"epochs": (1, 9)}) for way in ("asha", "median", "asha + median", "patience")),
        *((way, None) for way in ("median", "patience", "threshold(upper=9) + racing")),
    ],
)
@pytest.mark.parametrize("reports", [[], [(1, 0.5)], [(9, 0.5)]])
def test_trials_without_a_word_on_the_way_are_noticed_once(
    way: str, reports: list[tuple[float, float]], fidelity: dict[str, tuple[int, int]] | None
) -> None:
    study = Study(SPACE, sampler="random", scheduler=way, fidelity=fidelity, seed=0)
    unheard, said = Unheard(study.scheduler, "REMEDY"), []
    study.add_trials([({"x": 0.1 * i}, 0.5) for i in range(5)])  # of which nobody knows how they were reported
    for _ in range(5):
        said.append(unheard.news(study.ledger.history))
        _heard(study, reports)
    said += [unheard.news(study.ledger.history) for _ in range(3)]
    (text,) = [text for text in said if text is not None]
    assert said.index(text) == 3
    assert text.startswith(" and ".join(part.partition("(")[0] for part in way.split(" + ")) + " end")
    assert "none of the first 3 trials has reported its objective more than once" in text
    assert text.endswith("; REMEDY")


@pytest.mark.parametrize("way", ["asha", "median"])
@pytest.mark.parametrize("reports", [[(1, 0.5), (2, 0.4)], [(1, 0.6)], [(9, 0.6), (10, 0.5)]])
def test_trials_that_report_on_the_way_are_not(way: str, reports: list[tuple[float, float]]) -> None:
    study = Study(SPACE, sampler="random", scheduler=way, fidelity={"epochs": (1, 9)}, seed=0)
    unheard = Unheard(study.scheduler, "")
    for _ in range(6):
        _heard(study, reports)
        assert unheard.news(study.ledger.history) is None


def test_a_trial_that_runs_is_heard_too() -> None:
    """Under asha most trials end at their first report: that is its work."""
    study = Study(SPACE, sampler="random", scheduler="asha", fidelity={"epochs": (1, 9)}, seed=0)
    running = study.ask()
    assert study.report(running, 0.1, step=1) == "continue"
    assert study.report(running, 0.1, step=2) == "continue"
    unheard = Unheard(study.scheduler, "")
    for _ in range(6):
        _heard(study, [(1, 0.9)])
        assert unheard.news(study.ledger.history) is None


def test_nothing_is_noticed_before_a_trial_is_through() -> None:
    study = Study(SPACE, sampler="random", scheduler="threshold(upper=0.5)", seed=0)
    unheard = Unheard(study.scheduler, "")
    for _ in range(6):
        _heard(study, [(1, 0.9)])
        assert unheard.news(study.ledger.history) is None
    _heard(study, [(1, 0.3)])
    assert "first 7 trials" in str(unheard.news(study.ledger.history))


@pytest.mark.parametrize("way", ["none", "hyperband", "asha(type=promotion)", "hyperband + patience", "freeze_thaw"])
def test_nothing_is_missing_where_nothing_has_to_be_heard(way: str) -> None:
    study = Study(SPACE, sampler="random", seed=0)
    unheard = Unheard(scheduler_named(way), "")
    for _ in range(6):
        _heard(study, [])
        assert unheard.news(study.ledger.history) is None


def test_what_a_trial_says_again_when_it_is_run_again_is_said_once() -> None:
    study = Study(SPACE, sampler="random", scheduler="patience", fidelity={"epochs": (1, 9)}, seed=0)
    unheard = Unheard(study.scheduler, "")
    for _ in range(3):
        trial = study.ask()
        study.report(trial, 0.5, step=1)
        payload = {"reason": "", "counts": False}
        study.ledger.commit([Draft(Kind.REQUEUED, trial.number, payload, trial.token)])
        _heard(study, [(1, 0.5)])
    assert unheard.news(study.ledger.history) is not None
