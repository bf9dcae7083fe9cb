"""An estimator of which it is known how good it is, and which samples it got; for searches that have a scheduler."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from whet.sklearn import SearchCV

N = 108  # samples, so that two splits train on 54 each
y = np.arange(N) % 2
X = np.c_[y, np.random.default_rng(0).uniform(size=N), np.arange(N)]  # the target, a draw, and a number
seen = []  # of each fit: quality, size, numbers of the samples, and their weights


class Known(ClassifierMixin, BaseEstimator):
    """As good as it is told to be, the more so the more samples it has and the larger it is; notes each fit."""

    def __init__(self, quality=0.5, size=9, fails_above=np.inf):
        self.quality = quality
        self.size = size
        self.fails_above = fails_above

    def fit(self, X, y, sample_weight=None):
        seen.append((self.quality, self.size, X[:, 2].astype(int).tolist(), sample_weight))
        if self.quality > self.fails_above:
            raise ArithmeticError("asked to fail")
        self.classes_ = np.unique(y)
        self.share_ = self.quality * (1 - 0.5 / len(X)) * (1 - 0.2 / self.size)
        return self

    def predict(self, X):
        return np.where(X[:, 1] < self.share_, X[:, 0], 1 - X[:, 0]).astype(int)


QUALITY = {"quality": (0.0, 1.0)}
SIZE = {"size": (1, 9)}


def search(scheduler="asha", fidelity=None, estimator=None, space=None, **options):
    given = {"strategy": "random", "n_trials": 9, "cv": 2, "random_state": 0, **options}
    space = QUALITY if space is None else space
    return SearchCV(Known() if estimator is None else estimator, space, scheduler=scheduler, fidelity=fidelity, **given)


def states_of(fitted):
    return [trial.state for trial in fitted.study_.trials]
