"""A full disk is said in a sentence; nothing acknowledged is lost, and it goes on once there is room (F6, F7)."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults import disks
from whet.core.events import Draft, Kind
from whet.errors import StoreFull, StoreUnsafe
from whet.storage.doctor import check
from whet.storage.recovery import recover
from whet.storage.sql import SqlStore
from whet.testing.store_writer import Writer, settings_of

_SIZE = 600_000  # bytes
_ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", str(_SIZE)) as folder:
        yield folder


def _fill(writer: Writer, *, durable: bool) -> None:
    """Write until the disk is full."""
    number = writer.start()
    with pytest.raises(StoreFull, match="no space left"):
        for step in range(20_000):
            rows = [[step, 0.5]] * 20
            writer.write(Draft(Kind.REPORTED, number, {"rows": rows}, f"token {number}"), durable=durable)
    assert writer.history.seq > 10


@pytest.mark.root
@pytest.mark.parametrize("durable", [True, False])
def test_a_store_goes_on_once_there_is_room(small_disk: Path, durable: bool) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(_SIZE // 2))
    path = small_disk / "whet.db"
    with closing(SqlStore(path)) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        for _ in range(3):
            _fill(writer, durable=durable)
            for use in (
                lambda: writer.write(Draft(Kind.COMMAND, None, {"command": "x" * 20_000})),
                lambda: store.create("b", settings_of(note="x" * 20_000)),
            ):
                with pytest.raises(StoreFull, match=f"{path}.*free some and go on"):
                    use()
            assert store.load(writer.study).seq == writer.history.seq  # and it can be read
            ballast.write_bytes(bytes(ballast.stat().st_size // 2))
            writer.write(reserve=1, durable=durable)
            assert store.load(writer.study).seq == writer.history.seq
    ballast.unlink()
    assert check(path) == []
    with closing(SqlStore(path)) as store:
        assert store.load(writer.study).seq == writer.history.seq


@pytest.mark.root
def test_no_room_for_a_new_store(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(_SIZE // 4096 * 4096 - 8192))
    path = small_disk / "folder" / "whet.db"
    for _ in range(2):
        with pytest.raises(StoreFull, match=str(path.parent)):
            SqlStore(path)
    (small_disk / "ballast").unlink()
    with closing(SqlStore(path)) as store:
        store.create("a", settings_of())
    assert check(path) == []


@pytest.mark.root
def test_a_disk_that_becomes_read_only(small_disk: Path) -> None:
    path = small_disk / "whet.db"
    with closing(SqlStore(path)) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        writer.complete(loss=1.0)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with closing(SqlStore(path, must_exist=True)) as store:
        assert store.load(writer.study).best() == 0
        assert store.studies("a")[0].holder is None
        for use in (
            lambda: store.create("b", settings_of()),
            lambda: store.append(writer.study, [], after=1, reserve=1),
            lambda: store.delete(writer.study),
            lambda: store.hold(writer.study).__enter__(),
        ):
            with pytest.raises(StoreFull, match="read-only disk"):
                use()
    assert check(path) == []
    with pytest.raises(StoreFull, match="cannot be made"):
        SqlStore(small_disk / "new.db")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    with closing(SqlStore(path)) as store:
        assert store.append(writer.study, [], after=writer.history.seq, reserve=1).numbers == [1]


@pytest.mark.root
def test_a_real_mount_point_is_seen(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small disk stands for a share: what counts is that its mount point is found."""
    monkeypatch.setattr("whet.storage.mounts._SHARED", frozenset({"tmpfs"}))
    with pytest.raises(StoreUnsafe, match=r"network file system \(tmpfs\)"):
        SqlStore(small_disk / "whet.db")


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    """What a quota does, without being root."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.test_disk_full", str(tmp_path / "whet.db")],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["went on"], done.stdout + done.stderr
    assert check(tmp_path / "whet.db") == []
    assert recover(tmp_path / "whet.db", tmp_path / "saved.db") == ["study 'a': 3 trials were saved"]


def _within_a_limit(path: Path) -> None:
    with closing(SqlStore(path)) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        for limit in (300_000, 400_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            number = writer.start()
            try:
                for step in range(20_000):
                    writer.write(Draft(Kind.REPORTED, number, {"rows": [[step, 0.5]] * 20}, f"token {number}"))
            except StoreFull as error:
                print(error)
            else:
                raise AssertionError("the disk was never full")
            assert store.load(writer.study).seq == writer.history.seq
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            writer.write(Draft(Kind.COMPLETED, number, {"values": {"loss": 1.0}}, f"token {number}"))
        writer.complete(loss=1.0)
        assert store.load(writer.study).seq == writer.history.seq
    print("went on")


if __name__ == "__main__":
    _within_a_limit(Path(sys.argv[1]))
