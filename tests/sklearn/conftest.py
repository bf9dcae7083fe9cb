"""What tests of shared prefixes have in common."""

import pytest

from tests.sklearn.sharing import FITS
from whet.sklearn import flows


@pytest.fixture
def keep_all(monkeypatch):
    """Keep also what takes no time."""
    monkeypatch.setattr(flows, "LEAST_S", 0.0)
    monkeypatch.setattr(flows, "MOST_BYTES_PER_S", float("inf"))
    flows.passed_over.clear()
    FITS.clear()
