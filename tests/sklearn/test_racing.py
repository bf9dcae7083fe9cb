"""Racing: which fits are done, which candidates stop, and how that is told in ``cv_results_``."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import SVC

from whet.sklearn.racing import Race, masked

K = 10
SCORES = st.integers(1, 12).flatmap(
    lambda m: arrays(
        float,
        (m, K),
        elements=st.one_of(
            st.integers(0, 10).map(lambda n: n / 10), st.sampled_from([np.nan, -np.inf, np.inf, 1e308, -1e308])
        ),
    )
)


def raced(scores, batch=None, shuffled=None):
    """Return the race of candidates with *scores*, (m, n_splits), so many at a time."""
    m, n_splits = scores.shape
    race = Race(n_splits)
    for first in range(0, m, batch or m):
        race.add(min(batch or m, m - first))
        while wanted := race.next():
            assert not any(race.ran[pair] for pair in wanted)
            if shuffled is not None:
                shuffled.shuffle(wanted)
            for candidate, split in wanted:
                race.note(candidate, split, scores[candidate, split])
    return race


def winner_of(scores):
    with np.errstate(invalid="ignore", over="ignore"):
        means = scores.mean(axis=1)
    return int(np.argmax(np.where(np.isnan(means), -np.inf, means)))


def drawn(seed, m=30, spread=1.0):
    rng = np.random.default_rng(seed)
    return spread * rng.normal(size=(m, 1)) + rng.normal(size=K) + 0.5 * rng.normal(size=(m, K))


@settings(deadline=None)
@given(SCORES, st.sampled_from([None, 1, 3]))
def test_all_that_is_not_stopped_is_complete_and_somebody_is(scores, batch):
    race = raced(scores, batch)
    n_run = race.ran.sum(axis=1)
    assert [race.ran[one, : n_run[one]].all() for one in range(len(scores))] == [True] * len(scores)
    assert (n_run >= 2).all()
    assert (n_run == K).any()
    assert race.stopped.keys() == set(np.flatnonzero(n_run < K))
    assert race.next() == []


@settings(deadline=None)
@given(SCORES, st.randoms(use_true_random=False))
def test_it_does_not_matter_which_fit_ends_first(scores, order):
    assert raced(scores, shuffled=order).stopped == raced(scores).stopped


@settings(deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_nor_in_which_order_candidates_come_where_none_are_equal(seed, random_order):
    scores = drawn(seed, 9)
    order = list(range(9))
    random_order.shuffle(order)
    stopped = raced(scores).stopped
    assert raced(scores[order]).stopped == {order.index(one): why for one, why in stopped.items()}


def test_what_is_clearly_worse_stops_early_and_the_winner_wins():
    n_fits = n_same = 0
    for seed in range(20):
        scores = drawn(seed)
        race = raced(scores)
        complete = np.flatnonzero(race.ran.all(axis=1))
        n_fits += race.ran.sum()
        n_same += complete[np.argmax(scores[complete].mean(axis=1))] == winner_of(scores)
    assert n_same >= 17
    assert n_fits / (20 * 30 * K) < 0.4
    assert set(race.stopped.values()) <= {f"unlikely to win after {n} of 10 splits" for n in range(2, K)}


@pytest.mark.parametrize("batch", [1, 4, 10])
def test_batches_race_against_the_best_before_them(batch):
    scores = drawn(3, spread=3.0)
    scores[0] += 50  # nobody comes near the first one
    race = raced(scores, batch)
    later = race.ran[batch:].sum(axis=1)
    assert race.ran[0].all()
    assert (later <= 4).all()


def test_the_best_before_them_is_the_best_of_all_before():
    scores = np.linspace(0, 1, K) + np.array([[5.0], [9.0], [4.0], [7.0]])
    scores += 0.01 * np.random.default_rng(0).normal(size=scores.shape)
    race = raced(scores, 1)
    assert race.ran.sum(axis=1)[:2].tolist() == [K, K]
    assert race.ran.sum(axis=1)[3] < 6


def test_one_that_is_alone_is_fitted_on_all_splits_at_once():
    race = Race(5)
    race.add(1)
    assert race.next() == [(0, split) for split in range(5)]


@pytest.mark.parametrize("n_splits", [1, 2])
def test_where_there_is_no_split_to_skip_all_are_done(n_splits):
    scores = np.arange(6.0)[:, None] + np.zeros(n_splits)
    assert raced(scores).ran.all()


def test_all_are_fitted_on_the_same_splits_before_any_is_judged():
    race = Race(3)
    race.add(2)
    assert race.next() == [(0, 0), (1, 0), (0, 1), (1, 1)]
    race.note(0, 0, 1.0)
    with pytest.raises(AssertionError, match="not done"):
        race.next()


@pytest.mark.parametrize("failure", [np.nan, -np.inf])
def test_one_that_failed_is_out(failure):
    scores = drawn(0, 5)
    scores[2, 1] = failure
    scores[4, K - 1] = failure
    race = raced(scores)
    assert race.stopped[2] == "failed within the first 2 of 10 splits"
    assert race.ran[2].sum() == 2


def test_one_that_failed_on_the_last_split_is_nobodys_opponent():
    scores = np.random.default_rng(0).normal(size=(2, K))
    scores[0] += 100
    scores[0, K - 1] = np.nan
    assert raced(scores, batch=1).ran.all()


def test_where_all_fail_the_first_is_complete():
    race = raced(np.full((4, K), np.nan))
    assert race.ran.sum(axis=1).tolist() == [K, 2, 2, 2]


def test_infinite_scores_win():
    scores = drawn(0, 6)
    scores[3, 0] = np.inf
    assert 3 not in raced(scores).stopped


def test_a_real_search_has_the_same_winner():
    X, y = load_iris(return_X_y=True)
    candidates = [SVC(C=C, gamma=gamma) for C in (0.01, 0.3, 3.0, 100.0) for gamma in (1e-4, 0.01, 1.0, 30.0)]
    scores = np.array([cross_val_score(one, X, y, cv=K) for one in candidates])
    race = raced(scores)
    complete = np.flatnonzero(race.ran.all(axis=1))
    assert complete[np.argmax(scores[complete].mean(axis=1))] == winner_of(scores)
    assert race.ran.mean() < 0.6


def results_of(test, train=None, times=None, ran=None, stopped=None):
    """Return the results of a race; *test* are scores by metric, each (n_candidates, n_splits)."""
    shape = next(iter(test.values())).shape
    ran = np.ones(shape, bool) if ran is None else ran
    times = times or {"fit_time": np.ones(shape), "score_time": np.ones(shape)}

    def scored(by_metric, at):
        values = {name: float(np.where(ran, scores, np.nan)[at]) for name, scores in by_metric.items()}
        return values["score"] if list(values) == ["score"] else values

    def outcome(at):
        return {
            "test_scores": scored(test, at),
            **({"train_scores": scored(train, at)} if train else {}),
            **{name: float(np.where(ran, values, np.nan)[at]) for name, values in times.items()},
        }

    search = GridSearchCV(SVC(), {"C": [1.0]}, return_train_score=train is not None)
    params = [{"C": float(number)} for number in range(shape[0])]
    outcomes = [outcome((one, split)) for one in range(shape[0]) for split in range(shape[1])]

    def formatted():
        return search._format_results(params, shape[1], outcomes)

    return formatted, masked(formatted, ran, times, stopped or {})


def test_where_all_is_done_the_results_are_those_of_scikit_learn_but_masked():
    rng = np.random.default_rng(0)
    test, train = ({name: rng.integers(0, 5, (6, 3)) / 5 for name in ("accuracy", "loss")} for _ in range(2))
    formatted, results = results_of(test, train)
    theirs = formatted()
    assert list(results) == [*theirs, "n_splits_run", "stopped"]
    for name, values in theirs.items():
        np.testing.assert_array_equal(results[name], values, err_msg=name)
        if isinstance(values, np.ndarray):
            assert results[name].dtype == values.dtype
        if name.startswith("split"):
            assert isinstance(results[name], np.ma.MaskedArray)
            assert np.ma.getmaskarray(results[name]).sum() == 0
    assert results["n_splits_run"].tolist() == [3] * 6
    assert results["stopped"].tolist() == [""] * 6


RAN = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 0]], bool)
TEST = np.array([[0.5, 0.6, 0.7], [0.9, 0.8, 0.0], [0.7, 0.8, 0.9], [1.0, 0.0, 0.0], [0.3, 0.1, 0.0]])


def test_skipped_splits_are_masked_and_means_are_of_the_others():
    times = {"fit_time": np.arange(15.0).reshape(5, 3), "score_time": np.ones((5, 3))}
    why = "unlikely to win after 2 of 3 splits"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, results = results_of({"score": TEST}, {"score": TEST / 2}, times, RAN, {1: why})
    for kind, scores in ("test", TEST), ("train", TEST / 2):
        for split in range(3):
            column = results[f"split{split}_{kind}_score"]
            assert np.ma.getmaskarray(column).tolist() == (~RAN[:, split]).tolist()
            assert column.compressed().tolist() == scores[RAN[:, split], split].tolist()
        means = [scores[one, RAN[one]].mean() for one in range(5)]
        stds = [scores[one, RAN[one]].std() for one in range(5)]
        assert results[f"mean_{kind}_score"] == pytest.approx(means)
        assert results[f"std_{kind}_score"] == pytest.approx(stds)
    assert results["mean_fit_time"].tolist() == [1.0, 3.5, 7.0, 9.0, 12.5]
    assert results["std_fit_time"] == pytest.approx([np.std([0, 1, 2]), 0.5, np.std([0, 1, 2]), 0.0, 0.5])
    assert not any(isinstance(results[f"mean_{name}"], np.ma.MaskedArray) for name in ("fit_time", "test_score"))
    assert results["n_splits_run"].tolist() == [3, 2, 3, 1, 2]
    assert results["stopped"].tolist() == ["", why, "", "", ""]


def test_the_complete_rank_first_then_by_splits_done_then_by_mean():
    _, results = results_of({"score": TEST}, ran=RAN)
    assert results["rank_test_score"].tolist() == [2, 3, 1, 5, 4]
    assert results["rank_test_score"].dtype == np.int32


def test_equal_candidates_share_a_rank():
    _, results = results_of(
        {"score": np.array([[0.5, 0.5], [0.5, 0.0], [0.5, 0.5], [0.5, 0.0]])}, ran=RAN[[0, 3, 0, 3], :2]
    )
    assert results["rank_test_score"].tolist() == [1, 3, 1, 3]


def test_failed_fits_are_not_masked_and_rank_last_and_are_warned_of():
    test = TEST.copy()
    test[0, 1] = test[1, 0] = np.nan
    with pytest.warns(UserWarning, match=r"test scores are non-finite: \[nan nan 0\.8") as caught:
        _, results = results_of({"score": test}, ran=RAN)
    assert len(caught) == 1
    assert results["rank_test_score"].tolist() == [4, 4, 1, 3, 2]
    assert np.isnan(results["split1_test_score"][0])
    assert results["split1_test_score"][0] is not np.ma.masked
    assert np.isnan(results["mean_test_score"][[0, 1]]).all()


def test_where_all_failed_all_rank_first():
    with pytest.warns(UserWarning, match="non-finite"):
        _, results = results_of({"score": np.full((3, 3), np.nan)}, ran=RAN[:3])
    assert results["rank_test_score"].tolist() == [1, 1, 1]


def test_other_warnings_come_through():
    def formatted():
        warnings.warn("something else", UserWarning, stacklevel=1)
        return {}

    with pytest.warns(UserWarning, match="something else"):
        masked(formatted, np.ones((1, 2), bool), {}, {})


def test_the_best_index_is_the_winner_of_the_race():
    for seed in range(10):
        scores = drawn(seed)
        race = raced(scores)
        _, results = results_of({"score": scores}, ran=race.ran, stopped=race.stopped)
        complete = np.flatnonzero(race.ran.all(axis=1))
        best = int(results["rank_test_score"].argmin())
        assert best == complete[np.argmax(scores[complete].mean(axis=1))]
        assert results["stopped"][best] == ""
