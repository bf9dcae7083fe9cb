"""Folders for as long as a search runs, where joblib has its own."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from joblib.externals.loky.backend import resource_tracker


@contextlib.contextmanager
def temporary_folder(purpose: str) -> Iterator[str]:
    """Make a folder that is gone at the end of the block, and also when this process is killed in it.

    Raises:
        OSError: it cannot be made.
    """
    place = os.environ.get("JOBLIB_TEMP_FOLDER")
    with tempfile.TemporaryDirectory(prefix=f"whet-{purpose}-", dir=place, ignore_cleanup_errors=True) as folder:
        # A process of joblib's, which removes what the dead have left.
        resource_tracker.register(folder, "folder")
        try:
            yield folder
        finally:
            resource_tracker.unregister(folder, "folder")
