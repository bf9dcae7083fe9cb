"""How optimistic the winner's score is: against truth in simulations, and when a search warns of it."""

import warnings
from itertools import combinations

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

from tests.sklearn.test_choosing import results_of
from whet.sklearn.optimism import SelectionBias, SelectionBiasWarning, selection_bias, warn_of_selection_bias


def results(scores, metric="score", **more):
    return results_of(scores, [{"number": number} for number in range(len(scores))], metric, **more)


def warned(results, metric="score"):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_selection_bias(results, metric)
    assert {one.category for one in caught} <= {SelectionBiasWarning}
    return len(caught)


def alike(rng, n=60, n_splits=10):
    """Scores of candidates that are equally good, 0.5."""
    return 0.5 + 0.05 * rng.normal(size=(n, n_splits))


def along_a_curve(rng, n=60, n_splits=5):
    """Scores of neighbours on a grid, whose errors are alike, about a smooth optimum."""
    x = np.linspace(0, 1, n)
    shared = np.linalg.cholesky(np.exp(-(((x[:, None] - x) / 0.4) ** 2)) + 1e-6 * np.eye(n))
    return -4 * (x[:, None] - 0.5) ** 2 + shared @ rng.normal(size=(n, n_splits)) + rng.normal(size=n_splits)


def test_by_hand():
    scores = np.array([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.5, 0.5, 0.5]])
    bias = selection_bias(results(scores))
    # Chosen on two of three splits: without the first, candidate 1 (2 in all); without the second, candidate 0;
    # without the third, candidate 0. On the split left out they have 0, 0 and 0.
    assert bias == SelectionBias(1.0, 0.0, 1.0, bias.standard_error, 3, 3)
    better = np.mean([np.var(scores[0], ddof=1), np.var(scores[1], ddof=1)])  # of two of three candidates
    winner = np.var(scores[0], ddof=1)
    assert bias.standard_error == pytest.approx(np.sqrt(max(winner, better) / 3))


def test_against_all_halves_of_a_few_splits():
    scores = np.random.default_rng(0).random((7, 5))
    on_the_others = []
    for left_out in combinations(range(5), 2):
        chosen_on = [k for k in range(5) if k not in left_out]
        best = scores[:, chosen_on].mean(axis=1).argmax()
        on_the_others.append(scores[best, list(left_out)].mean())
    bias = selection_bias(results(scores))
    assert bias.corrected == pytest.approx(np.mean(on_the_others))
    assert bias.optimism == pytest.approx(scores.mean(axis=1).max() - np.mean(on_the_others))


@pytest.mark.parametrize("n_splits", [3, 5, 10, 23])
def test_the_truth_of_equal_candidates_is_found(n_splits):
    rng = np.random.default_rng(n_splits)
    biases = [selection_bias(results(alike(rng, 30, n_splits))) for _ in range(100)]
    error = np.std([bias.corrected for bias in biases]) / 10
    assert abs(np.mean([bias.corrected for bias in biases]) - 0.5) < 4 * error
    assert np.mean([bias.score for bias in biases]) - 0.5 > 0.05 / np.sqrt(n_splits)


def test_a_clear_winner_has_no_bias():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(100, 5))
    scores[42] += 20
    bias = selection_bias(results(scores))
    assert bias.optimism == 0
    assert bias.corrected == bias.score
    assert not bias.is_large
    assert not warned(results(scores))


def test_it_warns_where_many_are_alike():
    rng = np.random.default_rng(0)
    assert np.mean([warned(results(alike(rng))) for _ in range(40)]) > 0.5


def test_it_hardly_ever_warns_where_little_is_wrong():
    rng = np.random.default_rng(0)
    assert sum(warned(results(along_a_curve(rng))) for _ in range(100)) <= 4
    clear = [rng.normal(size=(60, 3)) + np.where(np.arange(60) == 0, 6.0, 0.0)[:, None] for _ in range(100)]
    assert sum(warned(results(scores)) for scores in clear) <= 4


def test_never_of_few_candidates_or_splits():
    few = np.random.default_rng(0).normal(size=(200, 9, 10))
    assert not any(warned(results(scores)) for scores in few)
    assert not any(warned(results(scores)) for scores in np.random.default_rng(0).normal(size=(50, 300, 2)))


@pytest.mark.parametrize("value", [1.0, 0.0, -1e300, 0.1])
def test_candidates_that_are_all_the_same(value):
    bias = selection_bias(results(np.full((20, 5), value)))
    assert bias.corrected == pytest.approx(bias.score)
    assert not warned(results(np.full((20, 5), value)))


def test_scores_that_are_hardly_finite():
    scores = np.random.default_rng(0).normal(size=(40, 10)) * 1e300
    assert not warned(results(scores))
    with np.errstate(over="ignore"):
        assert not warned(results(scores - 1.7e308))


def test_scores_without_noise_do_not_divide_by_zero():
    scores = np.linspace(0, 1, 20)[:, None] * np.ones(5)
    assert not warned(results(scores))


def test_what_diverged_does_not_hide_it():
    """The noise of the worst candidates is not that of the winner."""
    rng = np.random.default_rng(1)
    scores = np.concatenate([0.05 * rng.normal(size=(200, 10)), -1e9 * rng.random((100, 10))])
    assert warned(results(scores))


def test_holes_are_left_out():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 10))
    mask = np.zeros_like(scores, dtype=bool)
    mask[5, 7:] = True
    holey = np.ma.array(scores, mask=mask)
    holey[6, 2] = np.nan
    holey[7] = np.nan
    holey[8, 0] = -np.inf
    whole = selection_bias(results(np.delete(scores, [5, 6, 7, 8], axis=0)))
    assert selection_bias(results(holey)) == whole
    assert whole.n_candidates == 36


def test_of_halving_the_last_iteration_counts():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 5))
    budgets = {"iter": np.repeat([0, 1], [30, 10]), "n_resources": np.repeat([10, 30], [30, 10])}
    assert selection_bias(results(scores, **budgets)) == selection_bias(results(scores[30:]))


@pytest.mark.parametrize("n_splits", [11, 100, 999])
def test_many_splits(n_splits):
    scores = np.random.default_rng(0).integers(0, 2, size=(20, n_splits)).astype(float)  # as of leave-one-out
    bias = selection_bias(results(scores))
    assert bias.n_splits == n_splits
    assert 0 < bias.optimism < 0.5


def test_a_metric_of_several_and_the_message():
    rng = np.random.default_rng(0)
    both = results(0.05 * rng.normal(size=(60, 10)), "auc") | results(np.ones((60, 10)), "f1")
    assert not warned(both, "f1")
    with pytest.warns(
        SelectionBiasWarning, match=r"best of 60 candidates has a mean test auc of .*nested_cv.*"
    ) as caught:
        warn_of_selection_bias(both, "auc")
    assert caught[0].filename == __file__
    bias = selection_bias(both, "auc")
    assert f"{bias.score:.4g}" in str(caught[0].message)
    assert f"{bias.corrected:.4g}" in str(caught[0].message)
    assert issubclass(SelectionBiasWarning, UserWarning)


def test_what_cannot_be_told():
    with pytest.raises(ValueError, match="there are 20 on 1;"):
        selection_bias(results(np.ones((20, 1))))
    with pytest.raises(ValueError, match="there are 0 on 5;"):
        selection_bias(results(np.full((20, 5), np.nan)))
    with pytest.raises(ValueError, match="no metric 'f1'; it has: score"):
        selection_bias(results(np.ones((20, 5))), "f1")
    assert not warned(results(np.full((20, 5), np.nan)))
    assert not warned(results(np.ones((20, 1))))


def test_of_a_search_of_scikit_learn():
    search = GridSearchCV(SVC(), {"C": np.logspace(-2, 2, 12)}, cv=5).fit(*load_iris(return_X_y=True))
    bias = selection_bias(search.cv_results_)
    assert bias.score == search.best_score_
    assert bias.n_candidates == 12
    assert bias.n_splits == 5


def test_candidates_that_are_equal_on_a_half_count_alike():
    """Whichever comes first, and whatever the rounding of their sums."""
    scores = np.random.default_rng(0).integers(12, 16, size=(40, 10)) / 15  # right answers of 15
    bias = selection_bias(results(scores))
    on_the_others = []
    for left_out in combinations(range(10), 5):
        sums = np.delete(np.rint(scores * 15), left_out, axis=1).sum(axis=1)
        on_the_others.append(scores[sums == sums.max()][:, left_out].mean())
    assert bias.corrected == pytest.approx(np.mean(on_the_others))
    assert selection_bias(results(scores[::-1])).corrected == pytest.approx(bias.corrected)
