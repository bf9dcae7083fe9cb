"""What several tests here have in common: how workers are started, and that all prefixes are kept."""

import pytest

from tests.sklearn.sharing import FITS
from tests.sklearn.workers import started_by
from whet.sklearn import flows


@pytest.fixture(scope="module")
def quick_workers():
    """Workers of loky that need not load scikit-learn, for tests that need many of them."""
    with started_by("forkserver"):
        yield


@pytest.fixture
def keep_all(monkeypatch):
    """Keep also what takes no time."""
    monkeypatch.setattr(flows, "LEAST_S", 0.0)
    monkeypatch.setattr(flows, "MOST_BYTES_PER_S", float("inf"))
    flows.passed_over.clear()
    FITS.clear()
