"""Does each test of a fault fail once its guard is taken out? Else it would show nothing (F29).

`tests.faults.guards` has the table: for each fault, a line of the sources that guards against it, what is left when it
is taken out, and the test that must fail then. The slow test here does that to a copy of the sources, one at a time.
The quick ones see that the table still is about these sources and these tests.
"""

from __future__ import annotations

import ast
import compileall
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from tests.faults.guards import GUARDS, NO_GUARD, Guard
from tests.servers import postgres

_ROOT = Path(__file__).parents[2]
_SOURCES = _ROOT / "src" / "whet"
_FAULTS = {*(f"F{n}" for n in range(1, 27)), "F28", "F29", "S"}
_MARK = "GUARD_TAKEN_OUT"
_PATIENCE_S = 120
# Runs pytest on the sources that it is said to, and on no others: each time in a process of its own, forked from one
# that has loaded what they and their tests stand on, and nothing of them.
_PROGRAM = """
import json, os, sys
import hypothesis, numpy, psutil, psycopg, pytest, sqlalchemy
assert "whet" not in sys.modules
sys.path.insert(0, sys.argv[1])
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(order["env"])
        import whet
        assert whet.__file__ == os.path.join(sys.argv[1], "whet", "__init__.py"), whet.__file__
        sys.exit(pytest.main(order["arguments"]))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
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


class _Copy:
    """A copy of the sources, without one guard at a time, and what runs tests on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(_SOURCES, folder / "whet")
        compileall.compile_dir(folder, quiet=2)
        self._n_taken_out = 0
        self._tester = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(folder)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def without(self, guard: Guard) -> Iterator[None]:
        file = self.folder / "whet" / guard.module
        text, times = file.read_text(), file.stat()
        self._n_taken_out += 1
        try:
            file.write_text(text.replace(guard.text, guard.left))
            # What was compiled of the module is known by its time and size: no two of its texts have the same time.
            os.utime(file, (times.st_atime, times.st_mtime + self._n_taken_out))
            yield
        finally:
            file.write_text(text)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    def run(self, arguments: list[str], env: dict[str, str], output: Path) -> None:
        """Run pytest, and wait for its end."""
        order = {"arguments": arguments, "env": {**env, "PYTHONPATH": str(self.folder)}, "output": str(output)}
        self._tester.stdin.write(json.dumps(order) + "\n")
        self._tester.stdin.flush()
        pid = int(self._tester.stdout.readline())
        assert pid > 1, "the test before has not been waited for"
        ending = threading.Timer(_PATIENCE_S, os.kill, (pid, signal.SIGKILL))
        ending.start()
        try:
            assert self._tester.stdout.readline(), "what runs the tests has ended"
        finally:
            ending.cancel()

    def close(self) -> None:
        with self._tester:
            self._tester.kill()


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Copy]:
    with closing(_Copy(tmp_path_factory.mktemp("sources"))) as copy:
        yield copy


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("guard", GUARDS, ids=_name)
def test_a_test_fails_once_its_guard_is_taken_out(
    guard: Guard, copied: _Copy, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    needs_server = "postgres" in guard.test
    more = {postgres.FILES: str(request.getfixturevalue("postgres_files"))} if needs_server else {}
    with copied.without(guard):
        outcome, said = _run(guard.test, copied, tmp_path / "result.xml", more)
    if outcome == "skipped":
        pytest.skip(said)
    assert outcome == "failed", f"{guard.test} shows nothing: without\n{guard.text}\nit {outcome}\n{said}"
    assert not re.search(r"SyntaxError|NameError|IndentationError|UnboundLocalError", said), said


def _run(test: str, copied: _Copy, result: Path, more: dict[str, str]) -> tuple[str, str]:
    """Run a test on *copied* sources, with *more* in its environment; return what came of it, and what it said."""
    output = result.with_name("output")
    with _nothing_left() as mark:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
        env |= more | {_MARK: mark, "CI": "true", "COLUMNS": "200", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        # Of a test with parameters, `-x`: one that fails is enough.
        options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "pytest_timeout", "-o", "timeout=60"]
        options += [f"--junitxml={result}", "--basetemp", str(result.parent / "inner")]
        copied.run([*options, test], env, output)
    said = output.read_text(errors="replace")[-9000:]
    assert result.exists(), said
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
    return ("passes" if cases else "was not found"), said


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
