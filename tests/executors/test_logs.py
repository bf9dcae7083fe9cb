"""Logs of bounded size, logical lines, and the printable end of a trial's output."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.executors.logs import CappedLog, LineSplitter, Tail, keep_earlier, printable

CHUNKS = st.lists(st.binary(max_size=40), max_size=30)


def write(path: Path, cap: int, chunks: list[bytes]) -> str:
    log = CappedLog(os.fsencode(path), cap)
    for chunk in chunks:
        log.write(chunk)
    return log.close()


# ---- files
@given(chunks=CHUNKS, cap=st.integers(2, 120))
def test_a_log_keeps_its_head_and_its_tail(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], cap: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "stdout.log"
    assert write(path, cap, chunks) == ""
    output = b"".join(chunks)
    head, tail = cap // 2, cap - cap // 2
    expected = output
    if len(output) > cap:
        notice = b"\n[whet: %d bytes left out here]\n" % (len(output) - cap)
        expected = output[:head] + notice + output[-tail:]
    assert path.read_bytes() == expected
    assert sorted(path.parent.iterdir()) == [path]


def test_a_log_below_its_cap_can_be_read_while_it_grows(tmp_path: Path) -> None:
    log = CappedLog(os.fsencode(tmp_path / "a.log"), 100)
    log.write(b"one")
    assert (tmp_path / "a.log").read_bytes() == b"one"
    log.write(b"two")
    assert (tmp_path / "a.log").read_bytes() == b"onetwo"
    log.close()


def test_a_log_can_be_closed_twice(tmp_path: Path) -> None:
    log = CappedLog(os.fsencode(tmp_path / "a.log"), 100)
    log.write(b"x" * 150)
    log.close()
    log.close()
    assert (tmp_path / "a.log").read_bytes().count(b"left out") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux: a device that is always full")
def test_a_full_disk_is_noted_and_nothing_more() -> None:
    log = CappedLog(b"/dev/full", 1000)
    log.write(b"a" * 30)
    log.write(b"b" * 12)
    assert log.close() == "42 bytes could not be written to full: No space left on device"


def test_a_log_that_cannot_be_opened_is_noted(tmp_path: Path) -> None:
    assert write(tmp_path / "missing" / "a.log", 100, [b"12345"]) == (
        "5 bytes could not be written to a.log: No such file or directory"
    )
    assert write(tmp_path / "missing" / "a.log", 100, []) == ""


def test_a_log_whose_directory_is_removed_meanwhile_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    log = CappedLog(os.fsencode(tmp_path / "d" / "a.log"), 10)
    log.write(b"x" * 100)
    (tmp_path / "d" / "a.log").unlink()
    (tmp_path / "d").rmdir()
    assert "could not be put in order" in log.close()


def test_a_link_to_nowhere_is_no_trouble_for_the_writer(tmp_path: Path) -> None:
    (tmp_path / "a.log").symlink_to(tmp_path / "missing" / "b.log")
    assert "could not be written" in write(tmp_path / "a.log", 10, [b"x"])


def test_earlier_logs_are_kept(tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path)
    for attempt in (1, 2, 3):
        keep_earlier(directory, "stdout.log", attempt)
        (tmp_path / "stdout.log").write_text(f"of attempt {attempt}")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "stdout.attempt1.log": "of attempt 1",
        "stdout.attempt2.log": "of attempt 2",
        "stdout.log": "of attempt 3",
    }


# ---- lines
def lines_of(chunks: list[bytes]) -> list[bytes]:
    splitter = LineSplitter()
    return [*(line for chunk in chunks for line in splitter.feed(chunk)), splitter.rest()]


def expected_line(line: bytes) -> bytes:
    """The last state that is not blank; else what follows the last carriage return."""
    *_, last = states = line.split(b"\r")
    return next((state for state in reversed(states) if state.strip()), last if last.strip() else b"")


LINE_CHUNKS = st.lists(st.text(alphabet="ab \r\n", max_size=12).map(str.encode), max_size=12)


@given(chunks=LINE_CHUNKS)
def test_lines_do_not_depend_on_how_they_arrive(chunks: list[bytes]) -> None:
    found = [line if line.strip() else b"" for line in lines_of(chunks)]
    assert found == [expected_line(line) for line in b"".join(chunks).split(b"\n")]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"a\r\nb\r\n", [b"a", b"b", b""]),
        (b" 1%\r 50%\r100%\ndone", [b"100%", b"done"]),
        (b"100%\r\r\r", [b"100%"]),
        (b"100%\r        ", [b"100%"]),
        (b"\n\n", [b"", b"", b""]),
        (b"\x00\xff\n", [b"\x00\xff", b""]),
    ],
)
def test_a_line_is_its_last_state(text: bytes, lines: list[bytes]) -> None:
    assert lines_of([text]) == lines
    assert lines_of([text[i : i + 1] for i in range(len(text))]) == lines


def test_of_an_endless_line_64_kib_are_kept() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 10_000) == []
    assert splitter.rest() == b"x" * 65_536
    for _ in range(100):
        splitter.feed(b"y" * 10_000 + b"\r")
    assert splitter.rest() == b"y" * 10_000


def test_of_a_flood_the_newest_lines_are_returned() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"begun") == []
    assert splitter.feed(b" early\n1\n2\n3\n4\nopen", n_newest=2) == [b"3", b"4"]
    assert splitter.feed(b" end\n", n_newest=2) == [b"open end"]
    assert splitter.feed(b"5\n6\n7", n_newest=2) == [b"5", b"6"]


# ---- the end of the output
def tail_of(*chunks: bytes) -> str:
    tail = Tail()
    for chunk in chunks:
        tail.add(chunk)
    return tail.text()


def test_the_tail_is_the_last_twenty_lines() -> None:
    assert tail_of(*(b"line %d\n" % i for i in range(100))) == "\n".join(f"line {i}" for i in range(80, 100))
    assert tail_of(b"one\n\n\n") == "one"
    assert tail_of() == ""


def test_the_tail_is_bounded_whatever_comes() -> None:
    assert tail_of(b"x" * 10_000_000) == "x" * 3500
    assert len(tail_of(*[b"y" * 1000] * 10_000)) == 3500
    assert len(tail_of("é".encode() * 100_000)) <= 3500


def test_a_line_whose_beginning_is_lost_is_left_out_if_there_are_others() -> None:
    assert tail_of(b"x" * 20_000 + b"\nlast\n") == "last"
    assert tail_of(b"x" * 16_384 + b"\n", b"last\n").startswith("last")


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_the_tail_moves_no_cursor(chunks: list[bytes]) -> None:
    text = tail_of(*chunks)
    assert all(
        char == "\n" or unicodedata.category(char) not in ("Cc", "Zl", "Zp", "Cs") for char in text.replace("\t", "")
    )
    text.encode("utf-8")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07rest", "rest"),
        (b"a\x00b", "ab"),
        (b"caf\xe9", "caf\ufffd"),
        ("user\u202egnp.exe".encode(), "usergnp.exe"),
        ("a\u2028b\ufeff".encode(), "ab"),
    ],
)
def test_what_a_terminal_would_obey_is_removed(raw: bytes, text: str) -> None:
    assert printable(raw) == text
    assert re.fullmatch(r".*", printable(raw))
