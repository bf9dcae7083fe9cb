"""A classifier whose candidates differ by luck alone."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class Guess(ClassifierMixin, BaseEstimator):
    """Guesses by its seed: candidates that are all worth one half."""

    def __init__(self, seed=0):
        self.seed = seed

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return (np.sin(self.seed * 1e4 + X[:, 0] * 1e6) > 0).astype(int)
