"""What is there of a search that ends before all is done, and by which metric a race goes."""

import time

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator

from whet.sklearn import GridSearchCV, HalvingGridSearchCV, SearchCV

X, y = np.random.default_rng(0).uniform(size=(120, 2)), np.arange(120) % 2
CLOSE = {"quality": [0.5, 0.5001, 0.5002, 0.4999, 0.1]}  # all but the last race for long
done = []  # the quality that each fit so far had
end = {}  # after so many fits: what happens then


@pytest.fixture(autouse=True)
def _nothing_done():
    done.clear()
    end.clear()


def interrupt():
    raise KeyboardInterrupt


class Known(BaseEstimator):
    """Scores its quality, and a little that depends on the fold."""

    def __init__(self, quality=0.5, fails_above=np.inf):
        self.quality = quality
        self.fails_above = fails_above

    def fit(self, X, y=None):
        if len(done) in end:
            end.pop(len(done))()
        done.append(self.quality)
        if len(X) > self.fails_above:
            raise ArithmeticError("asked to fail")
        self.n_features_in_ = X.shape[1]
        return self

    def score(self, X, y=None):
        return self.quality + 0.001 * np.sin(100 * X[0, 0] + 999 * self.quality)


def race(**options):
    return GridSearchCV(Known(), CLOSE, cv=10, racing=True, **options)


def halving(**options):
    grid = {"quality": np.linspace(0.1, 0.9, 9).tolist()}
    given = {"estimator": Known(), "min_resources": 30, "factor": 2, "random_state": 0, "cv": 2, **options}
    return HalvingGridSearchCV(param_grid=grid, **given)


def interrupted(search, n):
    """Interrupt *search* after *n* fits."""
    end[n] = interrupt
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    return search


# ---- races that are cut short
def test_those_that_race_are_in_the_results_of_a_race_that_was_cut_short():
    results = interrupted(race(), 16).cv_results_
    best = interrupted(race(), 16 + len(done)).best_index_
    assert len(results["params"]) == 5
    n_run, why = results["n_splits_run"], results["stopped"]
    assert n_run[4] == 2
    assert why[4] == "unlikely to win after 2 of 10 splits"
    still = [one for one in range(5) if "interrupted" in why[one]]
    assert len(still) > 1
    assert len(set(n_run[still])) == 1, "they are compared on the same splits"
    assert {why[one] for one in still} == {f"interrupted after {n_run[still[0]]} of 10 splits"}
    assert best in still
    assert results["rank_test_score"][best] == 1
    assert results["mean_test_score"][best] == max(results["mean_test_score"][still])
    assert results["split9_test_score"].mask.all()


@pytest.mark.parametrize(("n", "n_run"), [(2, [2]), (3, [2]), (9, [2, 2, 2, 2])])
def test_in_the_first_round_those_count_that_are_through_with_it(n, n_run):
    assert interrupted(race(), n).cv_results_["n_splits_run"].tolist() == n_run


def test_before_anything_is_comparable_there_are_no_results():
    assert not hasattr(interrupted(race(), 1), "cv_results_")


def test_those_that_are_complete_stay_complete():
    alike = {"fails_above": [1000, 2000]}
    results = interrupted(GridSearchCV(Known(), alike, cv=10, racing=True), 19).cv_results_
    assert sorted(results["n_splits_run"]) == [9, 10]
    assert sorted(results["stopped"]) == ["", "interrupted after 9 of 10 splits"]


def test_a_race_that_was_cut_short_goes_on(tmp_path):
    kept = {"store": tmp_path / "kept.db", "name": "race", "resume": True, "refit": False}
    search = interrupted(race(**kept), 16)
    assert {trial.state for trial in search.study_.trials} == {"stopped", "waiting"}
    resumed = race(**kept).fit(X, y)
    n_fits = len(done)
    whole = race(refit=False).fit(X, y)
    assert len(done) == 2 * n_fits
    for name in ("mean_test_score", "n_splits_run", "stopped"):
        np.testing.assert_array_equal(resumed.cv_results_[name], whole.cv_results_[name])


def test_where_none_has_all_splits_the_best_so_far_is_chosen_whatever_the_rule():
    search = interrupted(race(refit="one_standard_error", complexity="quality"), 16)
    assert search.cv_results_["rank_test_score"][search.best_index_] == 1
    assert search.best_index_ != 0


def test_time_that_is_up_cuts_a_race_short_too():
    end[16] = lambda: time.sleep(2.1)
    search = race(timeout=2).fit(X, y)
    assert {why.partition(" after")[0] for why in search.cv_results_["stopped"]} == {"unlikely to win", "time was up"}
    assert search.best_estimator_.quality == search.best_params_["quality"]
    assert "time was up" in search.cv_results_["stopped"][search.best_index_]


# ---- halving that is cut short
def test_the_best_is_of_the_last_iteration_that_is_complete():
    search = interrupted(halving(), 9 * 2 + 2 * 2)  # those that go on are sorted, and the worst come first
    assert search.cv_results_["iter"].tolist() == [0] * 9 + [1] * 2
    assert search.best_params_["quality"] == 0.9
    assert search.best_score_ == search.cv_results_["mean_test_score"][:9].max()
    assert search.n_resources_ == [30, 60]
    assert (search.n_iterations_, search.n_remaining_candidates_) == (2, 5)


def test_if_the_first_iteration_is_cut_short_the_best_is_of_it():
    search = interrupted(halving(), 9)
    assert search.cv_results_["iter"].tolist() == [0] * 4
    assert search.best_params_["quality"] == 0.4


def test_the_rule_looks_at_the_last_complete_iteration_too():
    search = interrupted(halving(refit="one_standard_error", complexity="-quality"), 9 * 2 + 2 * 2)
    assert search.best_index_ == 8


@pytest.mark.filterwarnings("ignore")
def test_an_iteration_of_which_all_so_far_failed_does_not_cost_the_others():
    search = interrupted(halving(estimator=Known(fails_above=20)), 9 * 2 + 2 * 2)
    assert np.isnan(search.cv_results_["mean_test_score"][9:]).all()
    assert search.best_params_["quality"] == 0.9


# ---- interrupts
def test_an_interrupt_is_an_interrupt_also_where_all_have_failed():
    interrupted(GridSearchCV(Known(fails_above=0), CLOSE, cv=2), 5)


def test_nothing_of_an_earlier_fit_is_left_beside_the_results_of_an_interrupted_one():
    search = GridSearchCV(Known(), CLOSE, cv=2).fit(X, y)
    assert search.best_estimator_.quality == 0.5002
    interrupted(search, len(done) + 3)
    assert search.best_params_ == {"quality": 0.5}
    assert not hasattr(search, "best_estimator_")
    assert not hasattr(search, "refit_time_")


# ---- what a race goes by
def test_it_says_how_many_fits_a_race_takes_at_most(capsys):
    for racing, most in (False, ""), (True, "at most "):
        GridSearchCV(Known(), CLOSE, cv=3, racing=racing, verbose=1, refit=False).fit(X, y)
        assert capsys.readouterr().out == f"Fitting 3 folds for each of 5 candidates, totalling {most}15 fits\n"


def scored(estimator, X, y):
    return {"bad": -estimator.quality, "good": estimator.quality + 0.001 * X[0, 0]}


def test_a_race_goes_by_the_metric_that_refit_names_also_where_a_function_scores():
    for refit in ("good", "one_standard_error(good)"):
        complexity = None if refit == "good" else "quality"
        search = GridSearchCV(
            Known(), {"quality": [0.1, 0.5, 0.9]}, cv=6, racing=True, scoring=scored, refit=refit, complexity=complexity
        ).fit(X, y)
        assert search.best_params_ == {"quality": 0.9}


@pytest.mark.parametrize("refit", [True, False, "other", lambda results: 0], ids=["yes", "no", "other", "function"])
def test_if_it_names_none_the_race_ends_with_the_first_scores(refit):
    with pytest.raises(ValueError, match="name the one that counts in refit=, as refit='bad'"):
        GridSearchCV(Known(), CLOSE, cv=3, racing=True, scoring=scored, refit=refit).fit(X, y)
    assert len(done) == 1


def test_as_many_race_at_a_time_as_there_are_workers():
    space = {"quality": [0.1, 0.2, 0.9]}
    with joblib.parallel_config("threading"):
        search = SearchCV(Known(), space, strategy="grid", n_trials=3, cv=6, racing=True, n_jobs=3, random_state=0).fit(
            X, y
        )
    # All three are judged together; one by one the first would have been fitted on all splits, alone as it is.
    assert search.cv_results_["params"][0] != {"quality": 0.9}
    assert sorted(search.cv_results_["n_splits_run"]) == [2, 2, 6]
