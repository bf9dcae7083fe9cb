"""Comparing searches: tasks, methods, runs, their record and what is made of it. Used by `search.py` beside it."""

from __future__ import annotations

import os

# One thread everywhere, before the first numerical library is loaded: milliseconds compare algorithms, not pools.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
