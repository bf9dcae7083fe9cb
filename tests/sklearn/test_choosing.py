"""The one-standard-error rule: which candidate it takes, and what it refuses."""

import math

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier

from whet.sklearn.choosing import OneStandardError, chosen_by, metric_of, one_standard_error, scored


def results_of(scores, parameters, metric="score", **more):
    """Return ``cv_results_`` with these scores, (candidates, splits), masked or not."""
    scores = np.ma.asarray(scores, dtype=float)
    folds = {f"split{k}_test_{metric}": scores[:, k] for k in range(scores.shape[1])}
    ranks = {f"rank_test_{metric}": np.ones(len(scores), dtype=np.int32)}
    return {"params": parameters, f"mean_test_{metric}": scores.mean(axis=1), **ranks, **folds, **more}


def depths(*values):
    return [{"depth": value} for value in values]


# The best is candidate 1: mean 0.9, sd 0.1 over 4 splits, so its standard error is 0.05.
_BEST = [0.8, 1.0, 0.8, 1.0]
_SE = np.std(_BEST, ddof=1) / 2


def flat(mean):
    return [mean] * 4


def test_the_simplest_within_one_standard_error():
    scores = [flat(0.9 - _SE + 1e-9), _BEST, flat(0.9 - _SE - 1e-9), flat(0.89)]
    assert one_standard_error(results_of(scores, depths(3, 9, 1, 5)), "score", "depth") == 0
    assert one_standard_error(results_of(scores, depths(9, 3, 1, 5)), "score", "depth") == 1
    assert one_standard_error(results_of(scores, depths(3, 9, 1, 5)), "score", "-depth") == 1


def test_the_standard_error_is_that_of_the_best_ones_mean():
    """Not of the population of splits, and not of another candidate, which would both let candidate 0 in or out."""
    below = 0.9 - (np.std(_BEST) / 2 + _SE) / 2  # between one with ddof=0 and ours
    assert one_standard_error(results_of([flat(below), _BEST], depths(1, 2)), "score", "depth") == 0
    wide = [0.1, 1.5, 0.1, 1.5]  # mean 0.8, far from the best in its standard errors
    assert one_standard_error(results_of([wide, _BEST], depths(1, 2)), "score", "depth") == 1


def test_as_simple_then_the_better_then_the_first():
    scores = [flat(0.88), flat(0.89), flat(0.89), _BEST]
    assert one_standard_error(results_of(scores, depths(1, 1, 1, 2)), "score", "depth") == 1


def test_scores_are_maximized_also_below_zero():
    scores = -np.array([_BEST, flat(0.86), flat(2.0)])
    assert one_standard_error(results_of(scores, depths(2, 1, 0)), "score", "depth") == 1


def test_several_names_and_functions():
    parameters = [{"a": 2, "b": 1}, {"a": 1, "b": 9}, {"a": 1, "b": 3}, {"a": 1, "b": 3.5}]
    results = results_of([_BEST, flat(0.9), flat(0.9), flat(0.9)], parameters)
    assert one_standard_error(results, "score", ["a", "b"]) == 2
    assert one_standard_error(results, "score", ("a", "-b")) == 1
    assert one_standard_error(results, "score", ["b"]) == 0
    assert one_standard_error(results, "score", lambda given: -given["a"]) == 0
    assert one_standard_error(results, "score", lambda given: np.float32(given["b"])) == 0


def test_none_is_greater_than_any_number():
    results = results_of([_BEST, flat(0.9), flat(0.9)], depths(None, 10**400, math.inf))
    assert one_standard_error(results, "score", "depth") == 1
    assert one_standard_error(results, "score", "-depth") == 0


def test_a_function_cannot_change_the_candidates():
    results = results_of([_BEST, flat(0.9)], depths(2, 1))
    assert one_standard_error(results, "score", lambda given: given.pop("depth")) == 1
    assert results["params"] == depths(2, 1)


@pytest.mark.parametrize("hole", [np.nan, -np.inf, np.inf])
def test_who_failed_somewhere_is_out(hole):
    results = results_of([_BEST, [hole, 0.9, 0.9, 0.9]], depths(2, 1))
    assert one_standard_error(results, "score", "depth") == 0


def test_who_was_raced_out_is_never_chosen():
    """Not even with the best mean of the splits that it was scored on."""
    scores = np.ma.array([_BEST, flat(0.95), flat(0.9)], mask=np.zeros((3, 4), dtype=bool))
    scores[1, 3] = np.ma.masked
    results = results_of(scores, depths(2, 0, 1))
    assert one_standard_error(results, "score", "depth") == 2
    rows, folds = scored(results, "score")
    assert rows.tolist() == [0, 2]
    assert folds.shape == (2, 4)


def test_of_candidates_that_were_all_cut_short_the_first_in_rank_is_taken():
    scores = np.ma.array([flat(0.5), flat(0.9), flat(0.7)], mask=np.tile([False, False, True, True], (3, 1)))
    results = results_of(scores, depths(1, 2, 3), rank_test_score=np.array([3, 1, 2]))
    assert one_standard_error(results, "score", "depth") == 1
    halved = results | {"iter": np.array([1, 0, 1]), "n_resources": np.array([9, 3, 9])}
    assert one_standard_error(halved, "score", "depth") == 2


def test_all_failed_takes_the_first_as_scikit_learn_does():
    assert one_standard_error(results_of([flat(np.nan)] * 2, depths(2, 1)), "score", "depth") == 0
    halved = results_of([_BEST, flat(np.nan)], depths(2, 1), iter=np.array([0, 1]), n_resources=np.array([10, 20]))
    assert one_standard_error(halved, "score", "depth") == 1


def test_of_halving_the_last_iteration_counts():
    budgets = {"iter": np.array([0, 0, 0, 1, 1]), "n_resources": np.array([10, 10, 10, 30, 30])}
    results = results_of([flat(0.99), _BEST, flat(0.9), _BEST, flat(0.88)], depths(0, 3, 2, 3, 2), **budgets)
    assert one_standard_error(results, "score", "depth") == 4


def test_with_a_scheduler_those_that_had_most_count():
    amounts = np.array([10, 90, 30, 90, 270])
    results = results_of([flat(0.99), _BEST, flat(0.9), flat(0.88), flat(np.nan)], depths(0, 3, 0, 1, 0))
    assert one_standard_error(results | {"n_resources": amounts}, "score", "depth") == 3
    assert scored(results | {"n_resources": amounts}, "score")[0].tolist() == [1, 3]


def test_a_metric_of_several():
    results = results_of([_BEST, flat(0.9)], depths(2, 1), "auc") | results_of([_BEST, flat(0.1)], depths(2, 1), "f1")
    assert one_standard_error(results, "auc", "depth") == 1
    assert one_standard_error(results, "f1", "depth") == 0
    with pytest.raises(ValueError, match=r"no metric 'AUC'; it has: auc, f1"):
        one_standard_error(results, "AUC", "depth")


def test_one_split_has_no_standard_error():
    results = results_of([[0.9], [0.8]], depths(2, 1))
    with pytest.raises(ValueError, match="one split has no standard error"):
        one_standard_error(results, "score", "depth")


def test_of_a_search_of_scikit_learn():
    """It is a function of ``cv_results_``, so it serves as their ``refit``, too."""
    search = GridSearchCV(
        KNeighborsClassifier(),
        {"n_neighbors": range(1, 30, 2)},
        cv=5,
        refit=lambda results: one_standard_error(results, "score", "-n_neighbors"),
    ).fit(*load_iris(return_X_y=True))
    means, best = search.cv_results_["mean_test_score"], search.cv_results_["rank_test_score"].argmin()
    folds = [search.cv_results_[f"split{k}_test_score"][best] for k in range(5)]
    near = np.flatnonzero(means >= means[best] - np.std(folds, ddof=1) / math.sqrt(5))
    assert len(near) > 1
    assert search.best_index_ == near.max()


@pytest.mark.parametrize(
    ("complexity", "message"),
    [
        ("depht", r"has no parameter 'depht' \(it has: 'depth', 'kernel'\)"),
        ("kernel", r"the parameter 'kernel' is 'rbf' in a candidate.*Give a function instead"),
        (["depth", "-kernel"], "the parameter 'kernel' is 'rbf'"),
        (lambda given: given["kernel"], "has to return a number, and returned 'rbf'"),
        (lambda given: math.nan, "has to return a number, and returned nan"),
        (lambda given: None, "has to return a number, and returned None"),
    ],
)
def test_what_says_nothing_of_complexity_is_refused_before_and_after_fitting(complexity, message):
    parameters = [{"depth": 2, "kernel": "rbf"}] * 2
    with pytest.raises(ValueError, match=message):
        OneStandardError(None, complexity).check(parameters, 5)
    with pytest.raises(ValueError, match=message):
        one_standard_error(results_of([_BEST, _BEST], parameters), "score", complexity)


def test_check_passes_what_can_be_used():
    rule = OneStandardError(None, "depth")
    rule.check(depths(1, None, 2.5, np.int64(3), True), 2)
    with pytest.raises(ValueError, match="one split"):
        rule.check(depths(1), 1)
    with pytest.raises(ValueError, match="'depth' is nan"):
        rule.check(depths(1, np.nan), 2)


@pytest.mark.parametrize("refit", [True, False, "roc_auc", "", len, 1])
def test_any_other_refit_is_scikit_learns(refit):
    assert chosen_by(refit) is None
    assert metric_of(refit) is refit
    with pytest.raises(ValueError, match=r'complexity is for refit="one_standard_error", and refit is'):
        chosen_by(refit, "C")


def test_the_rule_and_its_metric():
    assert chosen_by("one_standard_error", "C") == OneStandardError(None, "C")
    assert chosen_by("one_standard_error(roc_auc)", "C", ["f1", "roc_auc"]) == OneStandardError("roc_auc", "C")
    assert chosen_by("one_standard_error(f1)", "C", "f1") == OneStandardError("f1", "C")
    assert chosen_by("one_standard_error(a (b))", "C", len) == OneStandardError("a (b)", "C")
    assert metric_of("one_standard_error") is True
    assert metric_of("one_standard_error(roc_auc)") == "roc_auc"


@pytest.mark.parametrize(
    ("refit", "complexity", "scoring", "message"),
    [
        ("one_standard_error", None, None, "say with complexity= which is simpler"),
        ("one_standard_error(f1", "C", ["f1"], r'expected "one_standard_error" or, with the name of a metric'),
        ("one_standard_errors", "C", None, r'expected "one_standard_error" or'),
        ("one_standard_error", [], None, r"complexity=\[\]: expected the name of a parameter"),
        ("one_standard_error", "", None, "complexity='': expected"),
        ("one_standard_error", "-", None, "complexity='-': expected"),
        ("one_standard_error", ["C", 3], None, r"complexity=\['C', 3\]: expected"),
        ("one_standard_error", 3, None, "complexity=3: expected"),
        ("one_standard_error(f1)", "C", None, "the only metric is the estimator's own score"),
        ("one_standard_error(f1)", "C", "accuracy", "the only metric is 'accuracy'"),
    ],
)
def test_what_makes_no_sense_is_refused(refit, complexity, scoring, message):
    with pytest.raises(ValueError, match=message):
        chosen_by(refit, complexity, scoring)


def test_several_metrics_need_one_that_counts():
    metrics = {"accuracy": 1, "f1": 1}
    OneStandardError("f1", "C").check_metric(metrics)
    with pytest.raises(
        ValueError, match=r'say which one counts: refit="one_standard_error\(accuracy\)" \(accuracy, f1'
    ):
        OneStandardError(None, "C").check_metric(metrics)
    with pytest.raises(ValueError, match="names a metric that is not scored, 'auc'"):
        OneStandardError("auc", "C").check_metric(metrics)
