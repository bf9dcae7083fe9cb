"""Fingerprints: the same for the same value, in every process, and another one for every other value."""

import functools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process.kernels import RBF
from sklearn.metrics import fbeta_score, make_scorer
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from whet.sklearn.fingerprints import digest, fingerprint

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "number": [1.5, np.nan, 3.0],
        "text": ["a", None, "c"],
        "kind": pd.Categorical(["u", "v", "u"]),
        "at": pd.to_datetime(["2020-01-01", "2020-01-02", None]).tz_localize("UTC"),
        "whole": pd.array([1, None, 3], dtype="Int64"),
    }
)


class Bare:
    pass


class Unordered:
    """Shows itself in the order of a set, as it comes."""

    def __repr__(self):
        return f"Unordered({ {'one', 'two', 'three'} }) at 0x{id(self):x}"


def doubled(x):
    return 2 * x


def made(factor):
    return lambda x: factor * x


def one_of_each():
    """Return pairs of a name and a value, made anew each time, all different."""
    table = np.arange(12.0).reshape(3, 4)
    return [
        ("floats", table),
        ("float32", table.astype(np.float32)),
        ("flat", table.ravel()),
        ("big endian", table.astype(">f8")),
        ("ints", table.astype(int)),
        ("bools", table > 3),
        ("empty", np.array([])),
        ("empty rows", np.empty((0, 4))),
        ("number", np.array(5)),
        ("text", np.array(["a", "bc"])),
        ("other text", np.array(["ab", "c"])),
        ("no text", np.array([], dtype="U1")),
        ("dates", np.array(["2020-01-01", "NaT"], dtype="M8[D]")),
        ("records", np.array([(1, 2.0)], dtype=[("a", int), ("b", float)])),
        ("mixed", np.array([1, "1", None, 2.5, (1, 2)], dtype=object)),
        ("mixed otherwise", np.array([1, 1, None, 2.5, (1, 2)], dtype=object)),
        ("masked", np.ma.array([1, 2], mask=[False, True])),
        ("masked otherwise", np.ma.array([1, 2], mask=[True, False])),
        ("csr", sparse.csr_matrix(table)),
        ("csr of another shape", sparse.csr_matrix(table.reshape(4, 3))),
        ("csc", sparse.csc_array(table)),
        ("coo", sparse.coo_matrix(table)),
        ("coo of one dimension", sparse.coo_array(table[0])),
        ("lil", sparse.lil_matrix(table)),
        ("dia", sparse.dia_matrix(np.eye(3))),
        ("frame", FRAME.copy()),
        ("frame by other names", FRAME.rename(columns={"number": "no"})),
        ("frame by other labels", FRAME.set_index(pd.Index([1, 2, 3]))),
        ("frame of other categories", FRAME.assign(kind=FRAME["kind"].cat.reorder_categories(["v", "u"]))),
        ("frame in another order", FRAME[["text", "number", "kind", "at", "whole"]]),
        ("series", FRAME["number"].copy()),
        ("index", pd.Index(["a", "b"])),
        ("nested index", pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        ("extension", pd.array([1, None], dtype="Int64")),
        ("rows", [[1, 2], [3, 4]]),
        ("rows of other lengths", [[1], [2, 3, 4]]),
        ("lists of texts", [["a", "b"], ["c"]]),
        ("texts", ["ab", "c"]),
        ("texts otherwise", ["a", "bc"]),
        ("tuple", ("ab", "c")),
        ("set", {"a", "b", "c"}),
        ("frozenset", frozenset("abc")),
        ("dict", {"a": 1, "b": [1, 2]}),
        ("dict otherwise", {"a": [1, 2], "b": 1}),
        ("none", None),
        ("true", True),
        ("one", 1),
        ("one as a float", 1.0),
        ("minus nothing", -0.0),
        ("nothing", 0.0),
        ("nan", float("nan")),
        ("bytes", b"ab"),
        ("slice", slice(1, 3)),
        ("date", np.datetime64("2020-01-01")),
        ("function", doubled),
        ("partial", functools.partial(doubled, 1)),
        ("partial otherwise", functools.partial(doubled, 2)),
        ("closure", made(2)),
        ("closure otherwise", made(3)),
        ("lambda", lambda x: x + 1),
        ("lambda otherwise", lambda x: x + 2),
        ("set in code", lambda x: x in {"a", "b", "c"}),
        ("ufunc", np.abs),
        ("numpy's", np.mean),
        ("builtin", len),
        ("class", SVC),
        ("object", Bare()),
        ("unordered", Unordered()),
        ("state", np.random.RandomState(0)),
        ("other state", np.random.RandomState(1)),
        ("generator", np.random.default_rng(0)),
        ("scorer", make_scorer(fbeta_score, beta=2)),
        ("scorer otherwise", make_scorer(fbeta_score, beta=3)),
        ("kernel", RBF(1.0)),
        ("kernel otherwise", RBF(2.0)),
        ("splitter", KFold(3)),
        ("estimator", SVC()),
        ("estimator otherwise", SVC(C=2)),
        ("pipeline", make_pipeline(StandardScaler(), SVC())),
        ("pipeline otherwise", make_pipeline(StandardScaler(), SVC(C=2))),
        ("words", TfidfVectorizer(stop_words=["a", "b"], vocabulary={"x": 0, "y": 1})),
        ("columns", ColumnTransformer([("a", StandardScaler(), ["x", "y"])])),
        ("votes", VotingClassifier([("a", SVC()), ("b", SVC(C=3))])),
        ("transformer", FunctionTransformer(doubled)),
    ]


def test_equal_values_are_equal_and_all_others_differ():
    digests = {name: digest(value) for name, value in one_of_each()}
    assert digests == {name: digest(value) for name, value in one_of_each()}
    assert len(set(digests.values())) == len(digests)


def test_another_process_comes_to_the_same(tmp_path):
    script = tmp_path / "script.py"  # by its path, as people run it: its own functions are in __main__
    script.write_text(
        textwrap.dedent("""
        from tests.sklearn.test_fingerprints import one_of_each
        from whet.sklearn.fingerprints import digest
        own = {"x", "y", "z"}
        print([digest(value) for _, value in one_of_each()] + [digest(lambda a: a in {"x", "y", "z"} or own)])
        """)
    )
    said = {
        subprocess.run(
            [sys.executable, script],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert str([digest(value) for _, value in one_of_each()])[:-1] in said.pop()


@pytest.mark.parametrize("shape", [(7, 5), (1, 3), (300, 2, 3), (4, 0)])
def test_how_an_array_lies_in_memory_does_not_matter(shape):
    array = RNG.normal(size=shape)
    wide = np.zeros((shape[0] * 2, *shape[1:]))
    wide[::2] = array
    spread = wide[::2]
    readonly = array.copy()
    readonly.flags.writeable = False
    for same in (np.asfortranarray(array), spread, readonly, np.array(array, subok=True)):
        assert digest(same) == digest(array)


def test_a_large_array_that_is_not_contiguous():
    array = RNG.normal(size=(1 << 19, 3))
    assert digest(np.asfortranarray(array)) == digest(array)
    changed = np.asfortranarray(array)
    changed[-1, -1] += 1
    assert digest(changed) != digest(array)


def test_a_file_that_is_mapped_is_the_array_in_it(tmp_path):
    array = RNG.normal(size=(10, 3))
    np.save(tmp_path / "x.npy", array)
    assert digest(np.load(tmp_path / "x.npy", mmap_mode="r")) == digest(array)


def test_numpys_numbers_are_pythons():
    assert digest({"C": np.float64(2), "n": np.int64(3)}) == digest({"n": 3, "C": 2.0})


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(_values, _values)
def test_plain_values_are_told_apart_by_what_they_are(one, other):
    def sorted_(value):
        if isinstance(value, dict):
            return {key: sorted_(value[key]) for key in sorted(value)}
        return list(map(sorted_, value)) if isinstance(value, list) else value

    assert (digest(one) == digest(other)) == (repr(sorted_(one)) == repr(sorted_(other)))


@pytest.mark.parametrize("kind", [list, dict])
def test_what_holds_itself(kind):
    value = kind()
    value.append(value) if kind is list else value.update(me=value)
    assert digest(value) == digest(value)


def test_a_function_that_calls_itself():
    def own(n):
        return own(n - 1) if n else 0

    assert digest(own) == digest(own)


class Hostile:
    """Raises whatever is asked of it."""

    def __repr__(self):
        raise RuntimeError("no")

    def __array__(self, *_, **__):
        raise RuntimeError("no")

    def get_params(self, deep=True):
        raise RuntimeError("no")


def test_an_object_that_raises_counts_by_its_class():
    assert digest(Hostile()) == digest(Hostile()) != digest(Bare())


# ---- of a search
X = RNG.normal(size=(20, 3))
Y = np.arange(20) % 2
SPLITS = list(KFold(2).split(X))


def parts(search=None, X=X, y=Y, params=None, splits=SPLITS):
    return fingerprint(search or GridSearchCV(SVC(), {"C": [1]}), X, y, params or {}, splits)


def changed(**others):
    before, after = parts(), parts(**others)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.mark.parametrize(
    ("others", "names"),
    [
        ({"X": X + 1}, {"X"}),
        ({"X": pd.DataFrame(X)}, {"X"}),
        ({"y": Y[::-1]}, {"y"}),
        ({"y": None}, {"y"}),
        ({"params": {"sample_weight": Y}}, {"sample_weight (given to fit)"}),
        ({"splits": list(KFold(3).split(X))}, {"splits"}),
        ({"search": GridSearchCV(SVC(C=3), {"C": [1]})}, {"C of the estimator"}),
        ({"search": GridSearchCV(SVC(), {"C": [1]}, scoring="f1")}, {"scoring"}),
        ({"search": GridSearchCV(SVC(), {"C": [1]}, return_train_score=True)}, {"return_train_score"}),
        ({"search": GridSearchCV(SVC(), {"C": [1]}, error_score=0)}, {"error_score"}),
        # What changes nothing of the fits, or is compared otherwise.
        ({"search": GridSearchCV(SVC(verbose=1), {"C": [2]}, n_jobs=2, cv=7, refit=False, verbose=3)}, set()),
    ],
)
def test_a_change_is_known_by_its_name(others, names):
    assert changed(**others) == names


def test_what_is_in_an_estimator_has_names_of_its_own():
    one, other = (
        parts(GridSearchCV(make_pipeline(StandardScaler(), RandomForestClassifier(n)), {"C": [1]})) for n in (5, 6)
    )
    differing = {name for name in one if one[name] != other[name]}
    assert differing == {"steps of the estimator", "randomforestclassifier__n_estimators of the estimator"}
