"""Estimators for tests of early stopping, which score as they are told and note what was passed to them."""

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin


class Scripted(RegressorMixin, BaseEstimator):
    """Scores as *script* says after so many calls of `partial_fit`, and raises what is an exception there."""

    def __init__(self, script=()):
        self.script = script

    def fit(self, X, y):
        raise AssertionError("it has partial_fit")

    def partial_fit(self, X, y):
        self.n_epochs_ = getattr(self, "n_epochs_", 0) + 1
        self.rows_ = [*getattr(self, "rows_", []), [int(row) for row in X[:, 0]]]
        return self

    def score(self, X, y):
        said = self.script[self.n_epochs_ - 1]
        if isinstance(said, BaseException):
            raise said
        return said


class Noting(ClassifierMixin, BaseEstimator):
    """Notes the weights and classes that each call got."""

    def __init__(self, max_iter=3):
        self.max_iter = max_iter

    def fit(self, X, y, sample_weight=None):
        raise AssertionError("it has partial_fit")

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        self.classes_ = classes
        self.seen_ = [*getattr(self, "seen_", []), (X[:, 0].copy(), None if sample_weight is None else sample_weight)]
        return self

    def predict(self, X):
        return self.classes_.repeat(len(X))[: len(X)]
