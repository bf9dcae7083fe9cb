"""Tasks for the tests of what runs them."""

from itertools import product

import numpy as np

from whet.sklearn.tasks import Task


def tasks_of(candidates, splits, planned=None):
    """Yield a task for each of *candidates* on each of *splits*, as *planned*."""
    in_turn = product(range(len(candidates)), range(len(splits)))
    for number, split in planned.order if planned else in_turn:
        progress = (number, len(candidates)), (split, len(splits))
        cache = planned.caches[number] if planned else None
        yield Task(number * len(splits) + split, candidates[number], *splits[split], *progress, None, cache)


def is_mapped(array):
    """Tell whether it lies in a file that processes share."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None
