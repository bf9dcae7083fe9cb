"""An estimator whose fits end in all the ways in which a fit can end."""

import collections
import itertools
import os
import signal
import time
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin


def spin():
    """Never return to the interpreter, nor let others have it."""
    collections.deque(itertools.repeat(0), maxlen=0)


def loop():
    while True:
        pass


WAYS = {
    "fits": lambda: None,
    "rests": lambda: time.sleep(0.2),  # and fits
    "exits": lambda: os._exit(3),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crashes": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "spins": spin,
    "loops": loop,
    "sleeps": lambda: time.sleep(600),
}


class Deadly(ClassifierMixin, BaseEstimator):
    """Classifies by the sign of a feature, after its fit has gone one of the `WAYS`.

    Where `mark` is the path of a file, each fit writes a line there as it begins.
    """

    def __init__(self, way="fits", feature=0, when="fit", mark=None):
        self.way = way
        self.feature = feature
        self.when = when
        self.mark = mark

    def fit(self, X, y):
        if self.mark is not None:
            with Path(self.mark).open("a") as file:
                file.write(f"{self.way} {self.feature}\n")
        self.classes_ = np.unique(y)
        if self.when == "fit":
            WAYS[self.way]()
        return self

    def predict(self, X):
        if self.when == "score":
            WAYS[self.way]()
        return (X[:, self.feature] > 0).astype(int)


class Slowly(TransformerMixin, BaseEstimator):
    """Centers, in a while: worth sharing."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, X, y=None):
        self.mean_ = X.mean(axis=0) + self.shift
        return self

    def transform(self, X):
        time.sleep(0.05)
        return X - self.mean_


class Unborn(Deadly):
    """Ends the process that it is sent to before there is a fit."""

    def __reduce__(self):
        return os._exit, (5,)
