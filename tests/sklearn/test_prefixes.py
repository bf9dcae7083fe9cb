"""Fits that share pipeline prefixes: what they come to is what fits that share nothing come to."""

from __future__ import annotations

import re
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import check_scoring, make_scorer
from sklearn.metrics._scorer import _MultimetricScorer, _PassthroughScorer, _Scorer
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, KernelCenterer, StandardScaler
from sklearn.svm import SVC

from tests.sklearn.sharing import FITS, Counted, X, Y, assert_same, check, outcomes
from whet.sklearn.kept import Cache, opened
from whet.sklearn.plans import plan
from whet.sklearn.prefixes import fit_and_score

pytestmark = pytest.mark.usefixtures("keep_all")


class Failing(Counted):
    def fit(self, X, y=None):
        FITS[self.name] += 1
        raise ZeroDivisionError("not today")


def test_a_prefix_is_fitted_once_for_each_split():
    pipeline = Pipeline([("one", Counted(name="one")), ("two", Counted(name="two")), ("last", LogisticRegression())])
    fits = check(pipeline, {"one__shift": [0.0, 1.0], "two__shift": [0.0, 1.0], "last__C": [0.1, 1.0, 10.0]})
    assert fits["one"] == 2 * 3
    assert fits["two"] == 4 * 3
    # While it is fitted, and once for either part.
    assert fits["two transform"] == 4 * 3 * 3


def test_a_folder_serves_the_next_search(tmp_path):
    pipeline = make_pipeline(Counted(), LogisticRegression())
    grid = {"logisticregression__C": [0.1, 1.0]}
    theirs = outcomes(pipeline, grid)
    FITS.clear()
    assert_same(outcomes(pipeline, grid, cache=tmp_path), theirs)
    assert FITS["step"] == 3
    assert_same(outcomes(pipeline, grid, cache=str(tmp_path)), theirs)
    assert FITS["step"] == 3
    other = X + 1  # other data have another place
    assert_same(outcomes(pipeline, grid, X=other, cache=tmp_path), outcomes(pipeline, grid, X=other))
    assert FITS["step"] > 3


@pytest.mark.parametrize("damage", [b"", b"whetpfx1", b"garbage" * 100])
def test_damaged_files_are_computed_again(tmp_path, damage):
    pipeline = make_pipeline(Counted(), LogisticRegression())
    grid = {"logisticregression__C": [0.1, 1.0]}
    theirs = outcomes(pipeline, grid, cache=tmp_path)
    for path in tmp_path.glob("*/*"):
        path.write_bytes(damage)
    FITS.clear()
    assert_same(outcomes(pipeline, grid, cache=tmp_path), theirs)
    assert FITS["step"] == 3


class Logged(Counted):
    """Notes its fits in a file, and takes long enough for its outcome to be kept."""

    def fit(self, X, y=None):
        time.sleep(0.05)
        with Path(self.name).open("a") as file:
            file.write("fit\n")
        return super().fit(X, y)


@pytest.mark.slow
def test_processes_share_files(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path))
    log = tmp_path / "log"
    pipeline = Pipeline([("one", Logged(name=str(log))), ("last", LogisticRegression())])
    grid = {"one__shift": [0.0, 1.0], "last__C": [0.1, 0.3, 1.0, 3.0, 10.0]}
    theirs = outcomes(pipeline, grid)
    log.unlink()
    assert_same(outcomes(pipeline, grid, cache="memory", n_jobs=2), theirs)
    assert 2 * 3 <= len(log.read_text().split()) < 2 * 3 * 5
    assert not list(tmp_path.glob("whet-*"))


def test_a_prefix_that_fails():
    pipeline = make_pipeline(Failing(), LogisticRegression())
    assert check(pipeline, {"logisticregression__C": [0.1, 1.0]})["step"] == 6
    with pytest.raises(ZeroDivisionError, match="not today"):
        outcomes(pipeline, {"logisticregression__C": [0.1]}, cache="memory", error_score="raise")


def test_a_failing_step_of_some_candidates_only():
    grid = [
        {"one": Failing(), "last__C": 1.0},
        {"one__shift": 1.0},
        {"one__shift": 1.0, "last__C": -1.0},
        {"one__shift": 1.0},
    ]
    assert check(Pipeline([("one", Counted()), ("last", LogisticRegression())]), grid)["step"] == 3 + 3


def test_what_cannot_be_set_is_said_as_ever():
    pipeline = make_pipeline(Counted(), LogisticRegression())
    with pytest.raises(ValueError, match="Invalid parameter 'shifty'"):
        outcomes(pipeline, [{"counted__shifty": 1.0}, {"counted__shift": 1.0}], cache="memory")


@pytest.mark.parametrize("step", [LogisticRegression(), "nothing"])
def test_a_step_that_is_no_transformer(step):
    pipeline = Pipeline([("one", Counted()), ("two", step), ("last", LogisticRegression())])
    check(pipeline, {"last__C": [0.1, 1.0]})


@pytest.mark.parametrize("nothing", ["passthrough", None])
def test_steps_that_do_nothing(nothing):
    pipeline = Pipeline([("zero", nothing), ("one", Counted()), ("two", nothing), ("last", LogisticRegression())])
    assert check(pipeline, {"last__C": [0.1, 1.0]})["step"] == 3
    swapped = {"one": [nothing, Counted(), StandardScaler()], "two": [nothing, PCA(3)], "last__C": [0.1, 1.0]}
    assert check(pipeline, swapped)["step"] == 3
    assert check(Pipeline([("one", nothing), ("last", LogisticRegression())]), {"last__C": [0.1, 1.0]}) == {}


def test_text_and_sparse():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefgh"), 12)) + " word" * int(label) for label in Y]
    pipeline = make_pipeline(
        TfidfVectorizer(token_pattern=r"\w+", tokenizer=None),
        SelectKBest(f_classif, k=5),
        SGDClassifier(random_state=0),
    )
    grid = {"tfidfvectorizer__ngram_range": [(1, 1), (1, 2)], "sgdclassifier__alpha": [1e-4, 1e-2]}
    check(pipeline, grid, X=texts)
    check(pipeline, grid, X=np.array(texts, dtype=object))
    scaled = make_pipeline(StandardScaler(with_mean=False), LogisticRegression())
    check(scaled, {"logisticregression__C": [0.1, 1.0]}, X=sparse.csr_array(X))


@pytest.mark.parametrize("as_frame", [True, False])
def test_frames(as_frame):
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]).assign(kind=np.where(Y, "a", "b"))
    columns = ColumnTransformer([("numbers", StandardScaler(), [f"x{i}" for i in range(8)])], remainder="drop")
    pipeline = Pipeline([("columns", columns), ("one", Counted()), ("last", LogisticRegression())])
    if as_frame:
        columns.set_output(transform="pandas")
    grid = {"columns__numbers__with_std": [True, False], "last__C": [0.1, 1.0]}
    assert check(pipeline, grid, X=frame)["step"] == 6
    with sklearn.config_context(transform_output="pandas"):
        assert check(pipeline, grid, X=frame)["step"] == 6


def test_nested_steps():
    union = FeatureUnion([("pca", PCA(3)), ("best", SelectKBest(f_classif, k=2))])
    pipeline = Pipeline([("inner", make_pipeline(Counted(), union)), ("last", Pipeline([("svc", SVC())]))])
    grid = {"inner__featureunion__pca__n_components": [2, 3], "last__svc__C": [0.1, 1.0, 10.0]}
    assert check(pipeline, grid)["step"] == 6


def test_no_targets_and_precomputed_kernels():
    def inertia(estimator, X, y=None):
        return float(np.linalg.norm(estimator.transform(X)))

    check(Pipeline([("one", Counted()), ("pca", PCA(3))]), {"pca__n_components": [1, 2]}, y=None, scoring=inertia)
    pipeline = Pipeline([("center", KernelCenterer()), ("svc", SVC(kernel="precomputed"))])
    check(pipeline, {"svc__C": [0.1, 1.0, 10.0]}, X=rbf_kernel(X))


def looks_inside(estimator, X, y):
    assert type(estimator.named_steps["one"]) is Counted
    first = estimator[:-1].transform(X)
    estimator.named_steps["one"].mean_ += 1  # for nobody else
    return float(first.sum() + estimator.named_steps["one"].mean_.sum() + estimator.n_features_in_)


@pytest.mark.parametrize("scoring", [looks_inside, {"inside": looks_inside, "accuracy": "accuracy"}])
def test_scorers_see_the_real_steps(scoring):
    pipeline = Pipeline([("one", Counted()), ("last", LogisticRegression())])
    assert check(pipeline, {"last__C": [0.1, 1.0, 10.0]}, scoring=scoring)["step"] == 3


def test_scorers_of_every_kind():
    pipeline = make_pipeline(Counted(), SVC(probability=False))
    grid = {"svc__C": [0.1, 1.0]}
    for scoring in (None, "roc_auc", "f1", ["roc_auc", "accuracy", "average_precision"], "neg_log_loss"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # neg_log_loss: there are no probabilities
            assert check(pipeline, grid, scoring=scoring)["step"] == 3
    assert check(pipeline, grid, scoring=make_scorer(lambda y, guess: float((y == guess).mean())))["step"] == 3


def test_metadata_for_the_last_step_only():
    pipeline = make_pipeline(Counted(), LogisticRegression())
    weights = np.linspace(0.1, 1, len(Y))
    grid = {"logisticregression__C": [0.1, 1.0]}
    assert check(pipeline, grid, fit_params={"logisticregression__sample_weight": weights})["step"] == 3
    scaled = make_pipeline(StandardScaler(), Counted(), LogisticRegression())
    assert check(scaled, grid, fit_params={"standardscaler__sample_weight": weights})["step"] == 6


def test_routing_switched_on():
    weights = np.linspace(0.1, 1, len(Y))
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(Counted(), LogisticRegression().set_fit_request(sample_weight=True))
        grid = {"logisticregression__C": [0.1, 1.0]}
        assert check(pipeline, grid)["step"] == 3
        assert check(pipeline, grid, fit_params={"sample_weight": weights})["step"] == 6


def test_what_is_no_plain_pipeline(tmp_path):
    class Own(Pipeline):
        pass

    steps = [("one", Counted()), ("last", LogisticRegression())]
    assert check(Own(steps), {"last__C": [0.1, 1.0]})["step"] == 6
    assert "step" not in check(Pipeline(steps, memory=str(tmp_path)), {"last__C": [0.1, 1.0]})  # it has its own cache
    assert check(Ridge(), {"alpha": [0.1, 1.0]}) == {}


def test_steps_that_cannot_be_pickled():
    pipeline = make_pipeline(FunctionTransformer(lambda X: X + 1), Counted(), LogisticRegression())
    assert check(pipeline, {"logisticregression__C": [0.1, 1.0]})["step"] == 3
    steps = make_pipeline(Counted(name=(one for one in "ab")), LogisticRegression())
    with pytest.raises(TypeError, match="pickle"):
        clone(steps)  # so it is no case


def test_an_estimator_that_is_returned_has_its_steps():
    pipeline = Pipeline([("one", Counted()), ("last", LogisticRegression())])
    candidates = [{"last__C": 0.1}, {"last__C": 1.0}]
    train, test = np.arange(60), np.arange(60, 90)
    with opened("memory", X, Y) as cache:
        planned = plan(pipeline, candidates, 1, cache)
        for parameters, of in zip(candidates, planned.caches, strict=True):
            result = fit_and_score(
                clone(pipeline),
                X,
                Y,
                scorer=check_scoring(pipeline),
                train=train,
                test=test,
                parameters=parameters,
                fit_params=None,
                score_params=None,
                verbose=0,
                return_estimator=True,
                cache=of,
            )
            fitted = result["estimator"]
            assert type(fitted[0]) is Counted
            expected = clone(pipeline).set_params(**parameters).fit(X[train], Y[train])
            np.testing.assert_array_equal(fitted.decision_function(X), expected.decision_function(X))
    assert FITS["step"] == 1 + 2  # one here, two for what is expected


def test_nothing_is_left_in_memory():
    pipeline = make_pipeline(Counted(), LogisticRegression())
    candidates = [{"counted__shift": shift, "logisticregression__C": c} for shift in (0.0, 1.0) for c in (0.1, 1.0)]
    train, test = np.arange(60), np.arange(60, 90)
    with opened("memory", X, Y) as cache:
        assert isinstance(cache, Cache)
        planned = plan(pipeline, candidates, 1, cache)
        n_kept = []
        for candidate, _ in planned.order:
            fit_and_score(
                clone(pipeline),
                X,
                Y,
                scorer=check_scoring(pipeline),
                train=train,
                test=test,
                fit_params=None,
                parameters=candidates[candidate],
                score_params=None,
                verbose=0,
                cache=planned.caches[candidate],
            )
            n_kept.append(cache.store.n_kept_bytes > 0)
    assert n_kept == [True, False, True, False]


def test_what_is_printed_is_the_same(capsys):
    pipeline = Pipeline([("one", Counted()), ("last", LogisticRegression())], verbose=True)
    candidates = [{"last__C": 0.1}, {"last__C": 1.0}]
    outcomes(pipeline, candidates)
    theirs = capsys.readouterr().out
    outcomes(pipeline, candidates, cache="memory")
    ours = capsys.readouterr().out
    assert re.sub(r"total=.*", "", ours) == re.sub(r"total=.*", "", theirs)
    assert ours.count("Processing one") == 6


def test_the_same_as_scikit_learns_search():
    """What `outcomes` does without a cache is what GridSearchCV does, so that the tests above compare with it."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    grid = {"logisticregression__C": [0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=KFold(3, shuffle=True, random_state=0)).fit(X, Y)
    ours = [outcome["test_scores"] for outcome in outcomes(pipeline, grid, cache="memory")]
    theirs = [search.cv_results_[f"split{split}_test_score"][candidate] for candidate in range(2) for split in range(3)]
    assert ours == theirs


def test_the_private_names_of_others_that_are_used_are_there():
    """What a new scikit-learn or joblib may have renamed: without some of them too much would be shared."""
    search = GridSearchCV(StandardScaler(), {}).set_callbacks(ProgressBar())
    assert search._skl_callbacks
    assert search._init_callback_context()._callbacks
    assert not GridSearchCV(StandardScaler(), {})._init_callback_context()._callbacks
    assert StandardScaler().set_output(transform="pandas")._sklearn_output_config
    with sklearn.config_context(enable_metadata_routing=True):
        assert Ridge().set_fit_request(sample_weight=True)._metadata_request
    scorer = _MultimetricScorer(scorers={"r2": check_scoring(Ridge(), "r2")}, raise_exc=True)
    assert list(scorer._scorers) == ["r2"]
    assert scorer._raise_exc is True
    assert type(scorer._scorers["r2"]) is _Scorer
    assert type(check_scoring(Ridge())) is _PassthroughScorer
    pool = joblib.Parallel(2)
    assert pool._effective_n_jobs() == 2
    assert not getattr(pool._backend, "supports_sharedmem", False)
    with joblib.parallel_config("threading"):
        assert joblib.Parallel(2)._backend.supports_sharedmem


class Watching:
    """A callback that goes down to the steps of a pipeline."""

    max_propagation_depth = None

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **given):
        FITS["begun"] += 1

    def on_fit_task_end(self, estimator, context, **given):
        pass


def test_nothing_is_shared_where_callbacks_watch():
    pipeline = Pipeline([("one", Counted()), ("last", LogisticRegression())])
    search = GridSearchCV(pipeline, {}).set_callbacks(Watching())
    candidates = [{"last__C": 0.1}, {"last__C": 1.0}]
    settings = {"scorer": check_scoring(pipeline), "fit_params": None, "score_params": None, "verbose": 0}
    with opened("memory", X, Y) as cache, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Counted knows nothing of callbacks
        for parameters, of in zip(candidates, plan(pipeline, candidates, 1, cache).caches, strict=True):
            root = search._init_callback_context(max_subtasks=1).call_on_fit_task_begin(estimator=search, X=X, y=Y)
            context = root.subcontext(task_name="fit")
            split = {"train": np.arange(60), "test": np.arange(60, 90), "parameters": parameters}
            fit_and_score(clone(pipeline), X, Y, **split, **settings, cache=of, caller=search, callback_ctx=context)
    assert FITS["step"] == 2
    assert FITS["begun"] > 2
