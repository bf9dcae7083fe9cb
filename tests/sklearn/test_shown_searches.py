"""Searches with ``progress=True``, wherever they run and whoever looks."""

import io
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress

import nbformat
import pexpect
import pytest
from nbclient import NotebookClient
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from tests.sklearn.cases import X, y
from tests.sklearn.comparing import OURS, assert_same_results
from whet.sklearn import SearchCV, showing

KINDS = {
    "GridSearchCV": lambda **options: OURS["GridSearchCV"](SVC(), {"C": [0.1, 1.0, 10.0]}, cv=3, **options),
    "RandomizedSearchCV": lambda **options: OURS["RandomizedSearchCV"](
        SVC(), {"C": [0.1, 1.0, 10.0]}, n_iter=2, random_state=0, cv=3, **options
    ),
    "HalvingGridSearchCV": lambda **options: OURS["HalvingGridSearchCV"](
        SVC(), {"C": [0.1, 1.0, 10.0]}, random_state=0, cv=3, **options
    ),
    "HalvingRandomSearchCV": lambda **options: OURS["HalvingRandomSearchCV"](
        SVC(), {"C": [0.1, 1.0, 10.0]}, n_candidates=3, random_state=0, cv=3, **options
    ),
    "SearchCV": lambda **options: SearchCV(
        SVC(), {"C": (0.1, 10.0)}, strategy="random", n_trials=2, random_state=0, cv=3, **options
    ),
}
SUMMARY = re.compile(
    r"(?P<name>\w+) of SVC: [\d +]+ candidates × 3 splits in \S+ s\n"
    r"  best score=0\.\d+ \(standard error 0\.\d+, candidate \d\): C=\S+\n"
    r"  \d+ fits \(\S+ s of work(, \S+ at a time)?\)\n"
    r"  best_estimator_ was fitted to all data in \S+ s\n"
)


class Terminal(io.StringIO):
    """A terminal that keeps what was drawn on it."""

    def isatty(self):
        return True


class Broken(Terminal):
    """A terminal that nobody reads any more."""

    def write(self, text):
        raise BrokenPipeError


@pytest.fixture
def at_once(monkeypatch):
    """Draw without waiting for a moment, and often."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(showing, "_FIRST_AFTER_S", 0.0)
    monkeypatch.setattr(showing, "_EVERY_S", dict.fromkeys(showing._EVERY_S, 0.001))


class Paced(SVC):
    """Takes its time, so that there is something to see."""

    def fit(self, X, y):
        time.sleep(0.02)
        return super().fit(X, y)


@pytest.mark.parametrize("name", KINDS)
def test_results_are_the_same_and_a_summary_is_said(name, capsys):
    plain = KINDS[name]().fit(X, y)
    assert capsys.readouterr() == ("", "")
    search = KINDS[name](progress=True).fit(X, y)
    assert_same_results(search.cv_results_, plain.cv_results_)
    out, err = capsys.readouterr()
    assert out == ""
    assert SUMMARY.fullmatch(err)["name"] == name
    assert f"candidate {search.best_index_})" in err
    assert f"best score={search.best_score_:.6g} " in err
    assert not [thread for thread in threading.enumerate() if thread.name == "whet-progress"]


def test_what_is_drawn_on_a_terminal(at_once, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    search = OURS["GridSearchCV"](Paced(), {"C": [0.1, 1.0, 10.0]}, cv=3, progress=True, scoring="accuracy").fit(X, y)
    drawn = terminal.getvalue()
    assert sys.stderr is terminal
    assert "━" in drawn
    assert re.search(r" 0/9 fits · \S+ s so far · 0/3 candidates", drawn), "before the first fit is done"
    assert re.search(r" [1-8]/9 fits · (best accuracy=0\.\d+ · )?about \S+ s left", drawn)
    assert drawn.rpartition("\x1b[?25h")[2].endswith(" s\n"), "the cursor is back, and then there is the summary"
    assert drawn.count("best_estimator_ was fitted") == 1
    assert search.best_score_ > 0


def test_a_failure_is_shown_at_once_and_the_others_are_counted(capsys):
    search = OURS["GridSearchCV"](SVC(), {"C": [-1.0, 1.0, -2.0]}, cv=3, progress=True)
    with pytest.warns(Warning):
        search.fit(X, y)
    first, *summary = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"a fit failed: .*InvalidParameterError: The 'C' parameter .*; parameters: C=-1", first)
    assert "  6 fits failed: 6 InvalidParameterError" in summary


def test_several_metrics(capsys):
    options = {"scoring": ["accuracy", "f1"], "progress": True, "cv": 3}
    OURS["GridSearchCV"](SVC(), {"C": [1.0, 2.0]}, refit="f1", **options).fit(X, y)
    assert re.search(r"\n  best f1=0\.\d+ \(standard error 0\.\d+, candidate \d\): C=\d\n", capsys.readouterr().err)
    OURS["GridSearchCV"](SVC(), {"C": [1.0, 2.0]}, refit=False, **options).fit(X, y)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "  several metrics, so no single best candidate"
    assert len(lines) == 3
    OURS["GridSearchCV"](SVC(), {"C": [1.0, 2.0]}, refit=lambda results: 1, **options).fit(X, y)
    assert capsys.readouterr().err.splitlines()[1] == "  chosen candidate 1: C=2"


def test_an_error_has_the_last_word(capsys):
    with pytest.raises(ValueError, match="C"):
        OURS["GridSearchCV"](SVC(), {"C": [-1.0]}, cv=3, progress=True, error_score="raise").fit(X, y)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["closed", "broken", "none"])
def test_whoever_looks_or_not(kind, at_once, monkeypatch):
    stream = {"closed": Terminal(), "broken": Broken(), "none": None}[kind]
    if kind == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    for _ in range(2):  # the bar is free again for the second one
        search = OURS["GridSearchCV"](Paced(), {"C": [0.1, 1.0]}, cv=3, progress=True).fit(X, y)
        assert search.best_score_ > 0
    assert sys.stderr is stream


def test_a_stream_without_our_characters(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    KINDS["GridSearchCV"](progress=True).fit(X, y)
    assert b"3 candidates \\xd7 3 splits in " in raw.getvalue()


def test_a_terminal_without_our_characters(at_once, monkeypatch):
    class Plain(Terminal):
        encoding = "ascii"

    terminal = Plain()
    monkeypatch.setattr(sys, "stderr", terminal)
    OURS["GridSearchCV"](Paced(), {"C": [0.1, 1.0, 10.0]}, cv=3, progress=True).fit(X, y)
    bar, _, summary = terminal.getvalue().rpartition("\x1b[?25h")
    assert bar.isascii()
    assert re.search(r"-\x1b\[0m +\d/9 fits \? ", bar)
    assert "GridSearchCV of Paced: 3 candidates" in summary


def test_hostile_parameters(at_once, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    class Nasty:
        def __repr__(self):
            raise RuntimeError("no repr")

    class Labelled(Paced):
        def __init__(self, C=1.0, label=None, other=None):
            super().__init__(C=C)
            self.label = label
            self.other = other

    grid = {"label": ["\x1b[2J\x9b31m\rbad\x00" * 1000], "other": [Nasty()]}
    OURS["GridSearchCV"](Labelled(), grid, cv=3, progress=True).fit(X, y)
    assert "bad" in terminal.getvalue()
    assert not re.search("[\x00-\x08\x9b]|\x1b\\[2J", terminal.getvalue())
    assert max(map(len, terminal.getvalue().splitlines())) < 400


def test_searches_within_a_search(at_once, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    inner = OURS["GridSearchCV"](Paced(), {"C": [0.1, 1.0]}, cv=2, progress=True)
    OURS["GridSearchCV"](inner, {"estimator__gamma": ["scale", 0.1]}, cv=2, progress=True).fit(X, y)
    drawn = terminal.getvalue()
    assert drawn.count("GridSearchCV of Paced: 2 candidates") == 5
    assert drawn.count("GridSearchCV of GridSearchCV: 2 candidates") == 1
    assert set(re.findall(r"\d/(\d) fits · ", drawn)) == {"4"}, "the outer one has the bar"
    assert sys.stderr is terminal


def test_searches_in_threads(at_once, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    searches = [OURS["GridSearchCV"](Paced(), {"C": [0.1, 1.0, 2.0][:n]}, cv=3, progress=True) for n in (1, 2, 3)]
    threads = [threading.Thread(target=search.fit, args=(X, y)) for search in searches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drawn = terminal.getvalue()
    for n in ("1 candidate ×", "2 candidates ×", "3 candidates ×"):
        assert drawn.count(f"GridSearchCV of Paced: {n}") == 1
    assert sys.stderr is terminal


def test_other_estimators_that_hold_a_search(capsys):
    cross_val_score(KINDS["GridSearchCV"](progress=True), X, y, cv=2)
    assert len(SUMMARY.findall(capsys.readouterr().err)) == 2


# ---- on a terminal of its own
_RUN = """
import sys, time
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from whet.sklearn import GridSearchCV

X = np.random.default_rng(0).normal(size=(60, 3))
y = (X[:, 0] > 0).astype(int)

class Paced(LogisticRegression):
    def fit(self, X, y):
        time.sleep(PAUSE_S)
        return super().fit(X, y)

GRID = {"C": [0.01, 0.1, 1.0, 10.0]}
"""


def _spawn(code, tmp_path, pause_s=0.1):
    (tmp_path / "search.py").write_text(f"{_RUN.replace('PAUSE_S', str(pause_s))}\n{code}", encoding="utf-8")
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    return pexpect.spawn(
        sys.executable, ["search.py"], cwd=str(tmp_path), env=env, dimensions=(24, 160), encoding="utf-8", timeout=120
    )


def _read(terminal):
    text = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0, text
    return text, re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)


def test_the_bar_on_a_terminal(tmp_path):
    code = """
class Talking(Paced):
    def fit(self, X, y):
        print("said by a fit")
        return super().fit(X, y)

GridSearchCV(Talking(), GRID, cv=3, progress=True, verbose=1).fit(X, y)
print("after", type(sys.stdout).__name__)
"""
    text, plain = _read(_spawn(code, tmp_path))
    drawn = r"━.* \d/12 fits · best score=\S+ · about \S+ s left · \S+ s so far · \d/4 candidates"
    assert re.search(drawn, plain)
    assert plain.count("said by a fit\r\n") == 13, "above the bar"
    assert plain.count("Fitting 3 folds for each of 4 candidates, totalling 12 fits\r\n") == 1
    assert re.search(r"\rGridSearchCV of Talking: 4 candidates × 3 splits in \S+ s\r\n  best score=", plain)
    assert plain.endswith("after TextIOWrapper\r\n"), "standard output is what it was"
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is shown again"


def test_ctrl_c(tmp_path):
    code = """
search = GridSearchCV(Paced(), {"C": list(range(1, 1000))}, cv=2, progress=True)
try:
    search.fit(X, y)
except KeyboardInterrupt:
    n = len(search.cv_results_["params"])
    print("there are", n, hasattr(search, "best_estimator_"))
"""
    terminal = _spawn(code, tmp_path, 0.05)
    terminal.expect(r"[2-9]\d*/999 candidates")
    terminal.sendintr()
    _, plain = _read(terminal)
    n_done, n_there = re.search(
        r"Ctrl-C: (\d+) of 999 candidates done; cv_results_ has them, best_estimator_ was not fitted\r\n"
        r"there are (\d+) False\r\n",
        plain,
    ).groups()
    assert int(n_done) == int(n_there) >= 2
    assert "━" not in plain.rpartition("GridSearchCV of Paced")[2], "the bar is gone"


def test_a_terminal_that_is_closed(tmp_path):
    code = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
GridSearchCV(Paced(), {"C": list(range(1, 12))}, cv=3, progress=True).fit(X, y)
open("done.txt", "w").close()
os._exit(0)
"""
    terminal = _spawn(code, tmp_path)
    terminal.expect("━")
    with suppress(pexpect.ExceptionPexpect):  # the process does not end with its terminal
        terminal.close(force=False)
    deadline = time.monotonic() + 60
    while not (tmp_path / "done.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "done.txt").exists()


@pytest.mark.slow
def test_workers_leave_the_terminal_alone(tmp_path):
    code = """
if __name__ == "__main__":
    inner = GridSearchCV(LogisticRegression(), GRID, cv=3, progress=True)
    cross_val_score(inner, X, y, cv=2, n_jobs=2)
    GridSearchCV(LogisticRegression(), GRID, cv=3, progress=True, n_jobs=2, verbose=2).fit(X, y)
"""
    _, plain = _read(_spawn(code, tmp_path))
    assert "━" not in plain
    assert plain.count("GridSearchCV of LogisticRegression: 4 candidates × 3 splits in ") == 3
    assert plain.count("[CV] END ") == 12


def test_standard_error_that_was_closed_from_the_start(tmp_path):
    code = "GridSearchCV(LogisticRegression(), GRID, cv=3, progress=True).fit(X, y)\nprint('done')"
    (tmp_path / "search.py").write_text(f"{_RUN}\n{code}".replace("PAUSE_S", "0"), encoding="utf-8")
    command = ["sh", "-c", 'exec "$0" search.py 2>&-', sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_display_of_a_notebook(tmp_path):
    code = """
GridSearchCV(Paced(), GRID | {"class_weight": [None, {0: 1, 1: "<script>"}]}, cv=3, progress=True).fit(X, y)
print("on")
"""
    cells = [_RUN.replace("PAUSE_S", "0.2"), code, "1 + 1"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = notebook.cells[1].outputs
    (display,) = [output for output in outputs if output.output_type == "display_data"]
    (page,) = [display["data"]["text/html"]]
    assert "<div>GridSearchCV of Paced: 8 candidates × 3 splits in " in page
    assert "<pre>a fit failed: " in page
    assert "<progress" not in page, "the last state stays"
    assert "<script" not in page
    assert [output.output_type for output in notebook.cells[2].outputs] == ["execute_result"]
