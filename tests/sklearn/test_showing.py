"""What is said of a search: its summary, parameters in words, and how far it is, from what it is told."""

import math
import os
import re
import threading
import time

import numpy as np
import pytest
from sklearn.model_selection import ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from whet.sklearn import GridSearchCV, HalvingGridSearchCV, SearchCV
from whet.sklearn import showing as showing_module
from whet.sklearn.showing import Showing, shown
from whet.sklearn.summaries import (
    Chosen,
    Facts,
    Tally,
    chosen_of,
    estimator_text,
    metric_text,
    parameters_text,
    raised,
    summary,
)

HOSTILE = "<b>\x1b]0;owned\x07\x1b[2J\x9b31m\rbad\x00\u202e"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")
GRID = {"C": [0.1, 1.0, 10.0]}


def _facts(**changed):
    tally = changed.pop("tally", Tally(batches=[48], n_candidates=48, n_run=240, work_s=241.0))
    facts = {
        "search": "GridSearchCV",
        "estimator": "SVC",
        "n_splits": 5,
        "n_foreseen": None,
        "tally": tally,
        "reason": "done",
        "has_results": True,
        "chosen": Chosen(17, "C=10 kernel=rbf", "accuracy", 0.93125, 0.0041),
        "refit": 3.2,
        "search_s": 125.0,
        "elapsed_s": 128.2,
    }
    return Facts(**{**facts, **changed})


# ---- the summary
def test_a_search_in_which_all_is_well():
    assert summary(_facts()).splitlines() == [
        "GridSearchCV of SVC: 48 candidates × 5 splits in 2 min 08 s",
        "  best accuracy=0.93125 (standard error 0.0041, candidate 17): C=10 kernel=rbf",
        "  240 fits (4 min 01 s of work, 1.9 at a time)",
        "  best_estimator_ was fitted to all data in 3.2 s",
    ]


def test_all_that_can_happen_to_fits():
    tally = Tally([48], 40, 8, 180, 40, 20, 2, {"FitTimeout": 1, "ValueError": 3}, 90.0)
    assert summary(_facts(tally=tally, refit=None)).splitlines()[2:] == [
        "  240 fits: 180 run (1 min 30 s of work), 40 kept from an earlier run, "
        "20 skipped, of 8 candidates stopped early",
        "  4 fits failed: 3 ValueError, 1 FitTimeout; 2 fits without a finite score",
    ]


def test_candidates_that_a_scheduler_stops():
    tally = Tally([48], 40, 8, 180, work_s=90.0)
    said = summary(_facts(tally=tally)).splitlines()[2]
    assert said == "  180 fits (1 min 30 s of work), 8 candidates stopped early"


def test_a_search_that_had_nothing_left_to_run():
    tally = Tally([48], 48, n_kept=240)
    assert summary(_facts(tally=tally)).splitlines()[2] == "  240 fits: 0 run, 240 kept from an earlier run"


def test_of_many_kinds_of_failures_the_commonest_are_named():
    tally = Tally([1], 1, n_run=21, failures={f"E{n}": n for n in range(1, 7)})
    assert "21 fits failed: 6 E6, 5 E5, 4 E4, 3 E3, 3 of other kinds" in summary(_facts(tally=tally))


@pytest.mark.parametrize(
    ("changed", "last"),
    [
        (
            {"refit": "not done"},
            "Ctrl-C: 12 of 48 candidates done; cv_results_ has them, best_estimator_ was not fitted",
        ),
        ({"refit": None}, "Ctrl-C: 12 of 48 candidates done; cv_results_ has them"),
        (
            {"refit": "not done", "has_results": False, "chosen": None},
            "Ctrl-C: 12 of 48 candidates done, so there are no results of it",
        ),
        (
            {"reason": "timeout", "timeout_s": 600},
            "the time is up (timeout=600 s): 12 of 48 candidates done, the best of them was chosen",
        ),
        ({"refit": None, "n_foreseen": 60}, "Ctrl-C: 12 of 60 candidates done; cv_results_ has them"),
    ],
)
def test_why_it_ended_early_and_what_there_is(changed, last):
    tally = Tally([48], 10, 2, n_run=60)
    facts = _facts(tally=tally, **{"reason": "interrupted", **changed})
    lines = summary(facts).splitlines()
    assert lines[-1] == f"  {last}"
    if facts.chosen is None:
        assert lines[1] == "  no candidate is done"


def test_where_it_is_kept_and_how_to_go_on():
    kept = {"store": "results.db", "name": "digits"}
    assert summary(_facts(**kept)).splitlines()[-1] == "  kept in results.db as 'digits'"
    assert (
        summary(_facts(**kept, reason="interrupted")).splitlines()[-1]
        == "  kept in results.db as 'digits'; the same search with resume=True goes on"
    )


def test_what_was_chosen():
    def second(chosen):
        return summary(_facts(chosen=chosen)).splitlines()[1]

    assert second(None) == "  several metrics, so no single best candidate"
    assert second(Chosen(3, "", "score", None)) == "  best candidate 3"
    assert second(Chosen(3, "", "score", math.nan)) == "  best score=nan (candidate 3)"
    assert second(Chosen(3, "C=1", "auc", 0.5, 0.1, is_best=False)) == (
        "  chosen auc=0.5 (standard error 0.1, candidate 3): C=1"
    )


def test_the_standard_error_is_that_of_the_splits_that_were_done():
    search = GridSearchCV(SVC(), {"C": [1, 10]}, cv=8)
    search.n_splits_, search.multimetric_, search.best_index_, search.best_params_ = 8, False, 0, {"C": 1}
    search.cv_results_ = {"mean_test_score": np.array([0.7, 0.6]), "std_test_score": np.array([0.3, 0.1])}
    assert chosen_of(search).standard_error == pytest.approx(0.3 / math.sqrt(7))
    search.cv_results_["n_splits_run"] = np.array([4, 8])
    assert chosen_of(search).standard_error == pytest.approx(0.3 / math.sqrt(3))
    search.cv_results_["n_splits_run"] = np.array([1, 8])
    assert chosen_of(search).standard_error is None


def test_halving_and_single_things():
    assert summary(_facts(tally=Tally([27, 9, 3], 39, n_run=195))).startswith(
        "GridSearchCV of SVC: 27 + 9 + 3 candidates × 5 splits"
    )
    assert ": 1 candidate × 1 split in" in summary(_facts(tally=Tally([1], 1, n_run=1), n_splits=1))
    assert ": 0 candidates × 5 splits in" in summary(_facts(tally=Tally(), has_results=False, chosen=None))


def test_it_stays_short():
    tally = Tally([48], 40, 8, 180, 40, 20, 2, {f"E{n}": 1 for n in range(100)}, 90.0)
    assert len(summary(_facts(tally=tally, reason="timeout", timeout_s=1.0, store="s", name="n")).splitlines()) == 7


# ---- parameters, metrics, estimators, errors in words
class _Nasty:
    def __repr__(self):
        raise RuntimeError("no repr")


def test_parameters_in_words():
    values = {
        "a": 0.123456789,
        "b": np.float64(0.5),
        "c": "rbf",
        "d": None,
        "e": SVC(C=3),
        "f": len,
        "g": (1, 2),
        "h": np.int64(3),
    }
    assert parameters_text(values, 200) == (
        "a=0.123457 b=0.5 c=rbf d=None e=SVC(C=3) f=<built-in function len> g=(1, 2) h=3"
    )
    assert parameters_text({}, 100) == ""
    assert parameters_text({"f": lambda: 0}, 100).endswith("<lambda>>"), "an address says nothing"


@pytest.mark.parametrize(
    "value",
    [
        _Nasty(),
        HOSTILE,
        HOSTILE.encode(),
        "x" * 10_000_000,
        10**5000,
        list(range(1_000_000)),
        {f"k{n}": "v" * 1000 for n in range(1000)},
        np.zeros(1_000_000),
        type("array", (), {})(),
        [_Nasty()],
        "two\nlines",
        "\ud800",
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_value_is_too_much(value):
    text = parameters_text({f"p{HOSTILE}": value}, 120)
    assert 0 < len(text) <= 120
    assert not CONTROL.search(text)
    assert "\n" not in text
    text.encode()


def test_names():
    assert estimator_text(SVC()) == "SVC"
    assert estimator_text(make_pipeline(StandardScaler(), SVC())) == "Pipeline(…, SVC)"
    assert metric_text(None, "neg_log_loss") == "neg_log_loss"
    assert metric_text(None, None) == metric_text("score", len) == "score"
    assert metric_text("auc", ["auc", "f1"]) == "auc"
    assert len(metric_text("m" * 1000, {})) == 40


def test_what_a_traceback_ends_with():
    trace = 'Traceback (most recent call last):\n  File "a.py", line 1, in fit\n    raise x\n'
    assert raised(f"{trace}ValueError: no\n") == ("ValueError", "ValueError: no")
    assert raised(f"{trace}a.b.FitTimeout: late\n  more\nof it\n") == ("FitTimeout", "a.b.FitTimeout: late")
    assert raised(f"{trace}KeyError\n") == ("KeyError", "KeyError")
    assert raised(f"Worker died: {HOSTILE}")[0] == "Worker"
    assert raised("WorkerDied: gone\nfor good") == ("WorkerDied", "WorkerDied: gone")
    assert raised("") == ("error", "")
    assert not CONTROL.search("".join(raised(f"{trace}ValueError: {HOSTILE}")))


# ---- what a search is told, and what it shows of that
def _outcome(score, error=None, took_s=0.1):
    return {"test_scores": score, "fit_error": error, "fit_time": took_s, "score_time": 0.0}


def _search(kind=GridSearchCV, n_splits=2, **options):
    search = kind(SVC(), GRID, **options)
    search.n_splits_ = n_splits
    return search


def _words(showing):
    """What is on the screen, as a text, without the times."""
    text = " · ".join(showing._words())
    return re.sub(r" · about .*? left|\d[\d.]* s so far · ", "", text)


def _candidate(showing, parameters, scores):
    outcomes = [_outcome(score) for score in scores]
    for outcome in outcomes:
        showing.done(parameters, outcome)
    showing.candidate(parameters, outcomes)


def test_how_far_it_is(monkeypatch):
    showing = Showing(_search(scoring="accuracy"), "lines")
    showing.expect(3)
    assert _words(showing) == "0/6 fits · 0/3 candidates · GridSearchCV"
    _candidate(showing, {"C": 0.1}, [0.5, 0.7])
    _candidate(showing, {"C": 1.0}, [0.9, 0.7])
    assert _words(showing) == "4/6 fits · best accuracy=0.8 · 2/3 candidates · best: C=1 · GridSearchCV"
    showing.kept({"C": 10.0}, _outcome(0.1))
    showing.stopped(1)
    assert _words(showing) == (
        "5/5 fits · best accuracy=0.8 · 3/3 candidates · 1 skipped · 1 kept from before · best: C=1 · GridSearchCV"
    )
    showing.chosen()
    assert "fitting the best to all data" in _words(showing)
    showing.close(None)


def test_a_search_that_says_its_candidates_bit_by_bit():
    showing = Showing(_search(SearchCV), "lines")
    showing.foresee(10)
    for number in range(3):
        showing.expect(1)
        _candidate(showing, {"C": number}, [0.5, 0.5])
    assert _words(showing) == "6/20 fits · best score=0.5 · 3/10 candidates · best: C=0 · SearchCV"
    showing.foresee(10, is_even=False)
    assert _words(showing).startswith("6 fits · ")
    assert showing._how_far() == (3, 10), "the bar is that of the candidates"
    showing.foresee(None)
    assert _words(showing).startswith("6/6 fits · ")
    showing.close(None)


def test_each_iteration_of_halving_starts_anew():
    showing = Showing(_search(HalvingGridSearchCV), "lines")
    showing.expect(3)
    for c in GRID["C"]:
        _candidate(showing, {"C": c}, [0.9, 0.9])
    showing.expect(1)
    assert _words(showing) == "iteration 1: 0/2 fits · 0/1 candidates · HalvingGridSearchCV"
    _candidate(showing, {"C": 1.0}, [0.5, 0.5])
    assert "iteration 1: 2/2 fits · best score=0.5" in _words(showing), "fewer samples are not to be compared"
    showing.close(None)


def test_scores_that_are_no_numbers_and_fits_that_fail(capsys):
    showing = Showing(_search(), "lines")
    showing.expect(3)
    _candidate(showing, {"C": 0.1}, [math.nan, 0.7])
    error = f'Traceback:\n  File "a"\nValueError: {HOSTILE}'
    for _ in range(3):
        showing.done({"C": HOSTILE}, _outcome(math.nan, error))
    _candidate(showing, {"C": 10.0}, [math.inf, 1.0])
    assert _words(showing) == "7/6 fits · 3 failed · 2/3 candidates · GridSearchCV"
    assert showing._tally.n_unscored == 2
    showing.close(None)
    said = capsys.readouterr().err
    assert said == "a fit failed: ValueError: <b>bad; parameters: C=<b>bad\n", "once"


@pytest.mark.parametrize(
    ("refit", "words"),
    [
        ("auc", "best auc=0.75"),
        (False, "fits · 1/3"),
        (len, "fits · 1/3"),
        ("one_standard_error(auc)", "best auc=0.75"),
    ],
)
def test_of_several_metrics_the_one_that_counts(refit, words):
    showing = Showing(_search(refit=refit, scoring=["auc", "f1"]), "lines")
    showing.expect(3)
    _candidate(showing, {"C": 0.1}, [{"auc": 0.5, "f1": 0.1}, {"auc": 1.0, "f1": 0.1}])
    assert words in _words(showing)
    assert showing._tally.n_unscored == 0
    showing.close(None)


def test_the_time_left(monkeypatch):
    now = 0.0
    monkeypatch.setattr(showing_module.time, "monotonic", lambda: now)
    showing = Showing(_search(n_splits=10), "lines")
    showing.expect(1)
    assert showing._left_s(now) is None
    for n_done, left_s in ((1, 9.0), (2, 8.0), (3, 7 * 3.0), (4, 6 * 3.0)):
        now += 3.0
        showing.done({}, _outcome(0.5, took_s=1.0))
        assert showing._left_s(now) == pytest.approx(left_s), n_done
    assert showing._left_s(now + 2) == pytest.approx(16.0), "it goes on while a fit runs"
    assert showing._left_s(now + 100) == pytest.approx(15.0), "by one fit at most"
    showing.close(None)


def test_what_is_kept_takes_no_time_to_do():
    showing = Showing(_search(n_splits=4), "lines")
    showing.expect(1)
    showing.kept({}, _outcome(0.5, took_s=1000.0))
    assert showing._left_s(time.monotonic()) is None
    showing.close(None)


# ---- the context
def test_who_asks_for_nothing_gets_nothing(capsys):
    n_threads = threading.active_count()
    with shown(_search()) as showing:
        assert showing is None
        assert threading.active_count() == n_threads
    assert capsys.readouterr() == ("", "")


def test_an_error_says_itself_what_happened(capsys):
    with pytest.raises(ValueError, match="no"), shown(_search(progress=True)) as showing:
        showing.expect(3)
        raise ValueError("no")
    assert capsys.readouterr() == ("", "")
    assert not [thread for thread in threading.enumerate() if thread.name == "whet-progress"]


def test_an_interruption_before_anything_is_done(capsys):
    search = _search(progress=True)
    search.cv_results_ = "of an earlier fit"
    with pytest.raises(KeyboardInterrupt), shown(search) as showing:
        showing.expect(3)
        raise KeyboardInterrupt
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "  no candidate is done"
    assert lines[-1] == "  Ctrl-C: 0 of 3 candidates done, so there are no results of it"


def test_an_interruption_before_the_candidates_are_known(capsys):
    search = GridSearchCV(SVC(), GRID, cv=ShuffleSplit(2), progress=True)
    with pytest.raises(KeyboardInterrupt), shown(search):
        raise KeyboardInterrupt
    assert "0 of 0 candidates done" in capsys.readouterr().err


def test_the_time_may_be_up(capsys):
    search = _search(progress=True, timeout=2.5, refit=False, store="results.db", name=f"n{HOSTILE}")
    with shown(search) as showing:
        showing.expect(3)
        _candidate(showing, {"C": 0.1}, [0.5, 0.75])
        showing.time_is_up()
        search.multimetric_, search.best_index_, search.best_params_ = False, 0, {"C": 0.1}
        search.cv_results_ = {"mean_test_score": np.array([0.625]), "std_test_score": np.array([0.125])}
        showing.chosen()
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == [
        "  best score=0.625 (standard error 0.12, candidate 0): C=0.1",
        "  2 fits (0.2 s of work, " + lines[2].partition("work, ")[2],
        "  the time is up (timeout=2.5 s): 1 of 3 candidates done, the best of them was chosen",
        "  kept in results.db as 'n<b>bad'; the same search with resume=True goes on",
    ]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_is_forked_while_something_is_drawn_can_draw():
    """The lock is free in the child, whoever held it."""
    was_asked = threading.Event()

    def draw():
        for _ in range(2000):
            with showing_module._drawing:
                was_asked.set()

    thread = threading.Thread(target=draw)
    thread.start()
    was_asked.wait()
    for _ in range(20):
        child = os.fork()
        if not child:
            os._exit(0 if showing_module._drawing.acquire(timeout=10) else 1)
        assert os.waitpid(child, 0)[1] == 0
    thread.join()
