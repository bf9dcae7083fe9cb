"""Does each test of a fault fail once its guard is taken out? Else it would show nothing (F29).

`tests.faults.guards` has the table: for each fault, a line of the sources that guards against it, what is left when it
is taken out, and the test that must fail then. The slow test here does that to a copy of the sources, one at a time.
The quick ones see that the table still is about these sources and these tests.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from tests.faults.guards import GUARDS, NO_GUARD, Guard

_ROOT = Path(__file__).parents[2]
_SOURCES = _ROOT / "src" / "whet"
_FAULTS = {*(f"F{n}" for n in range(1, 27)), "F28", "F29", "S"}
_MARK = "GUARD_TAKEN_OUT"
_PATIENCE_S = 120
# Runs pytest on the sources that it is said to, and on no others.
_PROGRAM = """
import sys
import whet
assert whet.__file__ == sys.argv[1], whet.__file__
import pytest
sys.exit(pytest.main(sys.argv[2:]))
"""


def _name(guard: Guard) -> str:
    return f"{guard.fault}: {guard.what}"


def row(guard: Guard) -> str:
    """Return the row of the table in docs/reliability.md."""
    test = guard.test.removeprefix("tests/").removeprefix("faults/")
    return f"| {guard.fault} | {guard.what} | `{guard.module}` | `{test}` |"


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {guard.module: (_SOURCES / guard.module).read_text() for guard in GUARDS}


@pytest.mark.parametrize("guard", GUARDS, ids=_name)
def test_each_guard_stands_once_in_the_sources(guard: Guard, texts: dict[str, str]) -> None:
    text = texts[guard.module]
    assert text.count(guard.text) == 1, f"{guard.module} has it {text.count(guard.text)} times:\n{guard.text}"
    assert guard.text != guard.left
    ast.parse(text.replace(guard.text, guard.left))


@pytest.mark.parametrize("path", sorted({guard.test.partition("::")[0] for guard in GUARDS}))
def test_the_tests_that_are_to_fail_exist(path: str) -> None:
    functions = {node.name for node in ast.parse((_ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
    classes = {node.name for node in ast.parse((_ROOT / path).read_text()).body if isinstance(node, ast.ClassDef)}
    for guard in GUARDS:
        file, _, rest = guard.test.partition("::")
        if file == path:
            assert re.split(r"::|\[", rest)[0] in functions | classes, guard.test


def test_every_fault_has_a_guard_or_a_reason() -> None:
    with_guard = {guard.fault for guard in GUARDS}
    assert with_guard <= _FAULTS
    assert not with_guard & set(NO_GUARD)
    assert with_guard | set(NO_GUARD) == _FAULTS
    assert len({_name(guard) for guard in GUARDS}) == len(GUARDS)


def test_the_page_on_reliability_names_every_guard_and_fault() -> None:
    text = (_ROOT / "docs" / "reliability.md").read_text()
    listed = re.findall(r"^\| (?:F\d+|S) \| .* \| `[\w/]+\.py` \| `.*` \|$", text, re.MULTILINE)
    assert listed == [row(guard) for guard in GUARDS]
    assert all(f"\n| {fault} | " in text for fault in _FAULTS)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("guard", GUARDS, ids=_name)
def test_a_test_fails_once_its_guard_is_taken_out(guard: Guard, tmp_path: Path) -> None:
    sources = tmp_path / "sources" / "whet"
    shutil.copytree(_SOURCES, sources)
    file = sources / guard.module
    file.write_text(file.read_text().replace(guard.text, guard.left))
    outcome, said = _run(guard.test, sources, tmp_path / "result.xml")
    if outcome == "skipped":
        pytest.skip(said)
    assert outcome == "failed", f"{guard.test} shows nothing: without\n{guard.text}\nit {outcome}\n{said}"
    assert not re.search(r"SyntaxError|NameError|IndentationError|UnboundLocalError", said), said


def _run(test: str, sources: Path, result: Path) -> tuple[str, str]:
    """Run a test on *sources*; return what came of it, and what it said."""
    with _nothing_left() as mark:
        env = {**os.environ, _MARK: mark, "PYTHONPATH": str(sources.parent), "CI": "true", "COLUMNS": "200"}
        env = {name: value for name, value in env.items() if not name.startswith(("PYTEST_", "COV_"))}
        # Of a test with parameters, `-x`: one that fails is enough.
        options = [
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "-o",
            "timeout=60",
            f"--junitxml={result}",
        ]
        folder = ["--basetemp", str(result.parent / "inner")]
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(sources / "__init__.py"), *options, *folder, test],
            cwd=_ROOT,
            env=env,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    output = done.stdout[-6000:] + done.stderr[-3000:]
    assert result.exists(), output
    cases = list(ET.parse(result).getroot().iter("testcase"))
    for case in cases:
        if (failure := case.find("failure")) is not None:
            return "failed", f"{failure.get('message')}\n{failure.text}"
    for case in cases:
        if (error := case.find("error")) is not None:
            message = str(error.get("message"))  # what is left behind is found once the test is over
            outcome = "failed" if "failed on teardown" in message else "did not even begin"
            return outcome, f"{message}\n{error.text}"
    skipped = [case.find("skipped") for case in cases]
    if cases and all(element is not None for element in skipped):
        return "skipped", str(skipped[0].get("message"))  # type: ignore[union-attr]
    return ("passes" if cases else "was not found"), output


@contextmanager
def _nothing_left() -> Iterator[str]:
    """Give a mark for the environment of what is started; what carries it is killed in the end."""
    mark = uuid.uuid4().hex
    try:
        yield mark
    finally:
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(_MARK) == mark:
                    process.kill()
