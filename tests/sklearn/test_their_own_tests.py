"""scikit-learn's own tests of its searches, run on whet's: their behaviour is the specification."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]

# Tests that fail, and why that is right.
_KNOWN = {
    "test_custom_run_search": "compares every public attribute of two searches with ==, and a study equals only itself",
}


def _run(folder, modules, *options):
    """Run the tests of *modules* with whet's searches in the place of theirs; return what failed, and the output."""
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rfE",
        "-p",
        "tests.sklearn.in_their_place",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*argv, *options, "--pyargs", *modules],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr  # else it was no test that failed
    failed = {re.sub(r"\[.*", "", name) for name in re.findall(r"^(?:FAILED|ERROR) \S*?::(\S+)", done.stdout, re.M)}
    return failed, done.stdout


def _n(pattern, output):
    return int(re.search(pattern, output).group(1))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_searches(tmp_path):
    modules = ["sklearn.model_selection.tests.test_search", "sklearn.model_selection.tests.test_successive_halving"]
    failed, output = _run(tmp_path, modules)
    assert failed == set(_KNOWN), output[-10_000:]
    assert _n(r"(\d+) passed", output) > 200
    assert _n(r"searches by whet: (\d+)", output) > 250


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_all_estimators(tmp_path):
    """The checks of estimators, metadata routing and delegation that scikit-learn runs on all it has."""
    modules = [
        "sklearn.tests.test_common",
        "sklearn.tests.test_metaestimators",
        "sklearn.tests.test_metaestimators_metadata_routing",
    ]
    failed, output = _run(tmp_path, modules, "-k", "SearchCV")
    assert not failed, output[-10_000:]
    assert _n(r"(\d+) passed", output) > 500
    assert _n(r"searches by whet: (\d+)", output) > 500
