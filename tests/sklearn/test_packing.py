"""Packed values come back the same, with the same order in memory, and belong to who unpacked them."""

from __future__ import annotations

import os
from threading import Lock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import sparse
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from whet.sklearn.packing import Unpackable, fingerprint, pack_estimators, pack_table, read, sweep, write

RNG = np.random.default_rng(0)
TABLES = {
    "C": RNG.normal(size=(5, 3)),
    "F": np.asfortranarray(RNG.normal(size=(5, 3))),
    "empty": np.empty((0, 4)),
    "objects": np.array([["a", None], [1.5, ("b",)]], dtype=object),
    "text": np.array(["one", "three"]),
    "csr": sparse.random_array((6, 5), density=0.4, format="csr", rng=RNG),
    "csc": sparse.csc_matrix(np.eye(3)),
    "coo": sparse.coo_array(np.eye(3)),
    "frame": pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None], "c": pd.Categorical(["u", "v"])}, index=[5, 3]),
    "frame of an array": pd.DataFrame(np.asfortranarray(RNG.normal(size=(5, 3)))),
    "series": pd.Series([1, 2], name="n"),
    "list": ["one", "two", "ütf", "\ud800"],
}


def parts_of(value):
    if sparse.issparse(value):
        return [getattr(value, name) for name in ("data", "indices", "indptr", "coords") if hasattr(value, name)]
    if isinstance(value, pd.DataFrame):
        return [value.select_dtypes("number").to_numpy()]
    return [value] if isinstance(value, np.ndarray) else []


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other)
    else:
        np.testing.assert_equal(*(value.toarray() if sparse.issparse(value) else value for value in (one, other)))
    for mine, theirs in zip(parts_of(one), parts_of(other), strict=True):
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype
            assert mine.strides == theirs.strides or not mine.size


@pytest.mark.parametrize("kind", TABLES)
def test_tables_come_back_the_same(kind, tmp_path):
    packed = pack_table(TABLES[kind])
    assert_same(packed.copied().value(), TABLES[kind])
    write(packed, tmp_path / "file")
    assert_same(read(tmp_path / "file").value(), TABLES[kind])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@given(npst.arrays(npst.scalar_dtypes(), npst.array_shapes(max_dims=3, min_side=0), fill=st.nothing()))
def test_arrays_come_back_the_same(array):
    if not array.dtype.isnative:
        with pytest.raises(Unpackable):
            pack_table(array)
        return
    back = pack_table(array).value()
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_each_reader_has_arrays_of_its_own(tmp_path):
    array = np.arange(5000.0)
    packed = pack_table(array).copied()
    write(packed, tmp_path / "file")
    for reading in (packed.value, lambda: read(tmp_path / "file").value()):
        first = reading()
        first[:] = -1
        np.testing.assert_array_equal(reading(), array)
    array[:] = -2
    assert packed.value()[1] == 1


@pytest.mark.parametrize("value", [np.zeros((6, 6))[::2, ::2], np.ma.masked_array([1, 2]), {"a": 1}, 5, [Lock()]])
def test_what_would_not_come_back_the_same(value):
    with pytest.raises(Unpackable):
        pack_table(value)


def test_estimators():
    X = RNG.normal(size=(5, 3))
    scaler, plus = pack_estimators([StandardScaler().fit(X), FunctionTransformer(lambda X: X + 1)]).copied().value()
    np.testing.assert_array_equal(plus.transform(scaler.transform(X)), StandardScaler().fit_transform(X) + 1)
    with pytest.raises(Unpackable):
        pack_estimators([FunctionTransformer(one for one in "ab")])


@pytest.mark.parametrize("n_left", [0, 3, 8, 15, 16, 30, 100, 200])
def test_a_file_that_is_not_whole_is_none(n_left, tmp_path):
    path = tmp_path / "file"
    write(pack_table(np.arange(30.0)), path)
    path.write_bytes(path.read_bytes()[:n_left])
    assert read(path) is None


def test_drafts_of_the_dead_are_swept(tmp_path):
    kept, old, new = (tmp_path / name for name in ("abc-fit", ".abc-fit-1", ".abc-fit-2"))
    for path in (kept, old, new):
        path.write_bytes(b"x")
    for path in (kept, old):
        os.utime(path, (0, 0))
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {kept, new}
    sweep(tmp_path / "missing")


def test_no_file_is_none(tmp_path):
    assert read(tmp_path / "no" / "file") is None
    with pytest.raises(OSError, match="no"):
        write(pack_table(np.arange(3)), tmp_path / "no" / "file")


@pytest.mark.parametrize("kind", ["C", "F", "objects", "csr", "coo", "frame", "list"])
def test_fingerprints_show_a_change(kind):
    value = TABLES[kind].copy()
    before = fingerprint(value, None)
    if sparse.issparse(value):
        assert getattr(value, "has_sorted_indices", True) in (True, False)  # what SciPy notes for itself is no change
    assert fingerprint(value, None) == before is not None
    if kind == "frame":
        value.loc[5, "a"] = 7.0
    elif kind == "list":
        value[1] = "TWO"
    elif sparse.issparse(value):
        value.data[0] += 1
    else:
        value[1, 1] = 9.0
    assert fingerprint(value, None) != before
    assert fingerprint(one for one in "ab") is None
