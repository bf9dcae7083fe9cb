"""Which prefixes candidates share, and the order of fits that makes use of it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from whet.sklearn.kept import Cache, Memory
from whet.sklearn.plans import plan

PIPELINE = Pipeline([("scale", StandardScaler()), ("pca", PCA(random_state=0)), ("last", LogisticRegression())])
CACHE = Cache(Memory("token", 1000), "token")


def lengths(caches):
    return [[prefix.length for prefix in cache.worth(set())] for cache in caches]


def n_uses(caches):
    return [[prefix.n_uses for prefix in cache.prefixes] for cache in caches]


def test_candidates_share_the_steps_they_agree_on():
    grid = list(
        ParameterGrid({"scale__with_mean": [True, False], "pca__n_components": [2, 3], "last__C": [1.0, 2.0, 3.0]})
    )
    caches = plan(PIPELINE, grid, 3, CACHE).caches
    assert n_uses(caches) == [[6, 3]] * 12
    assert lengths(caches) == [[1, 2]] * 12
    assert len({prefix.key for cache in caches for prefix in cache.prefixes}) == 2 + 4


def test_equal_values_are_the_same_and_defaults_too():
    candidates = [
        {},
        {"scale": StandardScaler()},
        {"scale__with_mean": True},
        {"scale": MinMaxScaler()},
        {"last": Ridge()},
    ]
    assert n_uses(plan(PIPELINE, candidates, 2, CACHE).caches) == [[4, 4], [4, 4], [4, 4], [1, 1], [4, 4]]


def test_other_data_have_other_keys():
    other = Cache(Memory("other", 1000), "other")
    keys = [{prefix.key for prefix in plan(PIPELINE, [{}], 2, of).caches[0].prefixes} for of in (CACHE, other)]
    assert not keys[0] & keys[1]


def test_nothing_is_shared_by_distributions():
    drawn = [{"scale__copy": True, "pca__n_components": share} for share in np.linspace(0.1, 0.9, 7)]
    assert lengths(plan(PIPELINE, drawn, 2, CACHE).caches) == [[1]] * 7
    assert lengths(plan(PIPELINE, [{"pca__n_components": 0.5}], 2, CACHE).caches) == [[]]
    assert lengths(plan(PIPELINE, [{"pca__n_components": 0.5}], 2, CACHE, more_follow=True).caches) == [[1, 2]]


@pytest.mark.parametrize(
    "candidate",
    [
        {"no__such": 1},
        {"scale": 3},
        {"scale": StandardScaler},
        {"steps": "nonsense"},
        {"memory": "somewhere"},
        {"last": 5},
    ],
)
def test_strange_candidates_are_for_their_fits_to_refuse(candidate):
    caches = plan(PIPELINE, [candidate, {}, {}], 2, CACHE).caches
    assert n_uses(caches)[1:] == [[2, 2]] * 2 or candidate == {"last": 5}
    assert candidate == {"last": 5} or not caches[0].prefixes


def test_generators_end_a_prefix():
    pipeline = Pipeline(
        [("scale", StandardScaler()), ("pca", PCA(random_state=np.random.RandomState(0))), ("last", Ridge())]
    )
    assert n_uses(plan(pipeline, [{}, {}], 2, CACHE).caches) == [[2]] * 2


@pytest.mark.parametrize("n_workers", [1, 2, 3, 8])
@pytest.mark.parametrize("n_splits", [1, 2, 5])
def test_every_fit_once(n_workers, n_splits):
    grid = list(
        ParameterGrid({"scale__with_mean": [True, False], "last__C": [1.0, 2.0, 3.0], "pca__n_components": [2, 3]})
    )
    for candidates in (grid, grid[:1], grid[:5], [*grid, {"no__such": 1}], []):
        order = plan(
            PIPELINE.set_params(last__random_state=0), candidates, n_splits, replace(CACHE, n_workers=n_workers)
        ).order
        assert sorted(order) == list(itertools.product(range(len(candidates)), range(n_splits)))


@pytest.mark.parametrize("n_workers", [2, 3])
def test_the_first_fit_of_a_prefix_is_over_before_the_others(n_workers):
    """With fits that take one unit of time and prefixes that take eight, hardly a prefix is fitted twice."""
    grid = list(ParameterGrid({"last__C": np.arange(1.0, 13.0), "pca__n_components": [2, 3, 4, 5]}))
    planned = plan(PIPELINE, grid, 5, replace(CACHE, n_workers=n_workers))
    keys = [cache.prefixes[-1].key for cache in planned.caches]
    free, ready, n_fitted = [0.0] * n_workers, {}, 0
    for candidate, split in planned.order:
        worker = free.index(min(free))
        begins, what = free[worker], (keys[candidate], split)
        if begins >= ready.get(what, np.inf):
            free[worker] += 1
        else:
            n_fitted += 1
            free[worker] += 1 + 8
            ready[what] = min(ready.get(what, np.inf), begins + 8)
    assert n_fitted == 20
    assert max(free) - min(free) <= 10


def test_with_one_worker_few_prefixes_are_kept_at_a_time():
    grid = list(ParameterGrid({"last__C": [1.0, 2.0, 3.0], "scale__with_mean": [True, False]}))
    order = plan(PIPELINE.set_params(last__random_state=0), grid, 2, CACHE).order
    assert order[:3] == [(0, 0), (2, 0), (4, 0)]
    assert order[3:6] == [(0, 1), (2, 1), (4, 1)]


def test_what_may_draw_keeps_its_turn():
    pipeline = make_pipeline(StandardScaler(), PCA(), Ridge())
    grid = list(ParameterGrid({"ridge__alpha": [1.0, 2.0], "standardscaler__with_mean": [True, False]}))
    in_turn = list(itertools.product(range(4), range(3)))
    assert plan(pipeline, grid, 3, CACHE).order == in_turn
    assert plan(pipeline, grid, 3, replace(CACHE, n_workers=2)).order != in_turn
    assert plan(pipeline.set_params(pca__random_state=0, ridge__random_state=1), grid, 3, CACHE).order != in_turn
    swapped = [*grid, {"standardscaler": PCA()}]
    assert plan(pipeline, swapped, 3, CACHE).order == list(itertools.product(range(5), range(3)))


@pytest.mark.parametrize("estimator", [Ridge(), Pipeline([("a", TfidfVectorizer()), ("b", Ridge())], memory="here")])
def test_other_estimators_share_nothing(estimator):
    planned = plan(estimator, [{}, {}], 2, CACHE)
    assert planned.caches == (None, None)
    assert planned.order == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert plan(PIPELINE, [{}, {}], 2, None) == planned
