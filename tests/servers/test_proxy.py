"""The server and the proxy that other tests rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.servers.postgres import Database, Server
from tests.servers.proxy import Proxy, at_any_byte, now_and_then


def _counted(url: str, key: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO told VALUES (%s)", [key])


def _n_lost(url: str, n_keys: int) -> int:
    """Write so many keys, each on a connection of its own; return how many times that seemed to fail."""
    n_lost = 0
    for key in range(n_keys):
        try:
            _counted(url, key)
        except psycopg.OperationalError:
            n_lost += 1
    return n_lost


def test_a_reply_to_commit_is_lost_after_the_server_has_committed(postgres: Database) -> None:
    server = postgres.server
    server.do("CREATE TABLE told (key INT)", database=postgres.name)
    with Proxy(server.port, drops=now_and_then(0.5, 1, up_to=20)) as proxy:
        n_lost = _n_lost(postgres.by(proxy.port), 60)
        assert n_lost == proxy.n_dropped == 20
    assert server.do("SELECT count(*), count(DISTINCT key) FROM told", database=postgres.name) == [(60, 60)]


def test_a_connection_is_cut_at_any_byte(postgres: Database) -> None:
    server = postgres.server
    server.do("CREATE TABLE told (key INT)", database=postgres.name)
    with Proxy(server.port, cut_after=at_any_byte(4000, 2, up_to=30)) as proxy:
        n_lost = _n_lost(postgres.by(proxy.port), 40)
        assert 10 < n_lost <= 30
        assert n_lost >= proxy.n_cut > 10
    ((n_kept,),) = server.do("SELECT count(*) FROM told", database=postgres.name)
    assert 40 - n_lost <= n_kept < 40


@pytest.mark.parametrize("how", ["immediate", "kill"])
def test_a_server_that_crashed_has_what_it_committed(own_postgres: Server, how: str) -> None:
    database = own_postgres.database()
    own_postgres.do("CREATE TABLE told (key INT)", database=database.name)
    own_postgres.do("INSERT INTO told VALUES (1)", database=database.name)
    own_postgres.crash(how)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(database.url)
    own_postgres.start()
    assert own_postgres.do("SELECT key FROM told", database=database.name) == [(1,)]
    assert own_postgres.do("SHOW fsync") == [("on",)]


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_server_when_its_test_session_is_killed(sent: int, tmp_path: Path) -> None:
    code = """
        import os, sys, time
        from tests.servers.postgres import Server
        server = Server()
        if os.fork() == 0:  # outlives its parent, and holds copies of its pipes
            os.close(1)
            time.sleep(60)
            os._exit(0)
        print(server.folder, (server.folder / "data/postmaster.pid").read_text().split()[0], flush=True)
        time.sleep(60)
        """
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    said = process.stdout.readline().split()
    if not said:
        pytest.skip("no PostgreSQL could be started")
    folder, pid = Path(said[0]), int(said[1])
    process.send_signal(sent)
    process.wait()
    try:
        deadline = time.monotonic() + 20
        while (folder.exists() or psutil.pid_exists(pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not folder.exists()
        assert not psutil.pid_exists(pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
