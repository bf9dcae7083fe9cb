"""What of scikit-learn and joblib is used though it is private, so that a new release shows at once what it broke."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest
import sklearn.model_selection._validation as validation
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils.parallel import Parallel

import whet.sklearn
from whet.sklearn.tasks import Task

_FOLDER = Path(whet.sklearn.__file__).parent
_MODULES = sorted(path.stem for path in _FOLDER.glob("*.py"))

_IMPORTED = {
    "joblib._parallel_backends.LokyBackend",
    "sklearn.base._fit_context",
    "sklearn.metrics._scorer._MultimetricScorer",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.model_selection._search.BaseSearchCV",
    "sklearn.model_selection._search_successive_halving.BaseSuccessiveHalving",
    "sklearn.model_selection._search_successive_halving.HalvingGridSearchCV",
    "sklearn.model_selection._search_successive_halving.HalvingRandomSearchCV",
    "sklearn.model_selection._split._yields_constant_splits",
    "sklearn.model_selection._split.check_cv",
    "sklearn.model_selection._validation._fit_and_score",
    "sklearn.model_selection._validation._insert_error_scores",
    "sklearn.model_selection._validation._warn_or_raise_about_fit_failures",
    "sklearn.utils._param_validation.HasMethods",
    "sklearn.utils._param_validation.Interval",
    "sklearn.utils._param_validation.RealNotInt",
    "sklearn.utils._param_validation.StrOptions",
    "sklearn.utils._safe_indexing",
    "sklearn.utils.metadata_routing._routing_enabled",
    "sklearn.utils.validation._check_method_params",
    "sklearn.utils.validation._num_samples",
}
_METHODS = {
    "_check_input_parameters",
    "_check_refit_for_multimetric",
    "_format_results",
    "_get_routed_params_for_fit",
    "_get_scorers",
    "_init_callback_context",
    "_run_search",
    "_select_best_index",
}


def _trees():
    return [ast.parse((_FOLDER / f"{name}.py").read_text()) for name in _MODULES]


def test_the_private_names_that_are_imported_are_listed():
    used = set()
    for node in (node for tree in _trees() for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)):
        if node.module and node.module.split(".")[0] in ("sklearn", "joblib"):
            used |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert {name for name in used if "._" in name} == _IMPORTED


@pytest.mark.parametrize("name", sorted(_IMPORTED))
def test_the_names_exist(name):
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute)


def test_the_inherited_private_methods_that_are_called_are_listed_and_exist():
    own = {node.name for tree in _trees() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    own |= {
        node.attr
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    called = {
        node.func.attr
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("_")
    } - {"_exit", "_getframe"}  # of os and sys
    inherited = {
        name
        for name in called - own | (called & {"_check_refit_for_multimetric", "_get_scorers"})
        if not name.startswith("__")
    }
    assert inherited - {"_effective_n_jobs"} | {"_run_search"} == _METHODS
    assert hasattr(Parallel, "_effective_n_jobs")
    assert all(hasattr(BaseSearchCV, name) for name in (*_METHODS, "_parameter_constraints"))


def test_what_runs_a_fit_takes_what_it_took():
    """The options that all fits share, and those that `run_task` adds: nothing else, nothing less."""
    given = {
        "estimator",
        "X",
        "y",
        "train",
        "test",
        "parameters",
        "split_progress",
        "candidate_progress",
        "callback_ctx",
    }
    shared = {
        "scorer",
        "fit_params",
        "score_params",
        "return_train_score",
        "return_n_test_samples",
        "return_times",
        "return_parameters",
        "error_score",
        "verbose",
        "caller",
    }
    assert set(inspect.signature(validation._fit_and_score).parameters) - {"return_estimator"} == given | shared
    assert {"parameters", "train", "test", "callback_ctx"} <= set(Task.__slots__)
