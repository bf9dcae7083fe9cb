"""A store from a stranger: whatever it holds, opening it runs nothing, and what makes no sense is named (issue 7.5)."""

from __future__ import annotations

import copy
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.cli.studies import call
from tests.faults.watching import watched
from whet.core.jsontext import MISREAD
from whet.errors import SpaceError, WhetError
from whet.space.domain import domain_from_json
from whet.study import load

COMMANDS = (
    ("status", "--json"),
    ("history",),
    ("show", "s"),
    ("show", "s/0", "--json"),
    ("best", "s"),
    ("explain", "s"),
    ("export", "s", "--format", "csv", "-o", ".whet/out.csv", "--force"),
    ("logs", "s/0"),
    ("artifacts", "s"),
    ("simulate", "s"),
    ("doctor",),
)
EVIL = "evil_module"
ESCAPE = "\x1b]0;owned\x07\x9b2J\u202e"
DEEP = "[" * 100_000 + "]" * 100_000
NUMPY = {"type": "numpy", "args": [], "kwargs": {}}
# What is put in the place of the domain of `lr`.
DOMAINS: list[Any] = [
    {"type": "scipy", "name": EVIL, "args": [], "kwargs": {}},
    {"type": "scipy", "name": "os.system", "args": ["touch owned"], "kwargs": {}},
    {"type": "scipy", "name": "rv_continuous", "args": [], "kwargs": {}},
    {"type": "scipy", "name": "__builtins__", "args": [], "kwargs": {}},
    {"type": "scipy", "name": "norm", "args": ["__import__('os')"], "kwargs": {}},
    {**NUMPY, "name": "bit_generator"},
    {**NUMPY, "name": "__reduce__"},
    {**NUMPY, "name": "spawn", "args": [10**9]},
    {**NUMPY, "name": "normal", "args": [0, 1, 10**11]},
    {**NUMPY, "name": "normal", "kwargs": {"size": 10**11}},
    {"type": f"{EVIL}.run", "values": [1]},
    {"type": "int", "low": -(10**300), "high": 10**300},
    {"type": "float", "low": 0, "high": 10**400},
    {"type": "ordinal", "range": [0, 10**30, 1]},
    {"type": "categorical", "values": [{"$whet.tuple": [EVIL]}, {"py/object": "os.system"}]},
    {"type": "categorical", "values": [ESCAPE, "b"]},
    {"type": "categorical", "values": [0.1, 0.2], "when": "__import__('os').system('touch owned')"},
    {"type": "categorical", "values": [0.1, 0.2], "when": "lr.__class__"},
]
# Where in the settings something is put, and what.
SETTINGS: list[tuple[tuple[Any, ...], Any]] = [
    *((("problem", "space", "domains", 0, 1), domain) for domain in DOMAINS),
    *(((), whole) for whole in (None, [], {}, "x", 1)),
    *((("problem",), part) for part in (None, {}, [EVIL])),
    (("problem", "space", "forbid"), ["__import__('os').system('touch owned')"]),
    (("problem", "space", "forbid"), ["9**9**9 > lr"]),
    (("problem", "objectives"), [[ESCAPE, "minimize"]]),
    (("problem", "objectives"), [[]]),
    (("problem", "fidelity"), ["epochs", 1, 10**400, None]),
    (("sampler",), EVIL),
    (("sampler",), f"{EVIL}:run"),
    (("sampler",), "gp(acquisition=__import__('os'))"),
    (("sampler",), [EVIL]),
    (("sampler",), []),
    (("sampler",), {}),
    (("sampler_options",), []),
    (("sampler_options",), 3),
    (("lookahead",), [1]),
    (("lookahead",), -3),
    (("lease_s",), "x"),
    (("lease_s",), None),
    (("lease_s",), -1),
    (("n_trials",), "x"),
    (("sampler",), ESCAPE),
    (("sampler_options",), {"__class__": EVIL, "n_start": 10**30}),
    (("scheduler",), EVIL),
    (("scheduler",), {EVIL: 1}),
    (("seed",), -1),
    (("seed",), "x"),
    (("seed",), 10**400),
    (("repeats",), 0),
    (("repeats",), 10**30),
    (("repeats",), "x"),
    (("limits",), {"__init__": EVIL}),
    (("limits",), None),
    (("rules",), {"take": [EVIL]}),
    (("rules", "retries"), [[]]),
    (("run",), {"program": "x"}),
    (("run", "program"), {"kind": EVIL, "target": "/bin/sh"}),
    (("run", "program", "target"), ESCAPE),
    (("run", "arguments"), [ESCAPE, "{trial_dir.__class__}", "$(touch owned)", "[" * 10_000]),
    (("run", "arguments"), 3),
    (("run", "cwd"), "/nowhere/\x1b[2J"),
    (("run", "cwd"), ["/"]),
    (("run", "python"), "/bin/sh"),
    (("run", "environment"), {"LD_PRELOAD": "/tmp/evil.so"}),
    (("run", "metric_pattern"), "(a+)+$"),
    (("run", "surroundings"), {EVIL: 1}),
]
_TEXTS = (
    "",
    "x",
    "null",
    "[]",
    "1",
    '"a"',
    "1e999",
    "NaN",
    "9" * 5000,
    "[null]",
    DEEP,
    '{"$float":[1]}',
    '{"$dict":3}',
)
COLUMNS: list[tuple[str, Any]] = [
    *((f"trial.{name}", text) for name in ("config", "values", "rest", "owner", "budget") for text in _TEXTS),
    *((f"study.{name}", text) for name in ("settings", "counts", "commands") for text in _TEXTS),
    *((f"event.{name}", text) for name in ("payload", "kind") for text in ("x", "null", DEEP, "[]")),
    ("trial.config", json.dumps({"lr": ESCAPE, EVIL: ESCAPE})),
    ("trial.config", json.dumps({"lr": {"a": [DEEP[:50]] * 100}})),
    ("trial.values", json.dumps({"loss": "x", ESCAPE: 1.0})),
    ("trial.rest", json.dumps({"message": ESCAPE, "note": ESCAPE, "attributes": {ESCAPE: ESCAPE}})),
    ("trial.rest", json.dumps({"n_kept": "x", "exit_code": [1], "__class__": EVIL})),
    ("trial.state", EVIL),
    ("trial.cause", EVIL),
    ("trial.attempt", "x"),
    ("trial.started_at", "x"),
    ("trial.ended_at", 1e308),
    ("trial.number", 2**62),
    ("study.name", ESCAPE),
    ("study.name", "../../../etc/passwd"),
    ("study.created_at", 1e300),
    ("study.n_numbers", -(2**62)),
    ("curve.width", "x"),
    ("curve.width", -1),
    ("curve.width", 2**62),
    ("curve.packed", b"\xff\xfe\x00"),
    ("curve.packed", 1.5),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store of a study that was run."""
    folder = tmp_path_factory.mktemp("sound")
    before = Path.cwd()
    os.chdir(folder)
    try:
        (folder / "train.py").write_text("for e in range(3): print(f'epoch {e}: loss: {0.5 ** e}')\n")
        call("run", "--name", "s", "--minimize", "loss", "--scheduler", "median", "train.py", "--lr", "[0.1, 0.2, 0.3]")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def strange(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """The store of that study in the working directory, to be changed, beside a module that nobody may import."""
    shutil.copytree(sound / ".whet", tmp_path / ".whet")
    (tmp_path / f"{EVIL}.py").write_text("raise SystemExit('it was imported')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with closing(sqlite3.connect(tmp_path / ".whet/whet.db", isolation_level=None)) as database:
        yield database


def _set(database: sqlite3.Connection, place: str, value: object) -> None:
    table, _, column = place.partition(".")
    try:
        which = "WHERE number = 0" if table in ("trial", "curve") else ""
        database.execute(f'UPDATE {table} SET "{column}" = ? {which}', (value,))
    except sqlite3.Error as error:
        pytest.fail(f"the test could not spoil the store: {error}")


def _look(tmp_path: Path) -> None:
    """Open the store by every command that looks, and in Python: nothing happens but clear words."""
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with watched() as seen:
        for command in COMMANDS:
            said = call(*command, expect=None)
            text = said.out + said.err
            assert "This is a fault of whet" not in text and "Traceback" not in text, (
                f"whet {' '.join(command)}: {text[-2000:]}"
            )
            assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text), f"whet {' '.join(command)}: {text!r}"
            assert said.code in (0, 1, 2)
            assert said.code == 0 or said.err or command[0] == "doctor"
        with suppress(WhetError):
            study = load("s")
            with suppress(*MISREAD):  # once it is open, an error of Python's will do
                study.explain()
                _ = study.best, study.best_config, study.trials, repr(study)
    assert not [name for name in seen.imported if name.startswith(EVIL)]
    assert EVIL not in sys.modules
    assert not [started for started in seen.started if "'uname'" not in started]  # doctor says which machine this is
    assert not [found for found in seen.unpickled if EVIL in found or "system" in found]
    assert not seen.written_outside(tmp_path / ".whet", Path("/proc"))
    assert not (tmp_path / "owned").exists()
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(("place", "value"), SETTINGS, ids=lambda value: ascii(value)[:60])
def test_settings_are_data(
    place: tuple[Any, ...], value: Any, strange: sqlite3.Connection, tmp_path: Path, sound: Path
) -> None:
    (text,) = strange.execute("SELECT settings FROM study").fetchone()
    settings = copy.deepcopy(json.loads(text))
    if place:
        inner = settings
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = value
    else:
        settings = value
    _set(strange, "study.settings", json.dumps(settings))
    _set_created(strange, settings)
    _look(tmp_path)


def _set_created(database: sqlite3.Connection, settings: Any) -> None:
    database.execute("UPDATE event SET payload = ? WHERE kind = 'created'", (json.dumps(settings),))


@pytest.mark.parametrize(("place", "value"), COLUMNS, ids=lambda value: ascii(value)[:60])
def test_columns_are_data(place: str, value: Any, strange: sqlite3.Connection, tmp_path: Path) -> None:
    _set(strange, place, value)
    _look(tmp_path)


def test_what_makes_no_sense_is_named(strange: sqlite3.Connection) -> None:
    _set(strange, "trial.values", '{"loss": "x"}')
    said = call("show", "s", expect=1)
    assert "study 's': trial 0's values is {'loss': 'x'}" in said.err
    assert "whet doctor" in said.err


def test_a_fault_of_our_own_is_not_blamed_on_the_store(
    strange: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet.cli.show.standing_of", lambda *_: 1 / 0)
    assert "This is a fault of whet" in call("show", "s", expect=1).err


def test_nothing_is_called_by_its_name_but_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    rng = np.random.default_rng(0)
    monkeypatch.setattr(stats, EVIL, lambda *given, **named: called.append((given, named)), raising=False)
    for name in (EVIL, "test", "rv_continuous", "__name__"):
        with pytest.raises(SpaceError, match=r"is no distribution of scipy\.stats"):
            domain_from_json({"type": "scipy", "name": name, "args": [], "kwargs": {}}).sample(rng)
    for name in ("bytes", "spawn", "shuffle", "__reduce__", "bit_generator"):
        with pytest.raises(SpaceError, match="is no distribution of numpy's Generator"):
            domain_from_json({"type": "numpy", "name": name, "args": [3], "kwargs": {}})
    assert not called


def test_no_size_is_drawn() -> None:
    with pytest.raises(SpaceError, match="size"):
        domain_from_json({"type": "numpy", "name": "normal", "args": [0, 1, 3], "kwargs": {}})
