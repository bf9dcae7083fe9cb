"""A pytest plugin that puts whet's searches in the place of scikit-learn's, before its tests import them."""

import functools
import inspect

import sklearn.model_selection
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - sets its classes once, here

import whet.sklearn
from whet.sklearn.searching import Searching

for _name in ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"):
    setattr(sklearn.model_selection, _name, getattr(whet.sklearn, _name))
sklearn.model_selection._search.BaseSearchCV = Searching  # what searches of somebody's own stand on

# Their estimators look up who has called them: finding the source around every frame takes longer than the tests.
inspect.stack = functools.partial(inspect.stack, 0)

_n_searches = 0
_search = Searching._search


def _counted(self, *arguments):
    global _n_searches
    _n_searches += 1
    _search(self, *arguments)


Searching._search = _counted


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"searches by whet: {_n_searches}")
