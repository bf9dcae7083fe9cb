"""Digests by value: alike where fits are alike, and never where somebody might see a difference."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from joblib import Parallel, delayed
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.callback import ProgressBar
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from whet.sklearn.likeness import Unsure, digest, may_draw

FIRST, SECOND = np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3) + 1


def split_words(text):
    return text.split()


class Own(BaseEstimator):
    def __init__(self, value=None):
        self.value = value


DIFFERENT = [
    None, True, 1, 1.0, "1", b"1", np.int64(1), np.float32(1), np.float64(1), 0.0, -0.0, float("nan"), 10**40,
    (), [], {}, set(), (1,), [1], {1}, frozenset([1]), {1: 2}, (1, (2,)), ((1, 2),), ("ab", "c"), ("a", "bc"),
    range(3), slice(3), ..., np.arange(3), np.arange(3.0), np.zeros((2, 3)), np.zeros((3, 2)),
    np.asfortranarray(np.zeros((2, 3))), np.array(["a", None], dtype=object), np.datetime64("2020-01-01"),
    StandardScaler(), StandardScaler(with_mean=False), StandardScaler().set_output(transform="pandas"),
    PCA(2), PCA(2.0), CountVectorizer(), TfidfVectorizer(), TfidfVectorizer(tokenizer=split_words),
    TfidfVectorizer(tokenizer=str.split), make_pipeline(PCA(2)), make_pipeline(StandardScaler(), PCA(2)),
    FunctionTransformer(lambda X: X + 1), FunctionTransformer(lambda X: X + 2), FunctionTransformer(np.log),
    FrozenEstimator(StandardScaler().fit(FIRST)), FrozenEstimator(StandardScaler().fit(SECOND)),
    ColumnTransformer([("a", SimpleImputer(), [0])]), ColumnTransformer([("a", SimpleImputer(), [1])]),
    Own(), Own(1), Own(Own(1)), int, float, StandardScaler, len, np.exp, functools.partial(max, 1),
    functools.partial(max, 2), sparse.eye_array(2, format="csr"), sparse.eye_array(3, format="csr"),
]  # fmt: skip


def test_different_values_have_different_digests():
    digests = [digest(value) for value in DIFFERENT]
    same = [pair for pair in itertools.combinations(range(len(DIFFERENT)), 2) if digests[pair[0]] == digests[pair[1]]]
    assert [(DIFFERENT[a], DIFFERENT[b]) for a, b in same] == []


@pytest.mark.parametrize("value", DIFFERENT, ids=lambda value: type(value).__name__)
def test_a_copy_has_the_same_digest(value):
    assert digest(clone(value, safe=False)) == digest(value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, VALUES)
def test_digests_are_alike_exactly_where_values_read_alike(one, other):
    assert (digest(one) == digest(other)) == (repr(one) == repr(other))


@pytest.mark.parametrize("generator", [np.random.RandomState(0), np.random.default_rng(0), np.random.PCG64(0)])
def test_generators_are_unsure(generator):
    with pytest.raises(Unsure, match="random numbers"):
        digest(PCA(random_state=generator))
    with pytest.raises(Unsure):
        digest([{"state": (generator,)}])


def test_what_cannot_be_pickled_is_unsure():
    with pytest.raises(Unsure, match="generator"):
        digest(Own(one for one in "ab"))


def test_what_was_learned_does_not_count():
    assert digest(StandardScaler().fit(FIRST)) == digest(StandardScaler())


def test_requests_of_metadata_count():
    with sklearn.config_context(enable_metadata_routing=True):
        assert digest(StandardScaler().set_fit_request(sample_weight=True)) != digest(StandardScaler())


def test_callbacks_are_unsure():
    watched = make_pipeline(StandardScaler(), LogisticRegression()).set_callbacks(ProgressBar())
    with pytest.raises(Unsure, match="Callbacks"):
        digest(ColumnTransformer([("a", watched, [0])]))


def test_sets_have_no_order():
    names = {f"name {i}" for i in range(50)}
    others = set()
    for name in sorted(names, reverse=True):
        others.add(name)
    assert digest(names) == digest(others)


@pytest.mark.slow
def test_digests_are_the_same_in_other_processes():
    values = [TfidfVectorizer(tokenizer=split_words), FunctionTransformer(lambda X: X + 1), PCA(2), {"a", "b", "c"}]
    ours = [digest(value) for value in values]
    assert Parallel(n_jobs=2)(delayed(digest)(value) for value in values) == ours


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (StandardScaler(), False),
        (PCA(), True),
        (PCA(random_state=0), False),
        (make_pipeline(StandardScaler(), make_pipeline(PCA())), True),
        (Own(), True),
        (FunctionTransformer(split_words), True),
        (FunctionTransformer(np.log), False),
        (TfidfVectorizer(tokenizer=lambda text: text.split()), True),
        (1.0, False),
        (PCA, False),
    ],
)
def test_what_may_draw(value, expected):
    assert may_draw(value) is expected
