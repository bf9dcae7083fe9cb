"""Fixtures that every test may use, and the rule that a skipped test is a failure unless it is expected here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

from tests.servers.postgres import own_postgres, postgres, postgres_files, postgres_server  # fixtures

__all__ = ["own_postgres", "postgres", "postgres_files", "postgres_server"]

# ---- hypothesis: no deadlines (the machine may be busy); in CI the same examples each time
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True, database=None)
_IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
settings.load_profile("ci" if _IN_CI else "dev")

# ---- skipped tests: the only reasons for which one may be skipped where CI=true, as patterns of the whole reason
EXPECTED_SKIPS = (
    r"needs Linux: .+",
    r"needs root: .+",
    r"needs not to be root: .+",
)


class _Skips:
    """Collects unexpected skips and makes the run fail on them in CI."""

    def __init__(self) -> None:
        self._unexpected: dict[str, str] = {}

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        # An expected failure is reported as skipped, too.
        if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if not any(re.fullmatch(pattern, reason) for pattern in EXPECTED_SKIPS):
                self._unexpected[report.nodeid] = reason

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._unexpected and _IN_CI and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._unexpected:
            what = "an error in CI" if not _IN_CI else "an error"
            terminalreporter.section(f"skips that tests/conftest.py does not expect ({what})", red=_IN_CI)
            for nodeid, reason in self._unexpected.items():
                terminalreporter.line(f"{nodeid}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Skips(), "expected-skips")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root: it mounts a file system"))


# ---- whet as a person starts it
# By the last but one, `.ci/run` finds strays; by the last, tests/faults/test_guards.py tests a copy of the sources.
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SCRATCH_OF_CI", "PYTHONPATH")
_MARK = "TEST_PROCESSES_OF"  # in the environment of all that a test starts, and so of whatever that starts


class Whet:
    """Starts ``python -m whet`` in ``cwd`` with a clean environment and no terminal.

    When the test is over, nothing that was started may still run: a survivor is killed and fails the test.
    """

    def __init__(self, cwd: Path, home: Path) -> None:
        self.cwd = cwd
        self._mark = uuid.uuid4().hex
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        self.env = {**kept, "HOME": str(home), _MARK: self._mark}
        self._started: list[subprocess.Popen[str]] = []

    def argv(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "whet", *map(str, arguments)]

    def __call__(
        self,
        *arguments: object,
        expect: int | None = 0,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout_s: float = 120.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and check its exit code; ``expect=None`` takes any."""
        done = subprocess.run(
            self.argv(*arguments),
            cwd=self.cwd,
            env={**self.env, **(env or {})},
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
        if expect is not None and done.returncode != expect:
            pytest.fail(
                f"whet {' '.join(map(str, arguments))}\nexit code {done.returncode}, expected {expect}\n"
                f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
            )
        return done

    def start(self, *arguments: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command in a process group of its own and return at once; its output is to be read from its pipes."""
        process = subprocess.Popen(
            self.argv(*arguments),
            cwd=self.cwd,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def close(self, patience_s: float = 10.0) -> list[str]:
        """Wait for all that was started to end, kill what does not; return a line about each that had to be killed."""
        survivors = self.survivors(patience_s)
        lines = [_describe(process) for process in survivors]
        for survivor in survivors:
            with suppress(psutil.Error):
                survivor.kill()
        psutil.wait_procs(survivors)
        for process in self._started:
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        return lines

    def survivors(self, patience_s: float = 0.0) -> list[psutil.Process]:
        """Return what still runs of all that was started here, after waiting up to *patience_s* for its end."""
        deadline = time.monotonic() + patience_s
        while (alive := list(_marked(self._mark))) and time.monotonic() < deadline:
            time.sleep(0.05)
        return alive


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _describe(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid}: {' '.join(process.cmdline())}"
    return f"{process.pid}: gone by now"


@pytest.fixture
def whet(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whet]:
    """Run whet's command line in ``tmp_path``; see `Whet`."""
    runner = Whet(tmp_path, tmp_path_factory.mktemp("home"))
    yield runner
    survivors = runner.close()
    assert not survivors, "these processes outlived the test:\n" + "\n".join(survivors)


@pytest.fixture
def write_script(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write an executable file into ``tmp_path`` and return its path."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    return write
