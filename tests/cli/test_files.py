"""``whet logs`` and ``whet artifacts``: nothing raw on a terminal, every byte on request, nothing outside the trial."""

from __future__ import annotations

import io
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.studies import begin, call, finish, script_settings
from tests.conftest import Whet
from whet.cli.artifacts import Artifact, artifacts_of, copy_artifacts, trial_folders
from whet.cli.logview import Cleaner, tail_start
from whet.cli.owned import is_ours
from whet.core.events import Draft, Kind
from whet.errors import UsageError, WhetError

HOSTILE = b"\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m \x00\x07\xff\xfe \xe2\x80\xae reversed\x9b31m\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The directory of trial 0 of a study ``a`` that has completed."""
    finish(begin(settings=script_settings(["--lr", "[0.1, 0.01]"], tmp_path)), [1])
    path = tmp_path / ".whet" / "a" / "0"
    path.mkdir(parents=True)
    return path


# ---- logs
def test_both_logs_are_shown_under_headings(folder: Path) -> None:
    (folder / "stdout.log").write_bytes(b"one\ntwo\n")
    (folder / "stderr.log").write_bytes(b"warned")
    assert call("logs", "a/0").out == "==> stdout.log <==\none\ntwo\n\n==> stderr.log <==\nwarned\n"
    assert call("logs", "a/0", "--stdout").out == "one\ntwo\n"
    assert call("logs", "a/0", "--stderr").out == "warned\n"
    (folder / "stdout.log").write_bytes(b"")
    assert call("logs", "a/0").out == "warned\n"
    (folder / "stdout.log").write_bytes(b"no end")
    for options in ([], ["--follow"]):
        shown = call("logs", "a/0", *options).out
        assert shown == "==> stdout.log <==\nno end\n\n==> stderr.log <==\nwarned\n"


@pytest.mark.parametrize("options", [[], ["--tail", "1"], ["--follow"]])
def test_what_is_shown_cannot_command_the_terminal(options: list[str], folder: Path) -> None:
    (folder / "stdout.log").write_bytes(HOSTILE * 3)
    text = call("logs", "a/0", "--stdout", *options).out
    assert "red" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


@pytest.mark.parametrize("options", [[], ["--follow"]])
def test_raw_is_every_byte_each_stream_to_its_own(options: list[str], folder: Path) -> None:
    data = bytes(range(256)) * 1000
    (folder / "stdout.log").write_bytes(data)
    (folder / "stderr.log").write_bytes(HOSTILE)
    said = call("logs", "a/0", "--raw", *options)
    assert said.out.encode("utf-8", "surrogateescape") == data
    assert said.err.encode("utf-8", "surrogateescape") == HOSTILE


def test_a_progress_bar_is_shown_in_its_last_state(folder: Path) -> None:
    (folder / "stdout.log").write_bytes(b"".join(b"\r%3d%%|###" % i for i in range(101)) + b"\r\ndone\r\n")
    assert call("logs", "a/0", "--stdout").out == "100%|###\ndone\n"


@given(st.binary(max_size=400), st.integers(0, 30))
def test_a_tail_is_the_last_lines(data: bytes, n: int) -> None:
    assert data[tail_start(io.BytesIO(data), n) :] == b"".join(_last(data, n))


def _last(data: bytes, n: int) -> list[bytes]:
    lines = re.findall(rb"[^\n]*\n|[^\n]+", data)
    return lines[-n:] if n else []


def test_a_tail_of_a_large_log_is_read_from_its_end() -> None:
    class Counted(io.BytesIO):
        n_read = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.n_read += len(data)
            return data

    file = Counted((b"x" * 99 + b"\n") * 100_000)
    start = tail_start(file, 3)
    assert len(file.getvalue()) - start == 300
    assert file.n_read < 200_000


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_cleaning_does_not_depend_on_where_the_pieces_are_cut_at_line_ends(pieces: list[bytes]) -> None:
    whole, cut = Cleaner(), Cleaner()
    lines = [piece.replace(b"\n", b" ") + b"\n" for piece in pieces]
    one = whole.feed(b"".join(lines)) + whole.rest()
    assert one == "".join(map(cut.feed, lines)) + cut.rest()
    assert one.count("\n") == len(lines)


@given(st.binary(max_size=300), st.integers(1, 20))
def test_nothing_treacherous_survives_cleaning(data: bytes, n: int) -> None:
    cleaner = Cleaner()
    text = "".join(cleaner.feed(data[i : i + n]) for i in range(0, len(data), n)) + cleaner.rest()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_a_long_line_is_cleaned_in_bounded_memory() -> None:
    cleaner = Cleaner()
    n_shown = 0
    for _ in range(200):
        n_shown += len(cleaner.feed(b"x" * 65536))
        assert len(cleaner._pending) <= 2 * 65536
    assert n_shown + len(cleaner.rest()) == 200 * 65536 + 1
    for i in range(2000):  # a bar that never ends its line
        assert cleaner.feed(b"\r%d" % i * 100) == ""
    assert len(cleaner._pending) < 1000


def test_an_earlier_attempt_has_logs_of_its_own(tmp_path: Path) -> None:
    study = begin(settings=script_settings(["--lr", "[0.1, 0.01]"], tmp_path))
    trial = study.ask()
    study.ledger.commit([Draft(Kind.REQUEUED, 0, {"reason": "lost", "counts": False}, trial.token)])
    study.tell(study.ask(), {"loss": 1})
    folder = tmp_path / ".whet" / "a" / "0"
    folder.mkdir(parents=True)
    (folder / "stdout.attempt1.log").write_text("first\n")
    (folder / "stdout.log").write_text("second\n")
    assert call("logs", "a/0", "--stdout").out == "second\n"
    assert call("logs", "a/0", "--stdout", "--attempt", "2").out == "second\n"
    assert call("logs", "a/0", "--stdout", "--attempt", "1").out == "first\n"
    assert "2 attempts" in call("logs", "a/0", "--attempt", "3", expect=1).err


def test_a_trial_without_output_says_so(folder: Path) -> None:
    assert "not there" in call("logs", "a/0", expect=1).err
    (folder / "stdout.log").touch()
    assert "printed nothing" in call("logs", "a/0").err


def test_a_trial_that_waits_says_so(tmp_path: Path) -> None:
    study = begin(settings=script_settings(["--lr", "[0.1, 0.01]"], tmp_path))
    trial = study.ask()
    study.ledger.commit([Draft(Kind.REQUEUED, 0, {"reason": "lost", "counts": False}, trial.token)])
    assert call("logs", "a/0", "--follow", expect=None).out == ""


def test_a_log_that_is_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "stdout.log").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "stderr.log")
    assert call("logs", "a/0", "--raw", expect=None).out == ""


def test_the_logs_of_a_study_are_listed(folder: Path) -> None:
    (folder / "stdout.log").write_bytes(b"x" * 1234)
    (folder / "stderr.log").touch()
    lines = call("logs", "a").out.splitlines()
    assert [line.split() for line in lines] == [
        ["TRIAL", "STATE", "STDOUT", "STDERR"],
        ["a/0", "completed", "1.2", "kB", "0", "B"],
    ]
    assert "say which" in call("logs", "a", "--tail", "3", expect=2).err
    begin("empty")
    assert "no trials yet" in call("logs", "empty").out


# ---- following
def _follow(*arguments: str) -> tuple[threading.Thread, list[str]]:
    """Run the command in a thread; return it and, once it has ended, what it printed."""
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(call("logs", *arguments).out))
    thread.start()
    return thread, said


def test_following_ends_with_the_trial_and_misses_nothing(tmp_path: Path) -> None:
    # Asked in this process and by no script: the trial runs as long as this process lives.
    study = begin()
    trial = study.ask()
    folder = tmp_path / ".whet" / "a" / "0"
    folder.mkdir(parents=True)
    thread, said = _follow("a/0", "--stdout", "--follow")
    with (folder / "stdout.log").open("ab", buffering=0) as log:
        for i in range(30):
            log.write(b"line %d\n" % i)
            time.sleep(0.02)
        assert thread.is_alive()
        log.write(b"the end")
    study.tell(trial, {"loss": 1})
    thread.join(30)
    assert not thread.is_alive()
    assert said == ["".join(f"line {i}\n" for i in range(30)) + "the end\n"]


def test_following_goes_on_with_the_next_attempt(tmp_path: Path) -> None:
    study = begin()
    trial = study.ask()
    folder = tmp_path / ".whet" / "a" / "0"
    folder.mkdir(parents=True)
    log = folder / "stdout.log"
    log.write_text("first\n")
    thread, said = _follow("a/0", "--stdout", "--follow", "--tail", "5")
    time.sleep(0.5)
    drafts = [
        Draft(Kind.REQUEUED, 0, {"reason": "lost", "counts": False}, trial.token),
        Draft(Kind.STARTED, 0, {"token": "next", "owner": trial.owner}),
    ]
    study.ledger.commit(drafts)
    log.rename(folder / "stdout.attempt1.log")
    log.write_text("".join(f"second {i}\n" for i in range(9)))
    time.sleep(0.5)
    study.ledger.commit([Draft(Kind.COMPLETED, 0, {"values": {"loss": 1}}, "next")])
    thread.join(30)
    assert said[0].startswith("first\n\n==> stdout.log of attempt 2 <==\nsecond 0\n")
    assert said[0].endswith("second 8\n")


def test_following_says_when_a_log_was_cut_to_its_cap(tmp_path: Path) -> None:
    study = begin()
    trial = study.ask()
    folder = tmp_path / ".whet" / "a" / "0"
    folder.mkdir(parents=True)
    log = folder / "stdout.log"
    log.write_text("head\n")
    thread, said = _follow("a/0", "--stdout", "--follow")
    time.sleep(0.5)
    (folder / "stdout.log.part").write_text("head\n[whet: 99 bytes left out here]\ntail\n")
    (folder / "stdout.log.part").rename(log)
    time.sleep(0.5)
    study.tell(trial, {"loss": 1})
    thread.join(30)
    assert said == ["head\n\n==> stdout.log reached its cap; its end is in the file (--tail) <==\n"]


def test_following_a_killed_study_ends_at_once(tmp_path: Path) -> None:
    study = begin(settings=script_settings(["--lr", "[0.1, 0.01]"], tmp_path))
    study.ask()
    folder = tmp_path / ".whet" / "a" / "0"
    folder.mkdir(parents=True)
    (folder / "stdout.log").write_text("so far\n")
    assert call("logs", "a/0", "--stdout", "--follow").out == "so far\n"


def test_following_a_live_run(whet: Whet, write_script: Callable[[str, str], Path], tmp_path: Path) -> None:
    write_script(
        "train.py", "import time\nfor i in range(10):\n    print('epoch', i)\n    time.sleep(0.1)\nprint('loss: 1')\n"
    )
    run = whet.start("run", "--name", "a", "--objective", "loss:min", "train.py")
    deadline = time.monotonic() + 60
    while not (tmp_path / ".whet" / "a" / "0" / "stdout.log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (
        whet("logs", "a/0", "--stdout", "--follow").stdout == "".join(f"epoch {i}\n" for i in range(10)) + "loss: 1\n"
    )
    run.wait()
    assert whet("logs", "a/0", "--stdout", "--tail", "1").stdout == "loss: 1\n"


# ---- artifacts
def _make(folder: Path) -> None:
    for name in ("stdout.log", "stderr.log", "stdout.attempt1.log", "metrics.jsonl", "metrics.attempt2.jsonl"):
        (folder / name).write_text("whet's own")
    (folder / "model.pt").write_bytes(b"x" * 1500)
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "stdout.log").write_text("the trial's own")
    (folder / "sub" / "deep" / "a b\n\x1b[31m.txt").write_text("odd")
    (folder / "empty").mkdir()


def test_artifacts_are_all_files_but_whets_own(folder: Path) -> None:
    _make(folder)
    found = artifacts_of(folder)
    assert [artifact.shown_path for artifact in found] == ["model.pt", "sub/deep/a b\n\x1b[31m.txt", "sub/stdout.log"]
    text = call("artifacts", "a/0").out
    assert "\x1b" not in text
    assert re.search(r"0 +model.pt +1.5 kB", text)
    assert "3 files, 1.5 kB" in text
    assert call("artifacts", "a").out.splitlines()[:4] == text.splitlines()[:4]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        *((name, True) for name in ("stdout.log", "stderr.attempt12.log", "metrics.in.jsonl", "stdout.log.part")),
        *(
            (name, False)
            for name in ("stdout.log.gz", "my-stdout.log", "stdout.attemptx.log", "metrics.json", "x.part")
        ),
    ],
)
def test_which_files_are_whets_own(name: str, ours: bool) -> None:
    assert is_ours(name) is ours


def test_artifacts_are_copied_and_nothing_is_overwritten(folder: Path, tmp_path: Path) -> None:
    _make(folder)
    (folder / "model.pt").chmod(0o750)
    target = tmp_path / "copies" / "here"
    assert "copied 3 files" in call("artifacts", "a/0", "--copy-to", target).out
    copies = sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())
    assert [path.as_posix() for path in copies] == ["model.pt", "sub/deep/a b\n\x1b[31m.txt", "sub/stdout.log"]
    assert (target / "model.pt").read_bytes() == b"x" * 1500
    assert (target / "model.pt").stat().st_mode & 0o777 == 0o700
    (target / "sub" / "stdout.log").write_text("changed")
    (target / "model.pt").unlink()
    assert "nothing was copied" in call("artifacts", "a/0", "--copy-to", target, expect=2).err
    assert not (target / "model.pt").exists()
    assert (target / "sub" / "stdout.log").read_text() == "changed"
    call("artifacts", "a", "--copy-to", target)
    assert (target / "0" / "model.pt").stat().st_size == 1500


def test_links_lead_nowhere_and_pipes_do_not_block(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (folder / "file").symlink_to(outside / "secret")
    (folder / "directory").symlink_to(outside)
    (folder / "broken").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(folder, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{here}/socket" if Path("/proc/self/fd").exists() else str(folder / "socket"))
        finally:
            os.close(here)
    kinds = {artifact.shown_path: artifact.kind for artifact in artifacts_of(folder)}
    expected = {"file": "link", "directory": "link", "broken": "link", "pipe": "special", "socket": "special"}
    assert kinds == expected
    assert "secret" not in call("artifacts", "a/0").out.replace("outside/secret", "")
    said = call("artifacts", "a/0", "--copy-to", tmp_path / "copies")
    assert "copied 0 files" in said.out
    assert "5" in said.err
    assert not (tmp_path / "copies").exists()


def test_a_trial_directory_that_is_a_link_is_not_entered(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    folder.rmdir()
    folder.symlink_to(outside)
    assert artifacts_of(folder) == []
    assert trial_folders(folder.parent) == []
    assert "no files" in call("artifacts", "a/0").err


def test_a_file_that_becomes_a_link_while_it_is_copied_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "sub").mkdir()
    (folder / "sub" / "file").symlink_to(tmp_path / "secret")
    stale = Artifact(("sub", "file"), "file", 3)
    with pytest.raises(WhetError, match="could not be copied"):
        copy_artifacts([(folder, stale, tmp_path / "copies")])
    (folder / "sub" / "file").unlink()
    (folder / "sub").rmdir()
    (folder / "sub").symlink_to(tmp_path)
    with pytest.raises(WhetError, match="could not be copied"):
        copy_artifacts([(folder, Artifact(("sub", "secret"), "file", 6), tmp_path / "copies")])
    assert not [path for path in tmp_path.rglob("copies/**/*") if path.is_file()]


def test_refusing_to_copy_names_what_is_in_the_way(folder: Path, tmp_path: Path) -> None:
    for i in range(8):
        (folder / f"f{i}").touch()
        (tmp_path / f"f{i}").touch()
    with pytest.raises(UsageError, match=r"f4 and 3 more"):
        copy_artifacts([(folder, artifact, tmp_path) for artifact in artifacts_of(folder)])


def test_directories_of_trials_are_told_from_others(tmp_path: Path) -> None:
    for name in ("0", "10", "2", "007", "x", "-1", "٣"):
        (tmp_path / name).mkdir()
    (tmp_path / "5").touch()
    assert trial_folders(tmp_path) == [0, 2, 10]
    assert trial_folders(tmp_path / "missing") == []
