"""Opening a store: what is taken, and what is refused with a sentence and left as it was (F7, F24)."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from whet.errors import (
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreTooNew,
    StoreUnsafe,
    StudyNotFound,
    UsageError,
)
from whet.storage import schema
from whet.storage.mounts import shared_file_system
from whet.storage.open import open_store
from whet.storage.sql import SqlStore
from whet.testing.store_writer import Writer, settings_of


def _pragma(path: Path, name: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_file_says_what_it_is(store: SqlStore, path: Path) -> None:
    assert _pragma(path, "application_id") == schema.APPLICATION_ID == int.from_bytes(b"whet", "big")
    assert _pragma(path, "user_version") == schema.SCHEMA_VERSION
    assert _pragma(path, "journal_mode") == "wal"


@pytest.mark.parametrize(
    "name",
    [
        "a b.db",
        "a?b=c&mode=ro.db",
        "a%20b.db",
        "a#b.db",
        "ä🦋.db",
        "'; drop table study; --.db",
        "-rf",
        "new\nline.db",
        os.fsdecode(b"not-utf-8-\xff.db"),
    ],
    ids=ascii,
)
def test_strange_file_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / "folder" / name
    with closing(SqlStore(path)) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        writer.complete(loss=1.0)
        with store.hold(writer.study):
            assert {entry.name for entry in path.parent.iterdir()} >= {name, f"{name}.lock", f"{name}.1.lock"}
        url = store.url
    for again in (path, url):
        with closing(open_store(again, must_exist=True)) as store:
            assert store.studies("a")[0].id == writer.study
    assert all(entry.name.startswith(name) for entry in path.parent.iterdir())


def test_stores_are_opened_by_path_url_or_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given, expected in (
        ("a.db", "a.db"),
        (Path("b.db"), "b.db"),
        ("sqlite:///c.db", "c.db"),
        (f"sqlite:///{tmp_path}/d.db", "d.db"),
        ("SQLite+pysqlite:///e.db", "e.db"),
        ("~/f.db", "home/f.db"),
    ):
        with closing(open_store(given)) as store:
            assert Path(store.url.removeprefix("sqlite:///")) == tmp_path / expected
            assert (tmp_path / expected).is_file()
            assert open_store(store) is store


@pytest.mark.parametrize("given", [None, ":memory:", "sqlite://", "sqlite:///:memory:"])
def test_memory_has_no_file(given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store(given).url == ":memory:"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("postgresql://host:port/db", "cannot be read as the URL"),
        ("postgresql+psycopg://host/db?no_such=1", "cannot be read as the URL"),
        ("postgres://host/db?sslmode", "cannot be read as the URL"),
        ("mysql://host/db", "no store that whet knows"),
        ("sqlite://x.db", "three slashes, as in sqlite:///x.db"),
        ("sqlite:///x.db?timeout=3", "no options"),
        ("", "a store is a file"),
        ("  ", "a store is a file"),
        ("a\0b", "a store is a file"),
        (".", "is a folder"),
        ("/dev/null", "not a regular file"),
    ],
)
def test_what_is_no_store_is_refused(given: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        open_store(given)
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="not a regular file"):
        SqlStore(tmp_path / "pipe")


def test_a_file_as_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreFull, match="cannot be made"):
        SqlStore(tmp_path / "file" / "whet.db")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["n" * 300, "loop"])
def test_a_path_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StoreFull, match="cannot be"):
        SqlStore(tmp_path / name)


def test_a_store_that_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StudyNotFound, match="does not exist"):
        open_store(tmp_path / "folder" / "whet.db", must_exist=True)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_store_says_so(store: SqlStore) -> None:
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.studies()


def test_a_store_that_nobody_uses_any_more_leaves_one_file(path: Path) -> None:
    store = SqlStore(path)
    store.create("a", settings_of())
    del store
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["whet.db", "whet.db.lock"]


# ---- files that are not ours, or not any more


def test_a_newer_format_is_refused_with_the_versions(store: SqlStore, path: Path) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(StoreTooNew, match=rf"format 99, .* up to {schema.SCHEMA_VERSION}; upgrade"):
        SqlStore(path)


def test_another_programs_database_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE study (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match="not one of whet"):
        SqlStore(path)
    assert path.read_bytes() == before
    assert _pragma(path, "journal_mode") == "delete"


@pytest.mark.parametrize("remove", [lambda path: path.unlink(), lambda path: shutil.rmtree(path.parent)])
def test_a_store_that_is_deleted_while_in_use_is_noticed(tmp_path: Path, remove: object) -> None:
    path = tmp_path / "folder" / "whet.db"
    with closing(SqlStore(path)) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        remove(path)  # type: ignore[operator]
        with pytest.raises(StoreError, match="deleted, moved or replaced"):
            writer.write(reserve=1)
    assert not path.exists()


def test_an_older_copy_in_its_place_is_noticed(writer: Writer, path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreDamaged, match="only 1 of the 5 events"):
        writer.store.append(writer.study, [], after=5, reserve=1)
    shutil.copyfile(path, tmp_path / "copy")
    (tmp_path / "copy").rename(path)
    with pytest.raises(StoreError, match="replaced"):
        writer.write(reserve=1)


# ---- places that are not safe, and files that cannot be written

_Mount = namedtuple("_Mount", "mountpoint fstype")


@pytest.mark.parametrize(
    ("kind", "is_safe"),
    [
        ("ext4", True),
        ("tmpfs", True),
        ("overlay", True),
        ("fuseblk", True),
        ("nfs", False),
        ("nfs4", False),
        ("NFS4", False),
        ("cifs", False),
        ("smb3", False),
        ("fuse.sshfs", False),
        ("lustre", False),
        ("gpfs", False),
        ("beegfs", False),
        ("ceph", False),
        ("fuse.glusterfs", False),
        ("afs", False),
    ],
)
def test_network_file_systems_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_safe: bool
) -> None:
    mounts = [_Mount("/", "ext4"), _Mount(str(tmp_path / "share"), kind), _Mount(str(tmp_path / "share2"), "nfs")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    path = tmp_path / "share" / "deeper" / "whet.db"
    if is_safe:
        SqlStore(path).close()
    else:
        with pytest.raises(StoreUnsafe, match=rf"network file system \({kind.lower()}\).*--store"):
            SqlStore(path)
        assert not path.exists()


def test_the_innermost_and_latest_mount_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "inner"
    mounts = [_Mount(str(inner), "ext4"), _Mount(str(tmp_path), "nfs"), _Mount("/", "ext4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    assert shared_file_system(inner / "folder") is None
    assert shared_file_system(tmp_path / "inner2") == "nfs"
    mounts.append(_Mount(str(inner), "nfs4"))
    assert shared_file_system(inner) == "nfs4"
    (tmp_path / "link").symlink_to("/")
    assert shared_file_system(tmp_path / "link" / "usr") is None


def test_this_folder_is_on_a_local_disk(tmp_path: Path) -> None:
    assert shared_file_system(tmp_path) is None


@pytest.fixture
def not_root() -> None:
    if os.geteuid() == 0:
        pytest.skip("needs not to be root: root may write whatever the permissions say")


@pytest.mark.usefixtures("not_root")
@pytest.mark.parametrize("locked", ["folder", "file", "both"])
def test_what_cannot_be_written_can_be_read(tmp_path: Path, locked: str) -> None:
    path = tmp_path / "folder" / "whet.db"
    with closing(SqlStore(path)) as store:
        study = Writer(store, store.create("a", settings_of()).id)
        study.complete(loss=1.0)
    chosen = {"folder": [path.parent], "file": [path], "both": [path, path.parent]}[locked]
    for place in chosen:
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        with closing(SqlStore(path, must_exist=True)) as store:
            assert store.load(study.study).best() == 0
            assert store.studies("a")[0].holder is None
            for use in (lambda: store.create("b", settings_of()), lambda: store.hold(study.study).__enter__()):
                with pytest.raises(StoreFull, match="cannot be written to"):
                    use()
    finally:
        path.parent.chmod(0o755)


@pytest.mark.usefixtures("not_root")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o555)
    for path in (folder / "whet.db", folder / "deeper" / "whet.db"):
        with pytest.raises(StoreFull, match=str(folder)):
            SqlStore(path)


@pytest.mark.usefixtures("not_root")
def test_a_file_that_cannot_be_read_is_refused(store: SqlStore, path: Path) -> None:
    store.close()
    path.chmod(0)
    with pytest.raises(StoreFull, match="cannot be read"):
        SqlStore(path)
