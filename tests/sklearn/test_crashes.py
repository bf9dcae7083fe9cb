"""Workers that die, fits that take too long, searches that are ended: what it costs, and what is left."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import psutil
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.datasets import make_classification
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV as TheirGridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from tests.sklearn.deadly import Deadly, Slowly, Unborn
from tests.sklearn.tasking import tasks_of
from tests.sklearn.workers import started_by
from whet.sklearn import GridSearchCV, crashes
from whet.sklearn.crashes import Notes, WorkerDied, note
from whet.sklearn.guard import FitTimeout
from whet.sklearn.tasks import Work, failed, outcomes_of, pool_of

pytestmark = pytest.mark.usefixtures("quick_workers")

ROOT = Path(__file__).parents[2]
X, y = make_classification(n_samples=60, n_features=8, random_state=0)
SPLITS = [(np.arange(30), np.arange(30, 60)), (np.arange(30, 60), np.arange(30))]
OPTIONS = {
    "scorer": check_scoring(Deadly()),
    "fit_params": {},
    "score_params": {},
    "return_train_score": False,
    "return_n_test_samples": True,
    "return_times": True,
    "return_parameters": False,
    "error_score": np.nan,
    "verbose": 0,
}


def searched(ways, estimator=None, n_jobs=2, backend="loky", **options):
    """Search over candidates that fit in these ways; return the search and what was said of failed fits."""
    grid = [{"way": [way], "feature": [feature]} for feature, way in enumerate(ways)]
    with warnings.catch_warnings(record=True) as caught, joblib.parallel_config(backend):
        warnings.simplefilter("always")
        search = GridSearchCV(estimator or Deadly(), grid, cv=SPLITS, n_jobs=n_jobs, refit=False, **options)
        search.fit(X, y)
    told = "".join(str(warning.message) for warning in caught if warning.category is FitFailedWarning)
    others = [str(warning.message) for warning in caught if warning.category is not FitFailedWarning]
    assert all("scores are non-finite" in one for one in others), others
    return search, told


def scores(search):
    return np.array([search.cv_results_[f"split{split}_test_score"] for split in range(2)]).T


def expected(n):
    return scores(TheirGridSearchCV(Deadly(), {"feature": range(n)}, cv=SPLITS, refit=False).fit(X, y))


def check_failed(search, numbers):
    """All the candidates with these numbers have failed, and the others are as they should be."""
    wanted = expected(len(search.cv_results_["params"]))
    wanted[numbers] = np.nan
    np.testing.assert_array_equal(scores(search), wanted)


@pytest.mark.parametrize("start", ["forkserver", pytest.param("loky", marks=pytest.mark.slow)])
def test_a_worker_that_dies_costs_one_candidate(start):
    with started_by("loky") if start == "loky" else contextlib.nullcontext():
        search, told = searched(["fits", "fits", "exits", "fits", "fits"], return_train_score=True)
    check_failed(search, [2])
    assert np.isnan(search.cv_results_["mean_train_score"]).tolist() == [False, False, True, False, False]
    assert "2 fits failed out of a total of 10" in told
    assert "WorkerDied: the worker process that ran this fit ended abruptly (exit status 3)" in told
    assert "WorkerDied: not run, as another fit of this candidate ended its worker process (exit status 3)" in told
    states = [trial.state.value for trial in search.study_.trials]
    assert states == ["completed", "completed", "failed", "completed", "completed"]


def test_each_of_several_costs_only_itself():
    ways = ["rests", "is killed", "rests", "exits", "exits", "rests", "crashes", "rests"]
    # One worker more than splits: when one ends, others are at a candidate that is not at fault.
    check_failed(searched(ways, n_jobs=3)[0], [1, 3, 4, 6])


@pytest.mark.parametrize("cache", ["memory", "folder"])
def test_a_crash_in_compiled_code_within_a_pipeline_that_shares_its_steps(cache, tmp_path):
    """Of what the dead worker had shared nothing is left that would make a difference."""
    pipe = Pipeline([("center", Slowly()), ("clf", Deadly(when="score"))])
    ways = [(0.0, 0, "fits"), (0.0, 1, "crashes"), (0.0, 2, "fits"), (0.5, 0, "fits"), (0.5, 1, "fits")]
    grid = [{"center__shift": [shift], "clf__feature": [feature], "clf__way": [way]} for shift, feature, way in ways]
    good = [grid[i] for i in (0, 2, 3, 4)]
    alone = TheirGridSearchCV(pipe, good, cv=SPLITS, refit=False).fit(X, y)
    options = {"refit": False, "n_jobs": 2, "cache": tmp_path if cache == "folder" else cache}
    with pytest.warns() as caught:
        search = GridSearchCV(pipe, grid, cv=SPLITS, **options).fit(X, y)
    assert "killed by SIGSEGV; a crash in compiled code" in str(caught[0].message)
    np.testing.assert_array_equal(scores(search)[[0, 2, 3, 4]], scores(alone))
    assert np.isnan(scores(search)[1]).all()


def test_a_worker_that_dies_raises_where_errors_are_to_be_raised():
    with pytest.raises(WorkerDied, match=r"killed by SIGKILL; out of memory\?"):
        searched(["fits", "is killed", "fits"], error_score="raise")
    check_failed(searched(["fits", "fits"])[0], [])  # the next search has workers


def test_where_all_fits_end_their_workers_joblib_says_so(monkeypatch):
    monkeypatch.setattr(crashes, "_MOST_DEAD_CANDIDATES", 2)
    with pytest.raises(TerminatedWorkerError, match="unexpectedly"):
        searched(["exits"] * 5)


def test_workers_that_die_without_a_fit_are_not_tried_for_ever():
    with pytest.raises(TerminatedWorkerError, match=r"EXIT\(5\)"):
        searched(["fits"] * 5, Unborn())


def run(work, data, candidates, n_jobs=2, **options):
    with pool_of(n_jobs, "2*n_jobs") as pool:
        tasks = tasks_of(candidates, SPLITS)
        return list(outcomes_of(pool, work, data, y, tasks, **options))


def test_every_fit_comes_back_once_however_many_are_handed_out(tmp_path):
    """Short fits are handed out many at a time, and some are taken from the list and not yet handed out."""
    n = 150
    mark = tmp_path / "mark"
    ways = ["fits" if i != 100 else "exits" for i in range(n)]
    candidates = [{"way": way, "feature": i % 8, "mark": str(mark)} for i, way in enumerate(ways)]
    came = run(Work(Deadly(), OPTIONS), X, candidates)
    assert sorted(index for index, _ in came) == list(range(2 * n))
    assert {index for index, outcome in came if outcome["fit_error"] is not None} == {200, 201}
    assert mark.read_text().count("exits") in (2, 3)  # among the others and alone; twice if both its folds began


def test_what_is_known_of_a_candidate_holds_for_later_calls():
    dead = {}
    candidates = [{"way": "fits"}, {"way": "exits"}]
    run(Work(Deadly(), OPTIONS), X, candidates, dead=dead)
    assert dead == {id(candidates[1]): "ended its worker process (exit status 3)"}
    outcomes = dict(run(Work(Deadly(), OPTIONS), X, candidates[1:], dead=dead))
    assert all(outcome["fit_error"].startswith("WorkerDied: not run") for outcome in outcomes.values())


# In a process of its own: what is left in files, and what it says, is seen when it has ended.
BIG = """
import os
import numpy as np
from sklearn.base import BaseEstimator
from tests.sklearn.tasking import is_mapped, tasks_of
from whet.sklearn.tasks import Work, outcomes_of, pool_of

def fit_and_score(estimator, X, y, *, parameters, **given):
    if parameters["alpha"] == 2.0:
        os._exit(3)
    return {"mapped": is_mapped(X), "fit_error": None}

if __name__ == "__main__":
    X = np.random.default_rng(0).random((20_000, 20))
    with pool_of(2, "2*n_jobs") as pool:
        tasks = tasks_of([{"alpha": float(i)} for i in range(6)], [([0], [1])])
        outcomes = dict(outcomes_of(pool, Work(BaseEstimator(), {}, fit_and_score), X, None, tasks))
    print([outcomes[i].get("mapped") for i in range(6)])
"""


@pytest.mark.slow
def test_data_are_shared_again_after_a_crash_and_nothing_is_left(tmp_path):
    script = tmp_path / "big.py"
    script.write_text(BIG)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {**os.environ, "JOBLIB_TEMP_FOLDER": str(temporary), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, timeout=240, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[True, True, None, True, True, True]", "")
    assert list(temporary.iterdir()) == []


KILLED = """
import os, time
import numpy as np
from joblib import parallel_config
from sklearn.datasets import make_classification
from sklearn.pipeline import Pipeline
from tests.sklearn.deadly import Deadly, Slowly
from whet.sklearn import GridSearchCV

X, y = make_classification(n_samples=6000, n_features=30, random_state=0)  # large enough to be a memory map
pipeline = Pipeline([("slowly", Slowly()), ("deadly", Deadly("sleeps", mark="begun"))])
grid = {"deadly__feature": [0, 1], "slowly__shift": [0.0, 1.0]}
GridSearchCV(pipeline, grid, cv=2, n_jobs=2, cache="memory", refit=False).fit(X, y)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_when_a_search_is_killed_its_workers_end_and_nothing_is_left(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {**os.environ, "JOBLIB_TEMP_FOLDER": str(temporary), "PYTHONPATH": str(ROOT)}
    search = subprocess.Popen([sys.executable, "killed.py"], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    begun = tmp_path / "begun"
    deadline = time.monotonic() + 120
    while not (begun.exists() and len(begun.read_text().splitlines()) == 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {path.name.rpartition("-")[0] for path in temporary.glob("whet-*")} == {"whet-fits", "whet-prefixes"}
    processes = psutil.Process(search.pid).children(recursive=True)
    search.kill()
    search.wait()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("n_jobs", "backend", "way"), [(1, "loky", "sleeps"), (2, "loky", "sleeps"), (2, "threading", "loops")]
)
@pytest.mark.parametrize("when", ["fit", "score"])
def test_a_fit_that_takes_too_long_has_failed(n_jobs, backend, way, when):
    ways = ["fits", way, "fits"]
    # So long that a fit is through, however busy the machine.
    search, told = searched(ways, Deadly(when=when), n_jobs=n_jobs, backend=backend, fit_timeout=2)
    check_failed(search, [1])
    assert "2 fits failed out of a total of 6" in told
    assert "2 fits failed with the following error:\nFitTimeout: took longer than fit_timeout=2 s" in told
    assert (search.cv_results_["mean_fit_time"][1], search.cv_results_["std_fit_time"][1]) == (2.0, 0.0)


def test_a_fit_that_takes_too_long_raises_where_errors_are_to_be_raised():
    with pytest.raises(FitTimeout, match="fit_timeout=1 s"):
        searched(["sleeps", "fits"], n_jobs=1, fit_timeout=1, error_score="raise")
    with pytest.raises(FitTimeout, match="fit_timeout=1 s"):
        searched(["sleeps", "fits"], fit_timeout=1, error_score="raise")


def test_a_search_within_a_fit_does_not_go_on():
    """It would take what its own fits raise for a failure of theirs."""
    inner = GridSearchCV(Deadly(way="sleeps"), {"feature": range(8)}, cv=SPLITS, refit=False)
    outer = GridSearchCV(inner, {"cv": [2]}, cv=SPLITS, fit_timeout=1, refit=False, scoring=lambda *_: 1.0)
    with pytest.raises(ValueError, match=r"(?s)All the 2 fits failed.*2 fits failed with.*FitTimeout") as caught:
        outer.fit(X, y)
    assert "Traceback" not in str(caught.value)


def test_scores_of_a_fit_that_took_too_long_are_those_of_a_failed_one():
    options = {"scoring": ["accuracy", "f1"], "error_score": -1.0, "return_train_score": True}
    search, _ = searched(["fits", "sleeps"], n_jobs=1, fit_timeout=1, **options)
    for name in ("test_accuracy", "test_f1", "train_accuracy", "train_f1"):
        assert search.cv_results_[f"mean_{name}"][1] == -1.0
        assert search.cv_results_[f"mean_{name}"][0] >= 0
    by_function, _ = searched(["fits", "sleeps"], n_jobs=1, fit_timeout=1, error_score=-1.0, scoring=two_scores)
    assert by_function.cv_results_["mean_test_one"].tolist() == [1.0, -1.0]


def two_scores(estimator, X, y):
    return {"one": 1.0, "two": 2.0}


def test_compiled_code_that_does_not_end_is_ended_with_its_worker():
    search, told = searched(["fits", "spins", "fits", "fits"], fit_timeout=2)
    check_failed(search, [1])
    assert "FitTimeout: took longer than fit_timeout=2 s, in compiled code: its worker process had to be ended" in told
    assert "WorkerDied: the worker" not in told


def test_what_a_failed_fit_comes_to_counts_its_test_samples():
    task = next(tasks_of([{}], SPLITS))
    mask = np.zeros(60, dtype=bool)
    mask[:7] = True
    for test, n in [(np.arange(5), 5), (mask, 7), (slice(10, 20), 10), ([3, 4], 2)]:
        given = type(task)(0, {}, task.train, test, (0, 1), (0, 2), None, None)
        assert failed(Work(SVC(), OPTIONS), X, given, FitTimeout("late"), 1.5) == {
            "fit_error": "FitTimeout: late",
            "test_scores": pytest.approx(np.nan, nan_ok=True),
            "n_test_samples": n,
            "fit_time": 1.5,
            "score_time": 0.0,
        }


def test_notes_tell_where_a_worker_is(tmp_path, monkeypatch):
    notes = Notes(str(tmp_path))
    assert notes.read() == {}
    file = note(notes.folder, 5)
    assert note(notes.folder, 8) is file
    assert notes.read() == {8: False}
    file.write(b"Timeout (0:00:02)!\n")
    assert notes.read() == {8: True}
    (tmp_path / "cut short").write_bytes(b"123")
    assert notes.read() == {8: True}
    notes.clear()
    assert notes.read() == {}
    assert note(str(tmp_path / "gone"), 1) is None  # and file is closed
    assert file.closed


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_who_takes_no_more_outcomes_ends_the_workers(backend):
    """And hears nothing of it: that fits were cancelled is what was asked for. Warnings are errors here."""
    before = set(psutil.Process().children(recursive=True))
    candidates = [{"way": "fits"}, {"way": "fits", "feature": 1}, *({"way": "sleeps", "feature": i} for i in range(9))]
    with joblib.parallel_config(backend), pool_of(2, "2*n_jobs") as pool:
        with contextlib.closing(
            outcomes_of(pool, Work(Naps(), OPTIONS), X, y, tasks_of(candidates, SPLITS))
        ) as outcomes:
            assert next(outcomes)[1]["fit_error"] is None
        assert dict(outcomes_of(pool, Work(Deadly(), OPTIONS), X, y, tasks_of([{}], SPLITS))).keys() == {
            0,
            1,
        }
    if backend == "loky":  # the fits that slept are gone, with their workers
        assert len(set(psutil.Process().children(recursive=True)) - before) <= 3


class Naps(Deadly):
    """Sleeps in short naps, as a thread that sleeps would hold up the end of the tests."""

    def fit(self, X, y):
        if self.way == "sleeps":
            while not _is_over:
                signal.sigtimedwait([signal.SIGUSR1], 0.05)
        self.classes_ = np.unique(y)
        return self


_is_over = []


@pytest.fixture(autouse=True)
def wake():
    _is_over.clear()
    yield
    _is_over.append(True)


INTERRUPTED = """
import os, sys
import joblib
import numpy as np
from tests.sklearn.deadly import Deadly
from whet.sklearn import GridSearchCV

X, y = np.ones((60, 8)), np.arange(60) % 2

class Telling(Deadly):
    def fit(self, X, y):
        os.write(1, b"at a fit\\n")  # whole, whoever else writes
        return super().fit(X, y)

if __name__ == "__main__":
    with joblib.parallel_config(sys.argv[1]):
        search = GridSearchCV(Telling(way=sys.argv[2]), {"feature": range(8)}, cv=2, n_jobs=int(sys.argv[3]))
        try:
            search.fit(X, y)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    if sys.argv[1] == "threading":  # Python may abort where it ends while threads run; that is not ours to test
        os._exit(0)
"""


@pytest.mark.parametrize(
    ("backend", "way", "n_jobs"),
    [
        ("loky", "sleeps", 2),
        pytest.param("loky", "spins", 2, marks=pytest.mark.slow),
        ("threading", "sleeps", 2),
        ("loky", "sleeps", 1),
    ],
)
def test_ctrl_c_ends_a_search(backend, way, n_jobs, tmp_path):
    """It comes to all processes of the terminal. The fits would last for ever, so that it ends at all says enough."""
    script = tmp_path / "search.py"
    script.write_text(INTERRUPTED)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JOBLIB_TEMP_FOLDER": str(temporary)}
    arguments = [sys.executable, script, backend, way, str(n_jobs)]
    process = subprocess.Popen(
        arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        for _ in range(n_jobs):
            assert process.stdout.readline() == "at a fit\n"
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
        # A worker that was interrupted may have been at another fit before its end.
        assert (process.returncode, out.replace("at a fit\n", "")) == (0, "interrupted\n")
        # loky's own process gets the signal as well, and may complain of what it then finds to be gone already.
        complaints = ("resource_tracker", "warnings.warn")
        assert [line for line in err.splitlines() if not any(words in line for words in complaints)] == []
        assert psutil.wait_procs(children, timeout=60)[1] == []
        assert list(temporary.iterdir()) == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_what_is_used_of_joblib_though_it_is_private():
    with pool_of(2, "2*n_jobs") as pool:
        assert isinstance(pool._backend, crashes.LokyBackend)
        assert pool._ready_batches.empty()
        with pool._ready_batches.mutex:
            pool._ready_batches.queue.clear()
