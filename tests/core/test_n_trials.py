"""A study that is made for so many trials: who asks gets as many, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

import whet
from whet.errors import UsageError


def test_who_asks_gets_as_many_and_no_more(tmp_path: Path):
    study = whet.Study({"x": (0.0, 1.0)}, store=tmp_path / "whet.db", n_trials=3)
    others = whet.load("study", tmp_path / "whet.db")
    study.add_trials([({"x": 0.5}, 1.0)])  # does not count
    trials = [study.ask(), *others.ask(5)]
    assert len(trials) == 3
    for one in (study, others):
        with pytest.raises(whet.errors.SearchExhausted, match="made for n_trials=3, and all are asked"):
            one.ask()


def test_others_may_be_faster_with_the_last_number(tmp_path: Path):
    study = whet.Study({"x": (0.0, 1.0)}, store=tmp_path / "whet.db", n_trials=1, sampler="random")
    others = whet.load("study", tmp_path / "whet.db")
    assign = study.scheduler.assign
    study.scheduler.assign = lambda *asked: [others.ask(), assign(*asked)][1]  # between the look and the reserve
    with pytest.raises(whet.errors.SearchExhausted, match="all are asked"):
        study.ask()


def test_repeats_of_a_config_do_not_count():
    study = whet.Study({"x": (0.0, 1.0)}, n_trials=2, repeats=3, sampler="random")
    trials = study.ask(10)
    assert len(trials) == 6
    assert len({t.config["x"] for t in trials}) == 2


def test_a_run_takes_it_where_it_has_no_other():
    study = whet.Study({"x": (0.0, 1.0)}, n_trials=4, sampler="random")
    study.ask()
    study.run(lambda config: config["x"], executor="inline", progress=False)
    assert len(study.trials) == 4
    study.run(lambda config: config["x"], executor="inline", progress=False, n_trials=6)
    assert len(study.trials) == 6


@pytest.mark.parametrize("n_trials", [0, -1, 2.5, "3", True])
def test_it_is_a_whole_number(n_trials: object):
    with pytest.raises(UsageError, match="n_trials must be a whole number"):
        whet.Study({"x": (0.0, 1.0)}, n_trials=n_trials)
