"""F21: whatever is typed as a value or a rule is read at once, or refused with its column; none of it ever runs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.studies import call
from tests.faults.watching import Seen, watched
from tests.space.test_calls import CALLS
from tests.space.test_dsl import TABLE
from whet.cli.prepare import known_search
from whet.errors import GrammarError, UsageError
from whet.samplers.names import sampler_named
from whet.schedulers.names import scheduler_named
from whet.space.assignments import read_assignments
from whet.space.calls import NAMES
from whet.space.dsl import parse_value
from whet.space.parser import parse

_MOST_S = 0.05  # of this process' own time
_N_AT_ONCE = 20
_N_SPOILT = 80  # more, made of them
DEEP = 10_000
ATTACKS = [
    "__import__('os')",
    "__import__('os').system('touch owned')",
    "[__import__('os').system('touch owned')]",
    "().__class__",
    "[().__class__.__bases__[0].__subclasses__()]",
    "9**9**9",
    "[9**9**9]",
    "[0]*10**10",
    "[[0]*10**10]",
    "uniform(1e-5,",
    "uniform(open('owned', 'w'), 1)",
    "uniform(0, 1, 10**10)",
    "uniform(0, 1, 99999999999999999999)",
    "range(10**30)",
    "range(0, 99999999999999999999999999)",
    "linspace(0, 1, 1000000000000)",
    "[lambda: 1]",
    "[x for x in range(10)]",
    "{x: 1 for x in range(10**9)}",
    "f'{__import__(\"os\")}'",
    "['{0.__class__}'.format(1)]",
    "eval(\"open('owned', 'w')\")",
    "exec('import os')",
    "compile('1', '', 'eval')",
    "os.system('touch owned')",
    "choice(os.environ)",
    "numpy.load('owned')",
    "np.random.uniform(0, 1)",
    "scipy.stats.rv_continuous()",
    ";rm -rf .",
    "[1; rm -rf .]",
    "$(touch owned)",
    "`touch owned`",
    "[$(touch owned), `touch owned`]",
    "| touch owned",
    "&& touch owned",
    "> owned",
    "\n touch owned",
    "'; touch owned; '",
    "@owned",
    "!!python/object/apply:os.system [touch owned]",
    "!!python/name:os.system",
    '{"py/object": "os.system"}',
    "٣",
    "[٣, ٤]",
    "(１, ３)",
    "[𝟏, 𝟐]",
    "\ufeff[1, 2]",
    "[1, 2]\ufeff",
    "[\ufeff1]",
    "\0",
    "[1,\0 2]",
    "['\0']",
    "[1,\u00a02]",
    "[1,\u20282]",
    "uniform\u200b(0, 1)",
    "ｕniform(0, 1)",
    "unifоrm(0, 1)",
    "\ud800",
    "['\udcff']",
    "\x1b]0;owned\x07",
    "['\x1b[2J']",
    "1" * 100_000,
    "[" + "1" * 100_000 + "]",
    "uniform(0, " + "9" * 100_000 + ")",
    "1e" + "9" * 100_000,
    "[1e" + "9" * 10_000 + "]",
    "[" * DEEP,
    "(" * DEEP,
    "{" * DEEP,
    "[" * DEEP + "]" * DEEP,
    "[1," * DEEP + "]" * DEEP,
    "choice(" * DEEP,
    "choice(" * DEEP + ")" * DEEP,
    "uniform(" + "(" * DEEP + ")" * DEEP,
    "[" + "'" * DEEP,
    "[" + "\\" * DEEP,
    "['" + "\\" * DEEP + "']",
    "[" + "," * DEEP + "]",
    "[" + "1," * DEEP,
    "," * DEEP,
    " " * DEEP + "[1",
    "uniform(" + "a=" * DEEP + ")",
    "uniform(" + "low=1," * DEEP + ")",
    "lit:" * DEEP,
    "[lit:" * DEEP,
    "-" * DEEP,
    "+" * DEEP + "1",
    "=" * DEEP,
    "(1, 2, 0)",
    "(1, 2, -1)",
    "(-99999999999999999, 99999999999999999)",
    "budget(0, 0)",
    "budget(1, 1e400)",
    "budget(nan, inf)",
    "uniform(nan, inf)",
    "loguniform(-1, 1)",
    "normal(0, -1)",
]
RULES = [
    "__import__('os')",
    "__import__('os').system('touch owned') == 0",
    "x.__class__",
    "x.__class__.__mro__ == 1",
    "().__class__",
    "x[0]",
    "x if y else z",
    "[y for y in x]",
    "lambda: 1",
    "9**9**9 > x",
    "x ** 9 ** 9 ** 9 > 1",
    "f'{x}' == 1",
    "`__import__`('os')",
    "x := 1",
    "open('owned', 'w')",
    "'%s' % x == 'a'",
    "'a' * 10**10 == x",
    "(" * DEEP + "x",
    "(" * 4_000 + "x" + ")" * 4_000,
    "not " * 2_000 + "x",
    "not " * DEEP + "x",
    "-" * DEEP + "x > 0",
    "x > " + "1" * DEEP,
    "x and " * 1_000 + "x",
    "x == '\0'",
    "x == '\\U00110000'",
    "\ufeffx > 1",
    "x > ٣",
    "x > 1; import os",
    "x > 1\nimport os",
    "x in (" + "1," * 3_000 + ")",
    "x\u200b > 1",
]
INPUTS = [*ATTACKS, *TABLE, *CALLS]
Reader = Callable[[str], Any]
READERS: dict[str, Reader] = {
    "rule": parse,
    "assignments": lambda text: read_assignments(text, "lr=1"),
    "sampler": sampler_named,
    "scheduler": scheduler_named,
    "strategy": lambda text: known_search(text, None),
}


def test_there_are_enough_of_them() -> None:
    assert len(ATTACKS) + len(RULES) >= 110
    assert len(set(INPUTS)) + len(RULES) >= 200


def _nothing_happened(seen: Seen) -> None:
    assert not seen.started and not seen.opened and not seen.compiled and not seen.unpickled
    assert not [name for name in seen.imported if not name.startswith(("whet", "numpy", "scipy", "re", "_"))]


@pytest.mark.parametrize("text", INPUTS, ids=lambda text: ascii(text)[:40])
def test_a_value_is_read_or_refused_with_its_column(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with watched() as seen:
        try:
            parse_value(text, flag="--x")
        except GrammarError as error:
            assert error.flag == "--x"
            assert error.column is not None and 1 <= error.column <= max(1, len(text))
            assert str(error).isprintable() and len(str(error)) < 1000
    _nothing_happened(seen)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", RULES, ids=lambda text: ascii(text)[:40])
@pytest.mark.parametrize("reader", READERS)
def test_a_rule_or_a_name_is_read_or_refused(
    reader: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with watched() as seen:
        try:
            READERS[reader](text)
        except UsageError as error:
            assert len(str(error)) < 2000
    _nothing_happened(seen)
    assert not list(tmp_path.iterdir())


def test_reading_takes_no_time() -> None:
    slow = {}
    for text in INPUTS:
        took_s = min(_own_time(text) for _ in range(3))
        if took_s > _MOST_S * max(1.0, len(text) / 200_000):
            slow[ascii(text)[:60]] = took_s
    assert not slow


def _own_time(text: str) -> float:
    began = time.process_time()
    with suppress(GrammarError):
        parse_value(text)
    return time.process_time() - began


SIGNS = list("()[]{},'\"= \\:;|&$`-+*/%@!.1e٣\n\t\0\x1b\ufeff\u202e\ud800\udcff")
WORDS = [*NAMES, *(text for text in ATTACKS if len(text) < 60), "None", "True", "lit:", "size=", "range(", "1e400"]
MESSY = st.text() | st.lists(st.sampled_from([*SIGNS, *WORDS]), max_size=15).map("".join)


def _spoilt(texts: Sequence[str], rng: random.Random) -> str:
    """Return the beginning of one of *texts* and the end of another, and a sign or a word between them."""
    begin, end = rng.choice(texts), rng.choice(texts)
    between = rng.choice(rng.choice([SIGNS, WORDS]))
    return begin[: rng.randint(0, len(begin))] + between + end[rng.randint(0, len(end)) :]


def _reads(*texts: str) -> None:
    with watched() as seen:
        for text in texts:
            try:
                parse_value(text, flag="--x")
            except GrammarError as error:
                assert error.column is not None and 1 <= error.column <= max(1, len(text))
            for read in (parse, READERS["assignments"]):
                with suppress(UsageError):
                    read(text)
    assert not seen.started and not seen.opened and not seen.compiled


@given(MESSY)
def test_any_text_is_read_or_refused(text: str) -> None:
    _reads(text)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=100_000 // (_N_AT_ONCE + _N_SPOILT), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(MESSY, min_size=_N_AT_ONCE, max_size=_N_AT_ONCE))
def test_any_of_a_hundred_thousand_texts_is_read_or_refused(texts: list[str]) -> None:
    rng = random.Random(repr(texts))
    _reads(*texts, *(_spoilt(texts, rng) for _ in range(_N_SPOILT)))


@pytest.mark.parametrize("text", [text for text in ATTACKS if "\0" not in text and len(text) < 100])
def test_a_whole_command_line_of_it_runs_no_more_than_the_program(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("print('loss: 1')\n")
    for words in (("--x", text), ("--when", "x: " + text, "--x", "[1, 2]"), ("--first", text), ("--fidelity", text)):
        own = words[:2] if words[0] != "--x" else ()
        said = call("run", "--dry-run", *own, "train.py", *words[len(own) :], expect=None)
        assert "fault of whet" not in said.err, said.err
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]
