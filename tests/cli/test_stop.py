"""``whet stop`` and ``whet delete``: from any shell, on a live study and a dead one, and nothing else is touched."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.studies import STORE, begin, call, finish, script_settings
from tests.cli.test_status import held
from tests.conftest import Whet
from whet.cli.lookup import opened
from whet.core.events import Draft, Kind
from whet.core.trial import State
from whet.storage.open import open_store
from whet.tuning import tune

SLEEPER = "import sys, time\nprint('begun', flush=True)\ntime.sleep(float(sys.argv[2]))\nprint('loss: 1')\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _wait(ready: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := ready()):
        assert time.monotonic() < deadline, "waited for a minute in vain"
        time.sleep(0.05)
    return found


def _state(number: int) -> State | None:
    with opened(None) as store:
        found = store.trials(store.studies("a")[0].id, numbers=[number])
    return found[0].state if found else None


@pytest.fixture
def live(whet: Whet, write_script: Callable[[str, str], Path], tmp_path: Path) -> subprocess.Popen[str]:
    """A run of study ``a`` with one worker, whose trial 0 has begun and takes its time."""
    write_script("train.py", SLEEPER)
    options = ("--name", "a", "--objective", "loss:min", "--workers", "1")
    run = whet.start("run", *options, "train.py", "--for", "[600, 0, 0.1, 601]")
    log = tmp_path / ".whet" / "a" / "0" / "stdout.log"
    _wait(lambda: log.exists() and log.read_text())
    return run


# ---- a study
def test_stop_ends_a_live_study_and_it_can_go_on(live: subprocess.Popen[str]) -> None:
    said = call("stop", "a")
    assert live.poll() is not None or live.wait(10) is not None
    assert "stopped a" in said.out
    assert "whet resume a" in said.out
    (one,) = call("status", "a", "--json").objects
    assert (one["state"], one["holder"]) == ("stopped", None)
    assert _state(0) is State.WAITING


def test_stop_need_not_wait(live: subprocess.Popen[str]) -> None:
    assert "asked pid" in call("stop", "a", "--no-wait").out
    live.wait(30)
    assert _state(0) is State.WAITING


def test_a_trial_that_is_still_to_come_has_not_begun(live: subprocess.Popen[str]) -> None:
    for command in (["stop"], ["logs"], ["logs", "-f"], ["show"]):
        assert "trial 3 of 'a' has not begun yet" in call(*command, "a/3", expect=2).err
        assert "has no trial 4" in call(*command, "a/4", expect=2).err
    call("stop", "a")
    live.communicate(timeout=60)


def test_stopping_what_does_not_run_says_so() -> None:
    finish(begin(), [1])
    said = call("stop", "a")
    assert "a is not running" in said.out
    with opened(None) as store:
        assert not store.load(store.studies("a")[0].id).pending_commands


def test_stop_ends_when_whoever_runs_the_study_dies() -> None:
    begin()
    with held("a") as process:
        thread = threading.Thread(target=lambda: call("stop", "a"))
        thread.start()
        time.sleep(0.5)
        assert thread.is_alive()
        process.kill()
        process.wait()
        thread.join(30)
        assert not thread.is_alive()


# ---- a trial
def test_a_running_trial_is_cancelled_and_the_run_goes_on(live: subprocess.Popen[str]) -> None:
    assert call("stop", "a/0").out == "a/0: cancelled\n"
    _wait(lambda: _state(2) is State.COMPLETED)
    assert _state(0) is State.CANCELLED
    assert live.poll() is None
    call("stop", "a")


def test_a_waiting_trial_of_a_study_that_nobody_runs_is_cancelled_at_once(tmp_path: Path) -> None:
    study = begin(settings=script_settings(["--lr", "[0.1, 0.01]"], tmp_path))
    trial = study.ask()
    study.ledger.commit([Draft(Kind.REQUEUED, 0, {"reason": "stopped", "counts": False}, trial.token)])
    study.ask()
    # Trial 0 was asked again and counts as running, as it would if its process had been killed.
    assert call("stop", "a/0").out == "a/0: cancelled\n"
    assert _state(0) is State.CANCELLED
    with opened(None) as store:
        record = store.studies("a")[0]
        assert record.holder is None
        assert not store.load(record.id).pending_commands


def test_a_trial_that_has_ended_is_left_as_it_is() -> None:
    finish(begin(), [1, None])
    assert call("stop", "a/0").out == "a/0 has ended already: completed\n"
    assert "failed: exit code" in call("stop", "a/1").out
    assert "no trial 7" in call("stop", "a/7", expect=2).err


def test_a_trial_need_not_be_waited_for() -> None:
    study = begin()
    study.ask()
    with held("a"):
        assert "asked pid" in call("stop", "a/0", "--no-wait").out
    with opened(None) as store:
        commands = store.load(store.studies("a")[0].id).pending_commands
    assert list(commands.values()) == [{"command": "cancel", "trial": 0}]


def test_if_whoever_was_asked_dies_the_trial_is_cancelled_here() -> None:
    study = begin()
    study.ask()
    with held("a") as process:
        thread = threading.Thread(target=lambda: call("stop", "a/0"))
        thread.start()
        time.sleep(0.5)
        process.kill()
        process.wait()
        thread.join(30)
    assert _state(0) is State.CANCELLED


# ---- deleting
@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """The directory of a finished study ``a``, with files of its two trials."""
    finish(begin(settings=script_settings(["--lr", "[0.1, 0.01]"], tmp_path)), [1, 2])
    folder = tmp_path / ".whet" / "a"
    for number in (0, 1):
        (folder / str(number) / "sub").mkdir(parents=True)
        (folder / str(number) / "stdout.log").write_text("x")
    return folder


def test_delete_removes_the_study_and_its_files(study_folder: Path) -> None:
    begin("b")
    said = call("delete", "a", "--yes")
    assert "deleted a (2 of 4 trials: 2 completed) and the files of 2 trials" in said.out
    assert not study_folder.exists()
    assert "there is no study 'a'" in call("show", "a", expect=2).err
    assert [one["study"] for one in call("history", "--json").objects] == ["b"]


def test_delete_asks_and_where_nobody_answers_it_refuses(study_folder: Path) -> None:
    refused = call("delete", "a", expect=2).err
    assert "--yes" in refused
    assert "2 trials" in refused
    assert study_folder.exists()
    call("show", "a")


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("\n", 1), ("y\n", 0)])
def test_on_a_terminal_it_asks(answer: str, code: int, study_folder: Path, whet: Whet) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            whet.argv("delete", "a"), cwd=whet.cwd, env=whet.env, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        os.write(ours, answer.encode())
        assert process.wait(60) == code
    finally:
        os.close(ours)
    assert study_folder.exists() is bool(code)


def test_files_can_be_kept(study_folder: Path) -> None:
    said = call("delete", "a", "--yes", "--keep-files")
    assert str(study_folder) in said.err
    assert (study_folder / "0" / "stdout.log").exists()
    assert "there is no study" in call("show", "a", expect=2).err


def test_a_running_study_is_not_deleted(study_folder: Path) -> None:
    with held("a") as process:
        refused = call("delete", "a", "--yes", expect=1).err
        assert f"pid {process.pid}" in refused
        assert "whet stop a" in refused
    assert (study_folder / "0" / "stdout.log").exists()
    call("show", "a")


def test_links_are_removed_and_not_followed(study_folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (study_folder / "0" / "link").symlink_to(outside)
    (study_folder / "0" / "sub" / "file").symlink_to(outside / "precious")
    call("delete", "a", "--yes")
    assert (outside / "precious").read_text() == "x"
    assert not study_folder.exists()


def test_a_study_directory_that_is_a_link_is_left_alone(study_folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    study_folder.rename(outside)
    study_folder.symlink_to(outside)
    assert "is a link" in call("delete", "a", "--yes").err
    assert (outside / "0" / "stdout.log").exists()


def test_what_no_trial_made_is_left_and_said(study_folder: Path) -> None:
    (study_folder / "notes.txt").write_text("mine")
    (study_folder / "7").mkdir()
    (study_folder / "7" / "mine").touch()
    said = call("delete", "a", "--yes")
    assert "holds 2 more" in said.err
    assert sorted(path.name for path in study_folder.iterdir()) == ["7", "notes.txt"]


def test_a_study_that_runs_no_program_has_no_files_to_delete(tmp_path: Path) -> None:
    # A study of a Python function may be called like a directory that somebody else has made.
    finish(begin("src", store="x.db"), [1])
    (tmp_path / "src" / "0").mkdir(parents=True)
    (tmp_path / "src" / "0" / "code.py").touch()
    assert "files" not in call("delete", "src", "--yes", "--store", "x.db").out
    assert (tmp_path / "src" / "0" / "code.py").exists()


def test_the_files_of_a_tuned_function_go_with_it(tmp_path: Path) -> None:
    def train(config: dict[str, Any], trial: Any) -> float:
        found = trial.load_checkpoint()
        mark = trial.dir / "mark"
        mark.touch()
        trial.save_checkpoint(mark)
        return float(found is not None)

    def first() -> list[float]:
        study = tune(train, {"x": [1, 2]}, store="x.db", name="f", executor="inline", progress=False)
        return [trial.values["value"] for trial in study.trials]

    folder = tmp_path / "x.db.whet" / "f"
    assert first() == [0.0, 0.0]
    assert str(folder) in call("show", "f", "--store", "x.db").out
    assert "the files of 2 trials" in call("delete", "f", "--yes", "--store", "x.db").out
    assert not folder.exists()
    assert first() == [0.0, 0.0]  # the new study must not go on from the checkpoints of the old one


def test_who_stops_a_tuned_function_is_not_sent_to_resume() -> None:
    begin("f")
    program = f"""if True:
        import time, whet
        print("begun", flush=True)
        whet.load("f", {STORE!r}).run(lambda config: time.sleep(60), progress=False)
    """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as running:
        _wait(lambda: _holder("f"))
        said = call("stop", "f").out
        running.wait(60)
    assert "start the program that ran it again" in said
    assert "resume" not in said


def _holder(name: str) -> str | None:
    with opened(None) as studies:
        return studies.studies(name)[0].holder


def test_trials_whose_process_is_gone_are_said_to_wait() -> None:
    study = begin("k")
    study.ask()
    assert "1 running" in call("stop", "k").out  # asked by this process, which lives
    asks = f"import os, whet; whet.load('k', {STORE!r}).ask(2); os._exit(1)"
    assert subprocess.run([sys.executable, "-c", asks], check=False).returncode == 1
    assert "2 waiting, 1 running" in call("stop", "k").out
    assert "2 waiting, 1 running" in call("show", "k").out


def test_deleting_can_be_done_again_when_it_was_cut_short(study_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    def fail(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", fail)
        refused = call("delete", "a", "--yes", expect=1).err
        assert "was not deleted" in refused
        assert "--keep-files" in refused
    call("show", "a")
    call("delete", "a", "--yes")
    assert not study_folder.exists()


def test_names_that_look_like_paths_stay_inside_the_store(tmp_path: Path) -> None:
    outside = tmp_path / "x"
    outside.mkdir()
    (outside / "0").mkdir()
    for name in ("../x", "..", "/etc", "a/../../x"):
        finish(begin(name, settings=script_settings(["--lr", "[0.1, 0.01]"], tmp_path)), [1])
        call("delete", name, "--yes")
    assert (outside / "0").exists()


def test_nothing_but_a_study_can_be_deleted() -> None:
    finish(begin(), [1])
    assert "is a trial" in call("delete", "a/0", "--yes", expect=2).err
    assert "did you mean 'a'" in call("delete", "aa", "--yes", expect=2).err
    assert Path(STORE).exists()


def test_the_store_is_sound_after_all_that(study_folder: Path) -> None:
    assert study_folder.exists()
    begin("b")
    call("delete", "a", "--yes")
    call("doctor")
    store = open_store(STORE)
    assert [record.name for record in store.studies()] == ["b"]
    store.close()
