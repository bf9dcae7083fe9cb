"""Quick searches of `SearchCV`, for its tests."""

from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from whet.sklearn import SearchCV

PIPE = Pipeline([("scale", StandardScaler()), ("reduce", PCA(2)), ("clf", SVC())])


def search(space=None, estimator=None, **options):
    """Return a search that is quick, if nothing else is asked for."""
    given = {"strategy": "random", "n_trials": 4, "cv": 2, "random_state": 0, **options}
    return SearchCV(estimator or SVC(), {"C": (0.1, 10.0, "log")} if space is None else space, **given)


def objectives_of(fitted):
    return [one.name for one in fitted.study_.ledger.history.problem.objectives]
