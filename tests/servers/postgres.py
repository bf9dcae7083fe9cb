"""A real PostgreSQL for tests: `Server`, and the fixtures that hand out databases on one.

* ``postgres``: a database of the test's own on a server that the whole session (of each xdist worker) shares.
* ``own_postgres``: a server of the test's own, which may be crashed, stopped and started again.

Nothing stays behind, not even when the session is killed: the server is kept by a process that notices (keeper.py).
Without PostgreSQL the tests that need it are skipped, and `tests/conftest.py` does not expect that: CI fails.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.servers import keeper

USER = "tester"
FILES = "FILES_OF_POSTGRES"  # in the environment of a session of tests that another one starts
_PASSWORD = "password"
_TRIED_PORTS = range(20_000, 32_000)  # below what systems hand out to clients, who could take it while a server is down
_LONGEST_SOCKET = 100  # bytes of the path of a Unix socket; the system's limit is 107


class NoPostgres(Exception):
    """No server can be started here; says why, and what to install."""


@dataclass(frozen=True)
class Database:
    """One database on a server: how to reach it."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        """By TCP, with a password."""
        return f"postgresql://{USER}:{self.server.password}@127.0.0.1:{self.server.port}/{self.name}"

    @property
    def socket_url(self) -> str:
        """By the Unix socket, without a password."""
        folder = quote(str(self.server.folder), safe="")
        return f"postgresql://{USER}@/{self.name}?host={folder}&port={self.server.port}"

    def by(self, port: int) -> str:
        """By TCP through another *port*, a proxy's."""
        return f"postgresql://{USER}:{self.server.password}@127.0.0.1:{port}/{self.name}"


class Server:
    """A PostgreSQL server of one's own, with ``fsync`` on; use it as a context manager."""

    def __init__(self, like: Path | None = None, **settings: object) -> None:
        """Make and start a server; *settings* go into its postgresql.conf (``fsync="off"``).

        *like* is a folder with the files of one that has never run: to copy them is quicker than to make them.

        Raises:
            NoPostgres: there is none here, or it cannot be started by this user.
        """
        programs, user = _programs(), _user()
        self.folder = _folder(user)
        try:
            self.port = _free_port()
            if like is None:
                _initdb(self.folder, programs, user)
            else:
                _copy(like, self.folder)
            self.password = (self.folder / _PASSWORD).read_text(encoding="ascii")
            _configure(self.folder, settings)
            self._keeper = subprocess.Popen(
                [sys.executable, keeper.__file__, self.folder, str(self.port), programs, user],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd="/",
                env=keeper.environment(),
                start_new_session=True,
            )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------ its process
    def start(self) -> None:
        """Start it, again or for the first time; crash recovery is over when this returns."""
        self._order("start")

    def crash(self, how: str = "immediate") -> None:
        """End it without a word to anyone: "immediate" as ``pg_ctl stop -m immediate`` does, "kill" as ``kill -9``."""
        self._order(f"stop {how}")

    def stop(self) -> None:
        """End it in order, as a restart for an upgrade does."""
        self._order("stop fast")

    def restart(self) -> None:
        """Crash it, and start it again."""
        self.crash()
        self.start()

    def close(self) -> None:
        """End it and delete its files."""
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            pipe.close()
        self._keeper.wait(60)

    def log(self) -> str:
        """Return what the server has written into its log."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def _order(self, what: str) -> None:
        self._keeper.stdin.write(what.encode() + b"\n")
        self._keeper.stdin.flush()
        answer = self._keeper.stdout.readline().decode().rstrip("\n")
        if answer != "ok":
            raise RuntimeError(f"PostgreSQL, {what}: {answer or 'its keeper has ended'}")

    # ---------------------------------------------------------------------------------------------- its databases
    def database(self, copied: Database | None = None) -> Database:
        """Create a database, empty or *copied* from one that nobody is connected to."""
        database = Database(self, f"whet_{secrets.token_hex(6)}")
        template = f' TEMPLATE "{copied.name}"' if copied else ""
        self.do(f'CREATE DATABASE "{database.name}"{template}')
        return database

    def drop(self, database: Database) -> None:
        """Drop a database, whoever is still connected to it."""
        self.do(f'DROP DATABASE IF EXISTS "{database.name}" WITH (FORCE)')

    def do(self, sql: str, *values: object, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the server's owner, and return its rows."""
        import psycopg

        url = Database(self, database).socket_url
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def terminate(self, database: Database) -> int:
        """End every connection to *database* (``pg_terminate_backend``); return how many there were."""
        which = "FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        return len(self.do(f"SELECT pg_terminate_backend(pid) {which}", database.name))


def _programs() -> str:
    """Return the folder of PostgreSQL's programs."""
    on_path = shutil.which("pg_ctl")
    found = [Path(on_path).resolve().parent] if on_path else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    found += sorted(debian, key=lambda folder: float(folder.parent.name), reverse=True)
    for folder in found:
        if all((folder / program).exists() for program in ("initdb", "postgres")):
            return str(folder)
    raise NoPostgres("no PostgreSQL found: `apt-get install postgresql` (or put its pg_ctl on PATH)")


def _user() -> str:
    """Return as whom the server runs: it refuses root."""
    if os.geteuid() != 0:
        return ""
    for user in ("postgres", "nobody"):
        try:
            done = subprocess.run(["true"], check=False, **keeper.as_user(user))
        except (KeyError, OSError, subprocess.SubprocessError):
            continue
        if done.returncode == 0:
            return user
    raise NoPostgres("PostgreSQL does not run as root, and this root cannot become `postgres` or `nobody`")


def _folder(user: str) -> Path:
    """Make a folder that *user* reaches and that is short enough for a socket."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):
        folder = Path(tempfile.mkdtemp(prefix="whet-pg-", dir=parent))
        if user:
            shutil.chown(folder, user)
        reached = subprocess.run(["test", "-w", folder], check=False, **keeper.as_user(user)).returncode == 0
        if reached and len(os.fsencode(folder)) + len("/.s.PGSQL.00000") <= _LONGEST_SOCKET:
            return folder
        folder.rmdir()
    raise NoPostgres(f"no folder for PostgreSQL: {user or 'this user'} can write into none of TMPDIR, /tmp, /var/tmp")


def _free_port() -> int:
    for port in random.SystemRandom().sample(_TRIED_PORTS, 100):
        with closing(socket.socket()) as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise NoPostgres("no free TCP port for PostgreSQL on 127.0.0.1")


def _initdb(folder: Path, programs: str, user: str) -> None:
    """Make a server's files and its password in *folder*."""
    words = folder / _PASSWORD
    words.write_text(secrets.token_hex(8), encoding="ascii")
    words.chmod(0o600)
    if user:
        shutil.chown(words, user)
    command = [f"{programs}/initdb", "-D", folder / "data", "-U", USER, "--pwfile", words, "--auth-local=trust"]
    command += ["--auth-host=scram-sha-256", "--no-sync", "--locale=C", "--encoding=UTF8"]
    done = subprocess.run(
        command,
        cwd=folder,
        env=keeper.environment(),
        capture_output=True,
        text=True,
        check=False,
        **keeper.as_user(user),
    )
    if done.returncode != 0:
        raise NoPostgres(f"initdb failed: {done.stdout}{done.stderr}")


def _copy(made: Path, folder: Path) -> None:
    subprocess.run(["cp", "-a", made / "data", made / _PASSWORD, folder], check=True)


def _configure(folder: Path, settings: dict[str, object]) -> None:
    lines = {
        "unix_socket_directories": str(folder),
        "listen_addresses": "127.0.0.1",
        "max_connections": 200,
        "log_line_prefix": "%m [%p] %d ",
        **settings,
    }
    with (folder / "data/postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.writelines(f"{name} = '{value}'\n" for name, value in lines.items())


# ------------------------------------------------------------------------------------------------------- fixtures
def _server(like: Path) -> Server:
    try:
        return Server(like)
    except NoPostgres as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of a server that has never run, for `Server`; those of the session that started this one, if any."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        pytest.skip("psycopg is not installed: pip install -e '.[dev]'")
    if FILES in os.environ:
        yield Path(os.environ[FILES])
        return
    folder = tmp_path_factory.mktemp("postgres")
    try:
        programs, user = _programs(), _user()
        made = _folder(user)
        try:
            _initdb(made, programs, user)
            _copy(made, folder)
        finally:
            shutil.rmtree(made)
    except NoPostgres as error:
        pytest.skip(str(error))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server(postgres_files: Path) -> Iterator[Server]:
    """A server for the whole session; not to be stopped, nor crashed."""
    with _server(postgres_files) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Server) -> Iterator[Database]:
    """A fresh database of the test's own."""
    database = postgres_server.database()
    yield database
    postgres_server.drop(database)


@pytest.fixture
def own_postgres(postgres_files: Path) -> Iterator[Server]:
    """A server of the test's own, to be crashed and started again."""
    with _server(postgres_files) as server:
        yield server
