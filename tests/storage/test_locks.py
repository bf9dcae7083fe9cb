"""The lock of writes, where one thread meets it twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from whet.errors import StoreBusy
from whet.storage.locks import WriteLock


def test_a_thread_that_holds_it_does_not_wait_for_itself(tmp_path):
    """As when a store of the same file is collected, and so closed, in the midst of a write."""
    path = tmp_path / "whet.db.lock"

    def take():
        with WriteLock(path, wait_s=0.1).held():
            return True

    with ThreadPoolExecutor(1) as other:
        with WriteLock(path, wait_s=1.0).held():
            assert take()
            with pytest.raises(StoreBusy):  # it is still held against others
                other.submit(take).result()
        assert other.submit(take).result()
