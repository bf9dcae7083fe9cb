"""The examples of two pages on tuning, with nothing changed but where the search is imported from.

One is a guide to methods, the other asks how far a grid search gets with deep networks. Sizes are smaller. The Keras
network of the second is one of numpy here with the same layers, its class around it as on the page: it builds the
network in its constructor, so that the searched parameters never reach it.
"""

import pickle
import warnings

import numpy as np
import pytest
import sklearn.model_selection
from scipy.stats import loguniform, randint
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - as on the page
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import whet.sklearn
from tests.sklearn.comparing import assert_same_results
from whet.sklearn.noeffect import NoEffectWarning

# loky takes it for a leak that importing torch needs memory, and begins another worker.
RENEWED = "A worker stopped while some jobs were given"

X_TRAIN, Y_TRAIN = make_classification(n_samples=200, n_features=20, n_informative=10, random_state=42)
# The page's network takes the number of its inputs from a variable of this name.
X, y = make_classification(n_samples=120, n_features=10, n_informative=5, random_state=42)


def both(fitted):
    """Return what *fitted* gives with the searches of scikit-learn and of whet, after it compared their results."""
    theirs, ours = fitted(sklearn.model_selection), fitted(whet.sklearn)
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    assert ours.best_params_ == theirs.best_params_
    assert ours.best_score_ == theirs.best_score_
    return ours


# ---- the guide
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grid_search(n_jobs):
    param_grid = {"C": [0.1, 1, 10], "gamma": [1, 0.1, 0.01], "kernel": ["rbf"]}

    def fitted(module):
        grid = module.GridSearchCV(estimator=SVC(), param_grid=param_grid, cv=5, scoring="accuracy", n_jobs=n_jobs)
        return grid.fit(X_TRAIN, Y_TRAIN)

    assert len(both(fitted).study_.trials) == 9


def test_random_search():
    param_dist = {"learning_rate": loguniform(1e-4, 1e-1), "n_estimators": randint(5, 20), "max_depth": randint(2, 6)}

    def fitted(module):
        estimator = GradientBoostingClassifier(random_state=0)
        rs = module.RandomizedSearchCV(
            estimator, param_distributions=param_dist, n_iter=6, cv=5, random_state=42, n_jobs=2
        )
        return rs.fit(X_TRAIN, Y_TRAIN)

    both(fitted)
    learnt = whet.sklearn.SearchCV(GradientBoostingClassifier(), param_dist, n_trials=3, cv=2, random_state=42)
    assert set(learnt.fit(X_TRAIN, Y_TRAIN).best_params_) == set(param_dist)


def test_halving():
    param_grid = {"max_depth": [5, 10, 15, None], "min_samples_leaf": [1, 2, 4]}

    def fitted(module):
        sh = module.HalvingGridSearchCV(
            RandomForestClassifier(n_estimators=5, random_state=0),
            param_grid,
            cv=5,
            factor=3,
            resource="n_samples",
            scoring="accuracy",
            random_state=0,
        )
        return sh.fit(X_TRAIN, Y_TRAIN)

    assert both(fitted).n_resources_[-1] <= len(X_TRAIN)


# ---- the question about networks
def test_a_perceptron():
    param_grid = {"hidden_layer_sizes": [(5,), (10,), (15,)], "learning_rate_init": [0.001, 0.01, 0.1]}
    cv = StratifiedKFold(n_splits=3, shuffle=True, random_state=42)

    def fitted(module):
        mlp = MLPClassifier(max_iter=10, random_state=42)
        search = module.GridSearchCV(mlp, param_grid, cv=cv, verbose=0, scoring="accuracy")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return search.fit(StandardScaler().fit_transform(X_TRAIN), Y_TRAIN)

    assert both(fitted).best_params_["hidden_layer_sizes"] in [(5,), (10,), (15,)]


ACTIVATIONS = {
    "relu": (lambda z: np.maximum(z, 0), lambda a: (a > 0).astype(float)),
    "tanh": (np.tanh, lambda a: 1 - a**2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
}


class Network:
    """Two dense layers, the second a single sigmoid, with random weights to begin with."""

    def __init__(self, n_inputs, n_units, activation):
        rng = np.random.default_rng()  # noisy, as networks are
        self.first = rng.normal(0, n_inputs**-0.5, (n_inputs, n_units))
        self.second = rng.normal(0, n_units**-0.5, (n_units, 1))
        self.activation = activation

    def fit(self, X, y, epochs, batch_size, verbose):
        for _ in range(epochs):
            for start in range(0, len(X), batch_size):
                some, wanted = X[start : start + batch_size], y[start : start + batch_size, None]
                hidden, output = self._layers(some)
                slope = (output - wanted) / len(some)
                back = slope @ self.second.T * ACTIVATIONS[self.activation][1](hidden)
                self.second -= hidden.T @ slope
                self.first -= some.T @ back

    def predict(self, X):
        return self._layers(X)[1]

    def _layers(self, X):
        hidden = ACTIVATIONS[self.activation][0](X @ self.first)
        return hidden, ACTIVATIONS["sigmoid"][0](hidden @ self.second)


class CNNClassifier(BaseEstimator, ClassifierMixin):
    def __init__(self, filters=32, kernel_size=3, activation="relu", epochs=10, batch_size=32, verbose=0):
        self.filters = filters
        self.kernel_size = kernel_size
        self.activation = activation
        self.epochs = epochs
        self.batch_size = batch_size
        self.verbose = verbose
        self.model = self._build_model()

    def _build_model(self):
        return Network(X.shape[1], self.filters, self.activation)

    def fit(self, X, y):
        self.model.fit(X, y, epochs=self.epochs, batch_size=self.batch_size, verbose=self.verbose)
        return self

    def predict(self, X):
        y_pred = self.model.predict(X)
        return (y_pred > 0.5).astype(int)

    def predict_proba(self, X):
        return self.model.predict(X)


class Scored(CNNClassifier):
    """The same with what scikit-learn 1.9 asks for, an attribute that tells a pipeline that it is fitted."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return super().fit(X, y)


class BuiltInFit(Scored):
    """The same, put right, with a kernel that is used for something."""

    def __init__(self, filters=32, kernel_size=3, activation="relu", epochs=10, batch_size=32, verbose=0):
        self.filters = filters
        self.kernel_size = kernel_size
        self.activation = activation
        self.epochs = epochs
        self.batch_size = batch_size
        self.verbose = verbose

    def fit(self, X, y):
        self.model = Network(X.shape[1], self.filters * self.kernel_size, self.activation)
        return super().fit(X, y)


EXAMPLE_2 = {"cnn__filters": [4, 8], "cnn__kernel_size": [3, 5]}
EXAMPLE_3 = {
    "cnn__filters": [2, 4, 8, 16],
    "cnn__kernel_size": [3, 5, 7],
    "cnn__activation": ["relu", "tanh", "sigmoid"],
}


def grid_of(classifier, param_grid, module=whet.sklearn, **options):
    pipeline = Pipeline([("scaler", StandardScaler()), ("cnn", classifier)])
    return module.GridSearchCV(pipeline, param_grid, cv=2, verbose=0, scoring="accuracy", **options)


def test_the_page_s_class_as_it_is():
    """No pipeline believes that it is fitted, so there is not one score."""

    def fitted(module):
        return grid_of(CNNClassifier(epochs=1), EXAMPLE_2, module).fit(X, y)

    with pytest.warns(UserWarning, match="non-finite"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Scoring failed", UserWarning)
        theirs, ours = fitted(sklearn.model_selection), fitted(whet.sklearn)
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    assert np.isnan(ours.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("param_grid", [EXAMPLE_2, EXAMPLE_3])
def test_a_network_that_is_built_too_early_is_noticed(param_grid, n_jobs):
    search = grid_of(Scored(epochs=1), param_grid, n_jobs=n_jobs)
    with pytest.warns(NoEffectWarning) as caught:
        search.fit(X, y)
    said = str(caught[0].message)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    *first, last = sorted(param_grid)
    assert said.startswith(f"Parameters {', '.join(first)} and {last} change nothing in this search")
    assert "Scored has made model by then" in said
    assert search.best_estimator_.named_steps["cnn"].model.first.shape[1] == 32  # as in the constructor
    assert len(set(search.cv_results_["split0_test_score"])) > 1  # by noise


def test_what_the_page_s_class_does_use_is_not_said_to_change_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid_of(Scored(), {"cnn__epochs": [1, 2], "cnn__batch_size": [16, 64]}).fit(X, y)


@pytest.mark.parametrize("options", [{}, {"n_jobs": 2}, {"cache": "memory"}])
def test_the_class_put_right(options):
    search = grid_of(BuiltInFit(epochs=3), EXAMPLE_2, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", RENEWED)
        search.fit(X, y)
    best = search.best_params_
    network = search.best_estimator_.named_steps["cnn"].model
    assert network.first.shape[1] == best["cnn__filters"] * best["cnn__kernel_size"]
    twin = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(twin.predict(X), search.predict(X))
    assert clone(search).estimator.named_steps["cnn"].get_params() == BuiltInFit(epochs=3).get_params()


def test_other_searches_notice_it_too():
    pipeline = Pipeline([("scaler", StandardScaler()), ("cnn", Scored(epochs=1))])
    space = {"cnn__filters": (2, 64, "log"), "cnn__epochs": [1, 2]}
    search = whet.sklearn.SearchCV(pipeline, space, n_trials=4, cv=2, random_state=0, strategy="random")
    with pytest.warns(NoEffectWarning, match="Parameter cnn__filters changes nothing"):
        search.fit(X, y)
    halving = whet.sklearn.HalvingGridSearchCV(pipeline, {"cnn__filters": [2, 4, 8]}, cv=2, random_state=0)
    with pytest.warns(NoEffectWarning, match="Parameter cnn__filters changes nothing"):
        halving.fit(X, y)


# ---- a wrapper as those of deep learning libraries are
class TorchNet(ClassifierMixin, BaseEstimator):
    """What it does not know by name goes to the module, when that is made in `fit`, as in skorch."""

    def __init__(self, module, lr=0.05, max_epochs=5, **kwargs):
        self.module = module
        self.lr = lr
        self.max_epochs = max_epochs
        self.kwargs = kwargs

    def get_params(self, deep=True):
        return {"module": self.module, "lr": self.lr, "max_epochs": self.max_epochs, **self.kwargs}

    def set_params(self, **params):
        for name, value in params.items():
            if name.startswith("module__"):
                self.kwargs[name] = value
            elif name in ("module", "lr", "max_epochs"):
                setattr(self, name, value)
            else:
                raise ValueError(f"Invalid parameter {name!r}")
        return self

    def fit(self, X, y):
        import torch

        torch.manual_seed(0)
        self.classes_ = np.unique(y)
        options = {name.removeprefix("module__"): value for name, value in self.kwargs.items()}
        self.module_ = self.module(X.shape[1], **options)
        optimizer = torch.optim.Adam(self.module_.parameters(), lr=self.lr)
        data, wanted = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
        for _ in range(self.max_epochs):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.module_(data), wanted).backward()
            optimizer.step()
        return self

    def predict(self, X):
        import torch

        with torch.no_grad():
            return self.module_(torch.tensor(X, dtype=torch.float32)).argmax(1).numpy()


def dense(n_inputs, hidden=4, dropout=0.0):
    from torch import nn

    return nn.Sequential(nn.Linear(n_inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2))


@pytest.mark.slow  # torch takes long to import, in each process
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_wrapper_of_torch(n_jobs):
    pipeline = Pipeline([("scaler", StandardScaler()), ("net", TorchNet(dense))])
    grid = {"net__lr": [0.01, 0.1], "net__module__hidden": [2, 8]}
    search = whet.sklearn.GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", RENEWED)
        search.fit(X, y)
    net = search.best_estimator_.named_steps["net"]
    assert net.module_[0].out_features == search.best_params_["net__module__hidden"]
    twin = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(twin.predict(X), search.predict(X))
    assert clone(net).get_params() == net.get_params()


def test_a_wrapper_that_takes_any_name_is_asked_before_the_first_fit():
    with pytest.raises(ValueError, match="Invalid parameter 'hidden'"):
        whet.sklearn.GridSearchCV(TorchNet(dense), [{"lr": [0.1]}, {"hidden": [1]}], cv=2).fit(X, y)
