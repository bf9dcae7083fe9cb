"""A search that is killed and begun again: only missing fits run, and all ends as if it had never been killed."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import whet
from tests.sklearn.comparing import assert_same_results

SCRIPT = textwrap.dedent("""
    import os, pickle, sys, time
    from scipy.stats import loguniform
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from whet.sklearn import *

    kind, log, results = sys.argv[1:]


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
            Logged(), {"C": loguniform(1e-3, 1e3)}, n_iter=6, random_state=0, n_jobs=2, **kept
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
    found = [SEARCHES[kind]().fit(X, y).cv_results_ for _ in range(2)]
    with open(results, "wb") as file:
        pickle.dump(found, file)
    """)
KINDS = [
    "grid",
    "objects",
    "randomized",
    "halving",
    "halving by a parameter",
    "chosen",
    "chosen without a seed",
]


class Place:
    """A folder in which the script runs."""

    def __init__(self, folder: Path, kind: str):
        folder.mkdir()
        (folder / "script.py").write_text(SCRIPT)
        self.folder, self.kind = folder, kind

    @property
    def fits(self):
        log = self.folder / "fits.log"
        return log.read_text().splitlines() if log.exists() else []

    def start(self):
        command = [sys.executable, "-W", "ignore", "script.py", self.kind, "fits.log", "results.pickle"]
        env = {**os.environ, "PYTHONHASHSEED": "random"}
        return subprocess.Popen(command, cwd=self.folder, env=env, start_new_session=True)

    def run(self):
        assert self.start().wait(120) == 0
        return pickle.loads((self.folder / "results.pickle").read_bytes())

    def run_until(self, n_fits):
        """Kill the script, and all its processes, once it has begun so many more fits."""
        process, n_fits = self.start(), n_fits + len(self.fits)
        deadline = time.monotonic() + 120
        while process.poll() is None and len(self.fits) < n_fits and time.monotonic() < deadline:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_begun_again_it_ends_as_if_it_had_never_been_killed(tmp_path, kind):
    unharmed, killed = Place(tmp_path / "unharmed", kind), Place(tmp_path / "killed", kind)
    expected, again = unharmed.run()
    assert_same_results(again, expected)
    assert len(unharmed.fits) == len(set(unharmed.fits))
    n_lost = 2 if kind == "randomized" else 1  # as many as run at a time
    for n_fits in (1, 7):
        killed.run_until(n_fits)
    for results in killed.run():
        assert_same_results(results, expected)
    assert set(killed.fits) == set(unharmed.fits)
    assert len(unharmed.fits) <= len(killed.fits) <= len(unharmed.fits) + 2 * n_lost
    states = [trial.state for trial in whet.load("long", killed.folder / "x.db").trials]
    assert states == [trial.state for trial in whet.load("long", unharmed.folder / "x.db").trials]


def test_the_second_of_two_at_a_time_is_refused(tmp_path):
    place = Place(tmp_path / "both", "grid")
    first = place.start()
    while len(place.fits) < 2:
        time.sleep(0.002)
    command = [sys.executable, "-W", "ignore", "script.py", "grid", "others.log", "others.pickle"]
    second = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, check=False)
    assert first.wait(120) == 0
    if second.returncode:  # else the first one was done before
        assert f"'long' is being run by pid {first.pid}" in second.stderr
    assert not (place.folder / "others.log").exists()
    assert len(place.fits) == 15
