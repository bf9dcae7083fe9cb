"""Schedulers by name, several together, and what a problem must have for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.schedulers.driving import EACH
from whet.core.history import History
from whet.core.protocols import Assignment, Decision
from whet.errors import UsageError
from whet.schedulers.asha import ASHA
from whet.schedulers.fifo import Fifo
from whet.schedulers.median import Median
from whet.schedulers.names import SCHEDULERS, described, scheduler_from, scheduler_named, scheduler_of, settings_text
from whet.schedulers.stops import Patience
from whet.schedulers.together import Together
from whet.study import Study, load

EPOCHS: Mapping[str, Any] = {"fidelity": {"epochs": (1, 9)}}


def study_with(scheduler: Any, **options: Any) -> Study:
    return Study({"x": (0.0, 1.0)}, sampler="random", seed=1, scheduler=scheduler, **options)


class Mine(Fifo):
    """A scheduler of a user's own, which stops everything."""

    def decide(self, history: History, number: int) -> Decision:
        return Decision.STOP

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        return super().assign(history, n, n_new)


# ---- names
@pytest.mark.parametrize("text", EACH)
def test_each_name_makes_what_is_described_by_it(text: str) -> None:
    assert type(scheduler_named(text)) is SCHEDULERS[text.partition("(")[0]]
    assert described(scheduler_named(text)) == text


@pytest.mark.parametrize(
    ("text", "plainly"),
    [
        ("asha + patience(n=3)", "asha + patience(n=3)"),
        (" ASHA(eta=4)+Plateau ", "asha(eta=4) + patience"),
        ("hyperband+median(grace=1e+1)+threshold(upper=2)", "hyperband + median(grace=10.0) + threshold(upper=2)"),
        ("Wilcoxon(p=.2)", "racing(p=0.2)"),
        ("asha(type=promotion) + none", "asha(type='promotion') + none"),
    ],
)
def test_a_text_round_trips(text: str, plainly: str) -> None:
    assert described(scheduler_named(text)) == plainly
    assert described(scheduler_named(plainly)) == plainly


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("asha + patiens", "unknown scheduler 'patiens'|unknown scheduler ' patiens'"),
        ("asha + ", "name of a scheduler is missing behind the last plus"),
        ("+ asha", "name of a scheduler is missing before the first plus"),
        ("asha + + median", "name of a scheduler is missing between two"),
        ("", "name of a scheduler is missing"),
        ("BOHB(eta=4)", "BOHB is no scheduler by itself.*sampler='tpe', scheduler='hyperband'.*--strategy bohb"),
        ("asha(eta=3 + patience", "closing bracket"),
        ("patience(m=3)", "no option 'm'"),
    ],
)
def test_texts_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        scheduler_named(text)


def test_what_a_list_is() -> None:
    together = scheduler_from([ASHA(), Patience(n=3), ["median", "none"]])
    assert isinstance(together, Together) and len(together.parts) == 4
    assert isinstance(scheduler_from(["median"]), Median)
    for given in ([], [Median], [3], 3, Median):
        with pytest.raises(UsageError, match="a scheduler is a name"):
            scheduler_from(given)
    with pytest.raises(UsageError, match="two schedulers or more"):
        Together([Median()])


# ---- kept with a study
@pytest.mark.parametrize(
    "text", ["asha(eta=4) + patience(n=3)", "median(n_start=9)", "none", "hyperband + threshold(upper=2)"]
)
def test_a_study_finds_its_scheduler_again(text: str, tmp_path: Path) -> None:
    study_with(text, store=tmp_path / "a.db", **EPOCHS)
    again = load("study", tmp_path / "a.db")
    assert described(again.scheduler) == text
    assert settings_text(again.ledger.history.settings) == text


@pytest.mark.parametrize("scheduler", [Mine(), [ASHA(), Mine()]])
def test_a_scheduler_of_ones_own_has_to_be_given_again(scheduler: Any, tmp_path: Path) -> None:
    study_with(scheduler, store=tmp_path / "a.db", **EPOCHS)
    with pytest.raises(UsageError, match=r"Mine.*is none of whet's.*give it again"):
        load("study", tmp_path / "a.db")
    assert load("study", tmp_path / "a.db", scheduler=scheduler).scheduler is not None


def test_a_study_of_before_there_were_schedulers() -> None:
    assert isinstance(scheduler_of({}), Fifo)


# ---- together
def test_any_of_them_stops_and_says_why() -> None:
    study = study_with("asha + patience(n=2)", **EPOCHS)
    trial = study.ask()
    assert trial.budget == 9 and trial.bracket == 0
    decisions = [study.report(trial, 1.0, step=step) for step in (1, 2, 3)]
    assert decisions == [Decision.CONTINUE, Decision.CONTINUE, Decision.STOP]
    assert study.ledger.trial(trial.number).message == "no better than 1 for 2 reports"


def test_the_first_one_pauses() -> None:
    study = study_with(["hyperband", Patience(n=1)], **EPOCHS)
    trial = study.ask()
    assert trial.budget == 1
    assert study.report(trial, 1.0, step=1) is Decision.PAUSE
    assert isinstance(study.scheduler, Together)


def test_one_of_ones_own_may_stop_too() -> None:
    study = study_with([Median(), Mine()])
    assert study.report(study.ask(), 1.0, step=1) is Decision.STOP


def test_none_lets_a_trial_go_on_that_reports_nan_and_others_do_not() -> None:
    for scheduler, expected in (
        (None, Decision.CONTINUE),
        ("median", Decision.STOP),
        ([Fifo(), Fifo()], Decision.STOP),
    ):
        study = study_with(scheduler)
        assert study.report(study.ask(), math.nan, step=1) is expected


def test_a_report_without_the_objective_is_not_taken_for_nan() -> None:
    study = study_with("median", objective={"loss": "min"})
    trial = study.ask()
    assert study.report(trial, {"lr": 0.1}, step=1) is Decision.CONTINUE
    assert study.report(trial, {"loss": 1.0, "lr": 0.1}, step=2) is Decision.CONTINUE
    assert list(study.tell(trial, {"loss": 1.0}).curve) == [(2.0, 1.0)]


# ---- what a problem must have
@pytest.mark.parametrize("text", ["asha", "successive_halving", "hyperband", "asha + median"])
def test_what_spends_a_budget_needs_a_fidelity(text: str) -> None:
    with pytest.raises(UsageError, match=r"fidelity=\{'epochs': \(1, 81\)\}.*--fidelity epochs=1:81.*budget\(1, 81\)"):
        study_with(text)
    with pytest.raises(UsageError, match="needs an objective"):
        study_with(text, objective={}, **EPOCHS)
    with pytest.raises(UsageError, match="two levels"):
        study_with(text, fidelity={"epochs": (2, 3)})


@pytest.mark.parametrize("name", ["median", "percentile", "threshold(upper=2)", "divergence", "patience", "racing"])
@pytest.mark.parametrize("objective", [{}, {"a": "min", "b": "max"}])
def test_what_compares_one_number_needs_one_objective(name: str, objective: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=f"{name.partition('(')[0]} needs exactly one objective.*got {len(objective)}"):
        study_with(name, objective=objective)


@pytest.mark.parametrize("text", ["hyperband", "successive_halving", "asha(type=promotion)", "hyperband + median"])
def test_what_pauses_is_refused_in_a_deterministic_study(text: str) -> None:
    with pytest.raises(UsageError, match=r"deterministic study.*asha\(type=stopping\) or median"):
        study_with(text, lookahead=8, **EPOCHS)
    assert study_with("asha + median", lookahead=8, **EPOCHS).ask().budget == 9


def test_what_spends_the_budget_comes_first() -> None:
    with pytest.raises(UsageError, match=r"asha says how far trials go.*'asha \+ …'"):
        study_with("median + asha", **EPOCHS)


def test_one_of_ones_own_may_do_anything() -> None:
    assert study_with(Mine(), objective={}, lookahead=3).ask().number == 0
