"""Searches as people write them, one of each kind: what they search, over what data, and with what options."""

import numpy as np
import pandas as pd
from scipy import sparse, stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GroupKFold, ShuffleSplit
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

X, y = make_classification(n_samples=60, n_features=8, n_informative=4, random_state=0)
X_real, y_real = make_regression(n_samples=40, n_features=5, noise=5.0, random_state=0)
frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(8)]).assign(town=list("abc") * 20)
texts = ["a good film", "a bad film", "good good", "bad bad film"] * 6
weights = np.linspace(0.5, 2, 60)


class Fussy(ClassifierMixin, BaseEstimator):
    """Fails to fit where it is told to, on all folds or on those whose first target is 0."""

    def __init__(self, fails="never"):
        self.fails = fails

    def fit(self, X, y):
        if self.fails == "always" or (self.fails == "sometimes" and y[0] == 0):
            raise ArithmeticError("asked to fail")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


def spread(values):
    """A function among the values."""
    return values * 2


def two_scores(estimator, X, y):
    predicted = estimator.predict(X)
    return {"accuracy": accuracy_score(y, predicted), "zeros": float(np.mean(predicted == 0))}


def one_score(estimator, X, y):
    return float(np.mean(estimator.predict(X) == y))


def nan_score(estimator, X, y):
    return np.nan if estimator.C > 1 else 0.5


def inf_score(estimator, X, y):
    return -np.inf if estimator.C > 1 else 0.5


def second(results):
    return int(np.argsort(results["rank_test_accuracy"], kind="stable")[1])


def grid(estimator, param_grid, data=(X, y), fit_params=None, **options):
    return (
        "GridSearchCV",
        lambda: {"estimator": estimator, "param_grid": param_grid, "cv": 3, **options},
        data,
        fit_params,
    )


def drawn(estimator, distributions, data=(X, y), fit_params=None, **options):
    arguments = {"estimator": estimator, "param_distributions": distributions, "cv": 3, "random_state": 0, **options}
    return "RandomizedSearchCV", lambda: arguments, data, fit_params


def halving(estimator, param_grid, data=(X, y), **options):
    return (
        "HalvingGridSearchCV",
        lambda: {"estimator": estimator, "param_grid": param_grid, "cv": 3, **options},
        data,
        None,
    )


_C = {"C": [0.1, 1.0, 10.0]}
_pipe = Pipeline([("scale", StandardScaler()), ("reduce", PCA()), ("svc", SVC())])
_columns = make_pipeline(
    ColumnTransformer([("numbers", StandardScaler(), ["f0", "f1"]), ("town", OneHotEncoder(), ["town"])]),
    LogisticRegression(),
)

CASES = {
    "regressor": grid(Ridge(), {"alpha": np.logspace(-2, 2, 5)}, (X_real, y_real), return_train_score=True),
    "no parameters": grid(Ridge(), {}, (X_real, y_real)),
    "default cv": grid(SVC(), _C, cv=None),
    "metrics, refit one": grid(SVC(), _C, scoring=["accuracy", "f1"], refit="f1", return_train_score=True),
    "metrics, refit none": grid(SVC(), _C, scoring={"a": "accuracy", "b": "roc_auc"}, refit=False),
    "metrics, refit by function": grid(SVC(), _C, scoring=["accuracy", "f1"], refit=second),
    "one metric, refit none": grid(SVC(), _C, refit=False),
    "scored by function": grid(SVC(), _C, scoring=one_score),
    "scores by function": grid(SVC(), _C, scoring=two_scores, refit="zeros"),
    "some fits fail": grid(Fussy(), {"fails": ["never", "sometimes"]}, cv=5),
    "a candidate fails": grid(Fussy(), {"fails": ["always", "never"]}, error_score=0.25),
    "a candidate fails, metrics": grid(
        Fussy(), {"fails": ["always", "never"]}, scoring=["accuracy", "f1"], refit="accuracy"
    ),
    "a candidate fails, scores by function": grid(
        Fussy(), {"fails": ["always", "never"]}, scoring=two_scores, refit="accuracy"
    ),
    "scores of NaN": grid(SVC(), _C, scoring=nan_score),
    "scores of -inf": grid(SVC(), _C, scoring=inf_score),
    "all scores NaN": grid(SVC(), {"C": [2.0, 3.0]}, scoring=nan_score),
    "swapped steps": grid(
        _pipe,
        [
            {"reduce": [PCA(2), PCA(3), SelectKBest(k=3)], "svc__C": [1, 10]},
            {"reduce": ["passthrough"], "scale": [MinMaxScaler(), None], "svc": [LogisticRegression()]},
        ],
    ),
    "values of all kinds": grid(
        make_pipeline(FunctionTransformer(), LogisticRegression()),
        {
            "functiontransformer__func": [None, spread, np.abs],
            "logisticregression__class_weight": [None, {0: 1, 1: 5}, "balanced"],
            "logisticregression__fit_intercept": [True, False],
        },
    ),
    "arrays as values": grid(SVC(), {"class_weight": [{0: w} for w in (1, 2.5)], "C": np.array([1, 2])}),
    "tuples as values": grid(
        make_pipeline(CountVectorizer(), MultinomialNB()),
        {"countvectorizer__ngram_range": [(1, 1), (1, 2)]},
        (texts, [1, 0, 1, 0] * 6),
    ),
    "data frame": grid(_columns, {"logisticregression__C": [0.1, 1.0]}, (frame, pd.Series(y))),
    "data frame out": grid(
        make_pipeline(StandardScaler(), SelectKBest()).set_output(transform="pandas"),
        {"selectkbest__k": [2, 4]},
        (frame.drop(columns="town"), pd.Series(y)),
        scoring=lambda estimator, X, y: float(estimator.transform(X).shape[1]),
    ),
    "sparse": grid(LogisticRegression(), _C, (sparse.csr_matrix(X), y)),
    "sparse array": grid(LogisticRegression(), _C, (sparse.csr_array(X), y)),
    "precomputed kernel": grid(SVC(kernel="precomputed"), _C, (X @ X.T, y)),
    "groups": grid(SVC(), _C, fit_params={"groups": np.repeat(range(6), 10)}, cv=GroupKFold(3)),
    "sample weight": grid(SVC(), _C, fit_params={"sample_weight": weights}),
    "splits listed": grid(SVC(), _C, cv=[(np.arange(40), np.arange(40, 60)), (np.arange(20, 60), np.arange(20))]),
    "splitter": grid(SVC(), _C, cv=ShuffleSplit(4, test_size=0.3, random_state=1)),
    "no target": grid(KMeans(random_state=0, n_init=1), {"n_clusters": [2, 3]}, (X, None)),
    "no predict": grid(KernelDensity(), {"bandwidth": [0.1, 1.0]}, (X, None)),
    "several targets": grid(Ridge(), {"alpha": [0.1, 1]}, (X_real, np.c_[y_real, -y_real])),
    "drawn": drawn(SVC(), {"C": stats.loguniform(1e-2, 1e2), "kernel": ["rbf", "linear"]}, n_iter=6),
    "drawn from lists": drawn(SVC(), {"C": [1, 2, 3], "kernel": ["rbf", "linear"]}, n_iter=4),
    "drawn from several": drawn(SVC(), [{"C": stats.uniform(1, 5)}, {"gamma": stats.expon(), "C": [2.0]}], n_iter=6),
    "drawn, too many": drawn(SVC(), {"C": [1, 2]}, n_iter=5),
    "halving": halving(SVC(), {"C": [0.1, 1, 10, 100]}, min_resources=12, random_state=0),
    "halving, an integer parameter": halving(
        RandomForestClassifier(random_state=0), {"max_depth": [1, 2, 3, None]}, resource="n_estimators", max_resources=9
    ),
    "halving, aggressive": halving(
        DecisionTreeClassifier(random_state=0),
        {"max_depth": list(range(1, 9))},
        factor=2,
        max_resources=40,
        aggressive_elimination=True,
        random_state=3,
    ),
    "halving, drawn": (
        "HalvingRandomSearchCV",
        lambda: {
            "estimator": DecisionTreeClassifier(random_state=0),
            "param_distributions": {"ccp_alpha": stats.uniform(0, 0.1)},
            "cv": 3,
            "random_state": 0,
            "min_resources": 12,
        },
        (X, y),
        None,
    ),
}
