"""Text for people: safe, short, and ready to paste."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.text import counted, duration, number, one_line, printable, shell_line

_ARGUMENTS = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=5
)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain\n\ttext é ▎", "plain\n\ttext é ▎"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://a\x1b\\link", "link"),
        ("a\rb\x00c\x08d\x7f", "abcd"),
        ("\x9b31mx", "x"),
        ("\x1bcx", "cx"),
        ("abc\u202edef\u2066", "abcdef"),
        ("\x1b]0;never closed", ""),
    ],
)
def test_printable_takes_out_what_a_terminal_would_obey(raw: str, shown: str) -> None:
    assert printable(raw) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_printable_leaves_nothing_to_obey_and_can_be_written(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert not any(ord(char) < 32 and char not in "\n\t" for char in shown)
    assert not any(0x7F <= ord(char) < 0xA0 for char in shown)
    assert printable(shown) == shown or "\x1b" not in shown


@given(st.text(), st.integers(2, 50))
def test_one_line_is_one_line(text: str, width: int) -> None:
    shown = one_line(text, width)
    assert len(shown) <= width
    assert "\n" not in shown


@pytest.mark.parametrize("shell", [shell for shell in ("bash", "zsh") if shutil.which(shell)])
@settings(max_examples=60)
@given(arguments=_ARGUMENTS)
def test_a_shell_reads_a_line_back_to_the_same_arguments(shell: str, arguments: list[str]) -> None:
    line = shell_line(["printf", "%s\\0", *arguments])
    assert "\n" not in line
    done = subprocess.run([shell, "-c", line], capture_output=True, check=True)
    assert done.stdout.decode("utf-8", "surrogateescape") == "".join(f"{argument}\0" for argument in arguments)


def test_a_shell_gets_bytes_that_are_no_text() -> None:
    done = subprocess.run(["bash", "-c", shell_line(["printf", "%s", "a\udcffb"])], capture_output=True, check=True)
    assert done.stdout == b"a\xffb"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (86399, "23 h 59 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_numbers_and_counts() -> None:
    assert number(0.1 + 0.2) == "0.3"
    assert number(1e-5) == "1e-05"
    assert counted(1, "trial") == "1 trial"
    assert counted(1200, "trial") == "1,200 trials"
