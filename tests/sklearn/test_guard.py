"""A limit on how long a call takes: it ends what can be ended, never strikes too late, and leaves others' alarms be."""

import collections
import contextlib
import faulthandler
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.sklearn.deadly import loop
from whet.sklearn.guard import FitTimeout, within


def in_main_thread(call):
    return call()


def in_another_thread(call):
    came = []

    def run():
        try:
            came.append((call(), None))
        except BaseException as error:
            came.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    ((value, error),) = came
    if error is not None:
        raise error
    return value


ROOT = Path(__file__).parents[2]

anywhere = pytest.mark.parametrize("run", [in_main_thread, in_another_thread])


@anywhere
def test_what_ends_in_time_is_as_without(run):
    assert run(lambda: within(60, lambda: 7)) == 7
    for error in (KeyError("k"), KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(error)) as caught:
            run(lambda error=error: within(60, lambda: throw(error)))
        assert caught.value is error


def throw(error):
    raise error


@anywhere
def test_a_loop_is_ended(run):
    with pytest.raises(FitTimeout, match=r"^took longer than fit_timeout=0\.05 s$") as caught:
        run(lambda: within(0.05, loop))
    assert isinstance(caught.value, TimeoutError)


def test_waiting_for_the_system_is_ended_in_the_main_thread():
    with pytest.raises(FitTimeout):
        within(0.05, lambda: time.sleep(600))
    with pytest.raises(FitTimeout):
        within(0.05, threading.Event().wait)


@anywhere
def test_what_cannot_be_ended_is_too_late_when_it_ends(run):
    with pytest.raises(FitTimeout):
        run(lambda: within(1e-4, lambda: collections.deque(itertools.repeat(0, 3_000_000), maxlen=0)))


@anywhere
def test_handlers_of_errors_do_not_stop_it(run):
    def carry_on():
        while True:
            with contextlib.suppress(Exception):
                loop()

    with pytest.raises(FitTimeout):
        run(lambda: within(0.05, carry_on))


@anywhere
def test_who_swallows_it_is_told_again(run):
    def swallow():
        try:
            loop()
        except BaseException:
            loop()

    with pytest.raises(FitTimeout):
        run(lambda: within(0.05, swallow))


@anywhere
def test_another_error_that_is_made_of_it_is_a_timeout(run):
    def disguise():
        try:
            loop()
        except BaseException:
            raise ValueError("lost") from None

    with pytest.raises(FitTimeout) as caught:
        run(lambda: within(0.05, disguise))
    assert str(caught.value.__cause__) == "lost"


@anywhere
def test_limits_nest(run):
    def outer(inner_s):
        try:
            within(inner_s, loop)
        except FitTimeout:
            return "inner"

    assert run(lambda: within(60, lambda: outer(0.05))) == "inner"
    with pytest.raises(FitTimeout, match=r"0\.05"):  # of the outer one, which is due first
        run(lambda: within(0.05, lambda: outer(60)))
    with pytest.raises(FitTimeout, match=r"0\.1 s"):  # which still is in force after an inner one was
        run(lambda: within(0.1, lambda: (outer(0.05), loop())))


@anywhere
def test_it_never_strikes_after_the_end(run):
    rng = np.random.default_rng(0)

    def often():
        n_late = 0
        for lasts in rng.uniform(0.0, 0.002, 400):
            until = time.perf_counter() + lasts
            try:
                within(0.001, lambda until=until: wait_until(until))
            except FitTimeout:
                n_late += 1
            wait_until(time.perf_counter() + 1e-4)
        return n_late

    assert 0 < run(often) <= 400


def wait_until(end):
    while time.perf_counter() < end:
        pass


@pytest.fixture
def alarm():
    """An alarm of somebody else; that of pytest is put back afterwards."""
    rung = []
    left = signal.setitimer(signal.ITIMER_REAL, 0)
    handler = signal.signal(signal.SIGALRM, lambda *_: rung.append(time.monotonic()))
    yield rung
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, *left)


def test_alarms_of_others_ring_while_the_call_runs(alarm):
    ours = signal.getsignal(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    with pytest.raises(FitTimeout):
        within(0.3, loop)
    assert len(alarm) >= 2
    n_before = len(alarm)
    while len(alarm) < n_before + 2:  # and go on
        time.sleep(0.01)
    assert signal.getsignal(signal.SIGALRM) is ours


def test_alarms_of_others_ring_after_the_call(alarm):
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    assert within(60, lambda: 7) == 7
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.3
    while not alarm:
        time.sleep(0.01)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_without_an_alarm_of_others_none_is_left(alarm):
    within(60, lambda: 7)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert alarm == []


def test_an_alarm_that_is_to_end_the_process_ends_it():
    code = (
        "import signal, time; from whet.sklearn.guard import within\n"
        "signal.alarm(1); within(60, lambda: time.sleep(60))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == -signal.SIGALRM


def test_the_watchdog_of_this_process_is_left_alone(monkeypatch):
    """It may be the user's own; pytest has a use for it, too."""
    for name in ("dump_traceback_later", "cancel_dump_traceback_later"):
        monkeypatch.setattr(faulthandler, name, lambda *_, **__: os.abort())
    with pytest.raises(FitTimeout):
        within(0.05, loop)


def test_a_process_that_may_end_is_ended(tmp_path):
    """And the file says so; a limit within a limit does not call the watchdog off."""
    code = (
        "import sys; from tests.sklearn.deadly import spin; from whet.sklearn import guard\n"
        "guard._LEAST_GRACE_S = 0.5\n"
        "file = open(sys.argv[1], 'wb', buffering=0)\n"
        "print(guard.within(60, lambda: 7, file))\n"
        "guard.within(0.2, lambda: (guard.within(60, lambda: 7, file), spin()), file)\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "report"]
    done = subprocess.run(command, check=False, timeout=120, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (1, "7\n", "")
    assert "Timeout" in (tmp_path / "report").read_text()
    assert "in spin" in (tmp_path / "report").read_text()
