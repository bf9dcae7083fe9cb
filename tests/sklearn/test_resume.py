"""A search that is killed and begun again: only missing fits run, and all ends as if it had never been killed."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import whet
from tests.sklearn.comparing import assert_same_results

SCRIPT = textwrap.dedent("""
    import json, os, pickle, sys, time
    from scipy.stats import loguniform
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC
    from whet.sklearn import *


    class Logged(LogisticRegression):
        def fit(self, X, y):
            with open(log, "a") as file:
                file.write(f"{self.C} {self.max_iter} {self.class_weight} {X.sum()} {len(X)}\\n")
            time.sleep(0.02)
            if self.C == 10.0:
                raise ArithmeticError("of this one nothing comes")
            return super().fit(X, y)


    X, y = make_classification(120, random_state=0, flip_y=0.2)
    kept = {"store": "x.db", "name": "long", "resume": True, "cv": 3, "refit": False, "return_train_score": True}
    C = [0.01, 0.1, 1.0, 10.0, 100.0]
    several = {"scoring": lambda e, X, y: {"accuracy": e.score(X, y), 7: e.coef_[0, 0]}}
    SEARCHES = {
        "grid": lambda: GridSearchCV(Logged(), {"C": C}, **kept),
        "objects": lambda: GridSearchCV(
            Logged(), [{"C": C[:2], "class_weight": [None, {0: 1, 1: 2}]}, {"C": [1]}], **several, **kept
        ),
        "randomized": lambda: RandomizedSearchCV(
            Logged(), {"C": loguniform(1e-3, 1e3)}, n_iter=6, random_state=0, n_jobs=n_jobs, **kept
        ),
        "halving": lambda: HalvingGridSearchCV(Logged(), {"C": C}, random_state=0, min_resources=20, **kept),
        "halving by a parameter": lambda: HalvingGridSearchCV(
            Logged(), {"C": C}, resource="max_iter", min_resources=50, max_resources=450, **kept
        ),
        "chosen": lambda: SearchCV(
            Logged(), {"C": (1e-3, 1e3, "log")}, strategy="tpe(n_start=3)", n_trials=7, random_state=0, **kept
        ),
        "chosen without a seed": lambda: SearchCV(
            Logged(), {"C": [*C, 3.0]}, strategy="grid", n_trials=6, **kept
        ),
    }


    def search():
        found = [SEARCHES[kind]().fit(X, y).cv_results_ for _ in range(2)]
        with open(results, "wb") as file:
            pickle.dump(found, file)


    # What runs a search is forked, as loading scikit-learn takes long, and so does loading what a first search needs.
    SearchCV(SVC(), {"C": (1.0, 2.0)}, strategy="tpe(n_start=1)", n_trials=2, store="first.db", name="first").fit(X, y)
    for line in sys.stdin:
        order = json.loads(line)
        kind, n_jobs, log, results = (order[name] for name in ("kind", "n_jobs", "log", "results"))
        if pid := os.fork():
            print(pid, flush=True)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
            continue
        os.setsid()
        os.chdir(order["folder"])
        os.dup2(os.open("errors.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        search()
        sys.exit()
    """)
KINDS = [
    "grid",
    "objects",
    pytest.param("randomized", marks=pytest.mark.slow),  # with workers, which load scikit-learn for themselves
    "halving",
    "halving by a parameter",
    "chosen",
    "chosen without a seed",
]


class Interpreter:
    """Has loaded the script, and runs it in processes of their own, one at a time."""

    def __init__(self, script: Path, seed: int):
        command, env = [sys.executable, "-W", "ignore", script], {**os.environ, "PYTHONHASHSEED": str(seed)}
        folder, pipe = script.parent / str(seed), subprocess.PIPE
        folder.mkdir()
        self.process = subprocess.Popen(command, cwd=folder, env=env, stdin=pipe, stdout=pipe, text=True)

    def start(self, folder: Path, kind: str, n_jobs: int = 1, log: str = "fits.log", results: str = "results.pickle"):
        """Begin the searches of this *kind* in *folder*, and return the id of the process that does."""
        order = {"folder": str(folder), "kind": kind, "n_jobs": n_jobs, "log": log, "results": results}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        assert pid > 1, "the one before has not been waited for"
        return pid

    def wait(self):
        """Return the exit code of what was begun, once it has ended."""
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def interpreters(tmp_path_factory):
    """Three, in which strings have other hashes: nothing may depend on these."""
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT)
    started = [Interpreter(script, seed) for seed in (1, 2, 3)]
    yield started
    for one in started:
        one.process.communicate()


class Place:
    """A folder in which the script runs."""

    def __init__(self, folder: Path, kind: str, n_jobs: int = 1):
        folder.mkdir()
        self.folder, self.kind, self.n_jobs = folder, kind, n_jobs

    @property
    def fits(self):
        log = self.folder / "fits.log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def errors(self):
        return (self.folder / "errors.txt").read_text()

    def run(self, interpreter):
        interpreter.start(self.folder, self.kind, self.n_jobs)
        assert interpreter.wait() == 0, self.errors
        return pickle.loads((self.folder / "results.pickle").read_bytes())

    def run_until(self, n_fits, interpreter):
        """Kill the script, and all its processes, once it has begun so many more fits."""
        n_fits += len(self.fits)
        pid = interpreter.start(self.folder, self.kind, self.n_jobs)
        deadline = time.monotonic() + 120
        while psutil.pid_exists(pid) and len(self.fits) < n_fits and time.monotonic() < deadline:
            time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        interpreter.wait()


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_begun_again_it_ends_as_if_it_had_never_been_killed(tmp_path, kind, interpreters):
    first, second, third = interpreters
    n_jobs = 2 if kind == "randomized" else 1  # as many are lost in each kill
    unharmed, killed = Place(tmp_path / "unharmed", kind), Place(tmp_path / "killed", kind, n_jobs)
    expected, again = unharmed.run(first)
    assert_same_results(again, expected)
    assert len(unharmed.fits) == len(set(unharmed.fits))
    killed.run_until(1, first)
    killed.run_until(7, second)
    for results in killed.run(third):
        assert_same_results(results, expected)
    assert set(killed.fits) == set(unharmed.fits)
    assert len(unharmed.fits) <= len(killed.fits) <= len(unharmed.fits) + 2 * n_jobs
    states = [trial.state for trial in whet.load("long", killed.folder / "x.db").trials]
    assert states == [trial.state for trial in whet.load("long", unharmed.folder / "x.db").trials]


def test_the_second_of_two_at_a_time_is_refused(tmp_path, interpreters):
    place = Place(tmp_path / "both", "grid")
    first, second, _ = interpreters
    pid = first.start(place.folder, "grid")
    while len(place.fits) < 2:
        time.sleep(0.002)
    second.start(place.folder, "grid", log="others.log", results="others.pickle")
    code = second.wait()
    assert first.wait() == 0, place.errors
    if code:  # else the first one was done before
        assert f"'long' is being run by pid {pid}" in place.errors
    assert not (place.folder / "others.log").exists()
    assert len(place.fits) == 15
