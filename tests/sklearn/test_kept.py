"""Where outcomes are kept: within bounds, and gone when the search is over."""

from __future__ import annotations

import os
import pickle
import shutil
from collections import namedtuple

import joblib
import numpy as np
import pytest
import sklearn

from whet.sklearn.kept import Cache, Folder, Memory, Prefix, opened
from whet.sklearn.packing import pack_table


def packed(n):
    return pack_table(np.full(n, 1.0))


def n_bytes(n):
    return packed(n).n_bytes


def test_what_was_not_used_for_longest_goes_first():
    memory = Memory("t", 3 * n_bytes(100))
    for name in "abc":
        memory.put(name, packed(100))
    memory.get("a")
    memory.put("d", packed(100))
    assert [name for name in "abcd" if memory.get(name) is not None] == ["a", "c", "d"]
    assert memory.n_kept_bytes <= memory.n_bytes
    memory.put("huge", packed(1000))
    assert memory.get("huge") is None
    assert [name for name in "abcd" if memory.get(name) is not None] == ["a", "c", "d"]
    memory.put("a", packed(50))
    assert memory.n_kept_bytes == 2 * n_bytes(100) + n_bytes(50)


def test_after_the_last_use_it_goes():
    memory = Memory("t", 10**6)
    for name in ("fit", "test", "other"):
        memory.put(name, packed(10))
    for n_used in range(3):
        assert memory.get("fit") is not None, n_used
        memory.used(("fit", "test", "train"), 3)
    assert [memory.get(name) for name in ("fit", "test", "train")] == [None] * 3
    assert memory.get("other") is not None


def test_a_memory_that_is_sent_is_one_for_the_search():
    data = pickle.dumps(Memory("search", 1000))
    first, second = pickle.loads(data), pickle.loads(data)
    assert first is second
    assert pickle.loads(pickle.dumps(Memory("another", 1000))) is not first


def test_a_folder_that_is_gone_or_full_keeps_nothing(tmp_path, monkeypatch):
    gone = Folder(tmp_path / "gone")
    gone.put("a", packed(10))
    assert gone.get("a") is None
    folder = Folder(tmp_path)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 1000, 1000))
    folder.put("a", packed(10))
    assert folder.get("a") is None
    monkeypatch.undo()
    folder.put("a", packed(10))
    np.testing.assert_array_equal(folder.get("a").value(), np.ones(10))


def uses(*numbers, outlives=False):
    prefixes = tuple(Prefix(length, f"key {length}", n) for length, n in enumerate(numbers, 1))
    return Cache(Memory("t", 1), "t", outlives, 1, prefixes)


@pytest.mark.parametrize(
    ("cache", "lengths"),
    [
        (uses(4, 4, 4), [3]),
        (uses(12, 4, 4), [1, 3]),
        (uses(12, 4, 1), [1, 2]),
        (uses(1, 1), []),
        (uses(1, 1, outlives=True), [2]),
        (uses(6, 1, outlives=True), [1, 2]),
        (uses(None, None), [1, 2]),
        (uses(), []),
    ],
)
def test_which_prefixes_are_worth_keeping(cache, lengths):
    assert [prefix.length for prefix in cache.worth(set())] == lengths


def test_shorter_prefixes_take_the_place_of_one_that_is_passed_over():
    assert [prefix.length for prefix in uses(4, 4, 4).worth({"key 3"})] == [2]
    assert [prefix.length for prefix in uses(4, 4, 4).worth({"key 3", "key 2", "key 1"})] == []


def test_a_temporary_folder_for_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path))
    for error in (None, KeyboardInterrupt):
        with (
            pytest.raises(KeyboardInterrupt) if error else opened(None, 0, 0),
            opened("memory", [1], [2], joblib.Parallel(2)) as cache,
        ):
            assert isinstance(cache.store, Folder)
            assert cache.store.path.parent == tmp_path
            cache.store.put("a", packed(10))
            if error:
                raise error
        assert list(tmp_path.iterdir()) == []
    with joblib.parallel_config("threading"), opened("memory", [1], [2], joblib.Parallel(2)) as cache:
        assert isinstance(cache.store, Memory)
    with opened("memory", [1], [2]) as cache:
        assert 0 < cache.store.n_bytes <= 4 * 2**30


def test_a_folder_of_the_user_is_by_data_and_settings(tmp_path):
    X, y = np.arange(10.0), np.arange(10)

    def token(*data):
        with opened(tmp_path / "new" / "cache", *data) as cache:
            assert cache.outlives
            assert cache.store.path.is_dir()
            return cache.token

    first = token(X, y)
    assert token(X.copy(), y.copy()) == first
    assert token(X, None) != first
    assert token(X + 1, y) != first
    with sklearn.config_context(transform_output="pandas"):
        assert token(X, y) != first


@pytest.mark.skipif(os.name != "posix", reason="by POSIX permissions")
def test_a_folder_that_others_may_write_to_is_refused(tmp_path):
    with opened(tmp_path, [1], [2]) as cache:
        assert cache.store.path.stat().st_mode & 0o077 == 0
    cache.store.path.chmod(0o770)
    with pytest.raises(ValueError, match=r"only you write to.*Remove it"), opened(tmp_path, [1], [2]):
        pass


def test_data_that_cannot_be_known_again():
    with pytest.raises(ValueError, match="can be pickled"), opened("somewhere", (one for one in "ab"), None):
        pass


@pytest.mark.parametrize("cache", [True, 3, "", b"memory"])
def test_another_cache_is_refused(cache):
    with pytest.raises(ValueError, match='None, "memory" or the path of a folder'), opened(cache, [1], [2]):
        pass
    with opened(None, [1], [2]) as nothing:
        assert nothing is None
