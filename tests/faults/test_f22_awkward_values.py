"""F22: values that look like flags, quotes or commands reach the program byte for byte, through no shell."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.studies import call

AWKWARD = [
    "",
    " ",
    "-",
    "--",
    "-1",
    "-rf",
    "--lr",
    "--lr=-1",
    "--trials",
    "-m",
    "-h",
    "--help",
    "--version",
    "=",
    "a=b",
    "=a",
    "'",
    '"',
    "''",
    "a b",
    "a\nb",
    "\n",
    "\t",
    "\\",
    "\\n",
    "$HOME",
    "$(touch owned)",
    "`touch owned`",
    "; touch owned",
    "a;b",
    "|",
    "&",
    ">owned",
    "*",
    "?",
    "~",
    "!",
    "#",
    "%s",
    "{}",
    "{0}",
    "{x}",
    "{trial_dir",
    "{nothing}",
    "[",
    "]",
    "[1, 2]",
    "(1, 3)",
    "uniform(0, 1)",
    "lit:[1]",
    "None",
    "True",
    "1e5",
    "1e-05",
    "007",
    "0x10",
    "+1",
    ".5",
    "5.",
    "1_000",
    "nan",
    "-inf",
    "é",
    "\U0001f600",
    "\udcff\udc80",
    "\u202e",
    "\x1b[2J",
    "\r",
    "\x7f",
    "@file",
    "%PATH%",
    "a" * 8_000,
    "../../x",
    "/etc/passwd",
]
TEXTS = (
    st.sampled_from(AWKWARD)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=20).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))
    | st.lists(st.sampled_from([text for text in AWKWARD if len(text) < 20]), max_size=5).map("".join)
)
GOT = """import json, os, sys
print('loss: 1')
json.dump([os.fsencode(word).hex() for word in sys.argv[1:]], open('got', 'w'))
"""
_N_AT_ONCE = 25
_MORE_AT_ONCE = 250


def _got() -> list[bytes]:
    return [bytes.fromhex(item) for item in json.loads(Path("got").read_text())]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"['{escaped}']"


def _arrives(values: Sequence[str]) -> None:
    Path("got.py").write_text(GOT)
    for file in Path().glob("got"):
        file.unlink()
    # as they are
    call("run", "--quiet", "--strategy", "none", "got.py", *values)
    assert _got() == [os.fsencode(value) for value in values]
    # after a flag, joined to it, and swept
    words = [f"--a{i}={value}" for i, value in enumerate(values)]
    literal = [word for i in range(len(values)) for word in ("--literal", f"--a{i}")]
    swept = [word for i, value in enumerate(values) for word in (f"--b{i}", _quoted(value))]
    call("run", "--quiet", *literal, "got.py", *words, *swept)
    arrived = _got()
    assert arrived[: len(words)] == list(map(os.fsencode, words))
    expected: list[bytes] = []
    for i, value in enumerate(values):
        # a program that reads options would take `--b -1` for two of them
        is_joined = os.fsencode(f"--b{i}={value}") in arrived
        expected += [os.fsencode(f"--b{i}={value}")] if is_joined else [f"--b{i}".encode(), os.fsencode(value)]
    assert arrived[len(words) :] == expected
    assert not Path("owned").exists()


@pytest.mark.parametrize("value", AWKWARD, ids=lambda value: ascii(value)[:30])
def test_each_arrives(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _arrives([value])


def _many(tmp_path: Path, values: list[str]) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        _arrives(values)
    finally:
        os.chdir(before)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(TEXTS, min_size=_N_AT_ONCE, max_size=_N_AT_ONCE))
def test_many_arrive(tmp_path: Path, values: list[str]) -> None:
    _many(tmp_path, values)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=10_000 // _MORE_AT_ONCE, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(TEXTS, min_size=_MORE_AT_ONCE, max_size=_MORE_AT_ONCE))
def test_ten_thousand_arrive(tmp_path: Path, values: list[str]) -> None:
    _many(tmp_path, values)


@pytest.mark.parametrize("value", ["-1", "-rf", "--help", "=", "a b"])
def test_a_value_is_never_taken_for_an_option_of_whet(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "got.py").write_text(GOT)
    call("run", "--name", "s", "got.py", "--x", _quoted(value), value)
    assert os.fsencode(value) == _got()[-1]
    assert call("best", "s", expect=None).code in (0, 2)
