"""A catalog that is emptied, replaced, cut off or locked under running servers is an outage, and never "not here".

Every application here is what a worker is: it has connections, threads and a view of its own, and shares the file. All
have a fallback, to which a project that is here must never be sent.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import pypiserver
from pypiserver.catalog import Catalog, CatalogReplaced, schema
from pypiserver.catalog import statements as sql
from pypiserver.catalog.sqlite.connections import Connections
from pypiserver.catalog.sqlite.file import is_memory_cut
from pypiserver.catalog.sqlite.places import catalog_identity, catalog_path, usable_place
from pypiserver.errors import CatalogUnavailable, ConfigError
from pypiserver.observability.download_statistics import Downloads
from tests.make_archives import make_wheel
from tests.raising import raises

from ..wsgi import Client

Put = Callable[..., Path]
FOO, FOO_BYTES = make_wheel("foo", "1.0")
SECONDS = 30.0


def files_of(catalog: Path) -> list[Path]:
    return [catalog.with_name(catalog.name + end) for end in ("", "-wal", "-shm")]


def cut_shared_memory(catalog: Path) -> None:
    """By a byte: behind a page that is gone, all who are in this process would end."""
    memory = files_of(catalog)[2]
    os.truncate(memory, memory.stat().st_size - 1)


def replace_by_other_schema(catalog: Path) -> None:
    other = catalog.with_name("other.sqlite")
    with contextlib.closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        rows = [("schema", "4"), ("identity", "x"), ("search", "like")]
        connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
    other.replace(catalog)


def until(question: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not question():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


def test_a_catalog_that_no_one_uses_makes_way_for_one_of_other_folders(tmp_path: Path, root: Path, put: Put) -> None:
    put(*make_wheel("foo", "1.0"))
    catalog = tmp_path / "catalog.sqlite"
    for settings in ({"hash_algo": "md5"}, {"hash_algo": "sha512"}):
        application = pypiserver.app(roots=[root], catalog=catalog, **settings)
        assert Client(application).get("/simple/foo/").status == 200
        application.close()  # type: ignore[attr-defined]


def test_what_is_no_catalog_at_all_is_kept_under_another_name(tmp_path: Path) -> None:
    place = tmp_path / "notes.sqlite"
    with contextlib.closing(sqlite3.connect(place)) as connection, connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
        connection.execute("INSERT INTO notes VALUES ('precious')")
    assert Catalog(place, "roots").counts() == (0, 0)
    with contextlib.closing(sqlite3.connect(tmp_path / "notes.sqlite.damaged")) as connection:
        assert connection.execute("SELECT text FROM notes").fetchall() == [("precious",)]


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_write_to_a_file_that_lost_its_name_fails_though_the_next_one_is_open(tmp_path: Path) -> None:
    place = tmp_path / "catalog.sqlite"
    connections = Catalog(place, "roots").connections
    connections.reading().__enter__()

    def go_on() -> None:
        place.rename(tmp_path / "away.sqlite")
        connections.renew()
        connections.reading().__enter__()

    with pytest.raises(CatalogReplaced), connections.transaction() as connection:
        connection.execute(sql.NEXT_SERIAL)
        in_thread(go_on)
    with connections.transaction() as connection:
        connection.execute(sql.NEXT_SERIAL)


def test_a_connection_that_was_opened_late_belongs_to_its_own_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "catalog.sqlite"
    catalog = Catalog(place, "roots")
    catalog.serial()
    connections, opened = catalog.connections, catalog.connections._open_prepared  # type: ignore[union-attr]

    def slowly() -> object:
        answer = opened()
        monkeypatch.undo()
        place.rename(tmp_path / "away.sqlite")
        in_thread(connections.renew)
        return answer

    monkeypatch.setattr(connections, "_open_prepared", slowly)
    in_thread(catalog.serial)
    with connections.pinned(connections.generation):
        catalog.refuse_unwritable()
    assert place.exists()


def test_shared_memory_that_others_have_mapped_is_not_cut_by_opening_the_file_next_to_it(tmp_path: Path) -> None:
    """SQLite cuts what it finds next to a file that it opens first, and who has that mapped ends by SIGBUS."""
    place, memory = tmp_path / "catalog.sqlite", tmp_path / "catalog.sqlite-shm"
    first = Catalog(place, "roots")
    first.serial()
    first.close()
    place.rename(tmp_path / "away.sqlite")
    catalog = Catalog(place, "roots")
    catalog.serial()
    before = (memory.stat().st_ino, memory.read_bytes())
    (tmp_path / "away.sqlite").replace(place)
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            catalog.states()
        except CatalogReplaced as error:
            failures.append(error)

    in_thread(ask)
    assert failures and (memory.stat().st_ino, memory.read_bytes()) == before
    # Nor when the next catalog is opened.
    catalog.connections._inodes, inodes = (), catalog.connections._inodes  # type: ignore[union-attr]
    catalog.connections.renew()
    catalog.connections._inodes = inodes  # type: ignore[union-attr]
    mapped = memory.open("rb")
    in_thread(catalog.serial)
    with mapped:
        assert mapped.read() == before[1]


def test_shared_memory_that_was_cut_off_makes_the_catalog_a_lost_one(tmp_path: Path) -> None:
    """Its end is zeros once someone gives it its length again: rows in the journal are not found then."""
    catalog = Catalog(tmp_path / "catalog.sqlite", "roots")
    catalog.refuse_unwritable()
    catalog.files_of("foo")
    cut_shared_memory(tmp_path / "catalog.sqlite")
    for ask in (catalog.token, catalog.refuse_unwritable, lambda: catalog.files_of("foo"), catalog.refuse_incomplete):
        with pytest.raises(CatalogReplaced):
            ask()
    assert catalog.connections.is_lost(CatalogReplaced(""))


def test_who_opens_a_catalog_with_shared_memory_that_was_cut_off_begins_another_one(tmp_path: Path) -> None:
    place = tmp_path / "catalog.sqlite"
    catalog = Catalog(place, "roots")
    catalog.refuse_unwritable()
    before = catalog.token()
    cut_shared_memory(place)
    assert Catalog(place, "roots").token() != before


def test_shared_memory_is_cut_off_where_rows_need_it_and_it_is_no_length_of_sqlites(tmp_path: Path) -> None:
    journal, memory = tmp_path / "journal", tmp_path / "memory"
    journal.write_bytes(b"rows")

    def is_cut(size: int) -> bool:
        memory.write_bytes(b"\0" * size)
        return is_memory_cut(str(journal), str(memory))

    # The first process leaves nothing, or three bytes, before it makes the first block.
    assert [size for size in (0, 3, 10_923, 32_767, 32_768, 49_152, 65_536) if is_cut(size)] == [10_923, 32_767, 49_152]
    journal.write_bytes(b"")
    assert not is_cut(4096)
    memory.unlink()
    assert not is_memory_cut(str(journal), str(memory))


def test_a_catalog_whose_serial_goes_back_is_lost(tmp_path: Path) -> None:
    """A copy was written over it, or its journal was, in place; or shared memory leads to rows of the past."""
    place = tmp_path / "catalog.sqlite"
    catalog = Catalog(place, "roots")
    before = catalog.serial()
    with contextlib.closing(sqlite3.connect(place)) as other, other:
        other.execute("UPDATE serial SET value = value - 1")
    with pytest.raises(CatalogReplaced):
        catalog.token()
    catalog.connections.recover(CatalogReplaced(""))
    assert catalog.serial() > before


def test_who_is_pinned_to_a_catalog_asks_no_other(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite", "roots")
    connections = catalog.connections
    with pytest.raises(CatalogReplaced), connections.pinned(connections.generation):
        token = catalog.token()
        (tmp_path / "catalog.sqlite").unlink()
        in_thread(connections.renew)
        catalog.states()
    assert catalog.token() != token
    with pytest.raises(CatalogReplaced), connections.pinned(connections.generation - 1):
        pass


def test_a_write_to_a_file_that_lost_its_name_fails(tmp_path: Path) -> None:
    place = tmp_path / "catalog.sqlite"
    catalog = Catalog(place, "roots")
    catalog.refuse_unwritable()
    place.rename(tmp_path / "away.sqlite")
    with pytest.raises(CatalogReplaced):
        catalog.refuse_unwritable()


@pytest.mark.parametrize("words", ["database or disk is full", "database is locked", "disk I/O error", "readonly"])
def test_what_passes_is_waited_for_and_replaces_nothing(tmp_path: Path, words: str) -> None:
    connections = Catalog(tmp_path / "catalog.sqlite", "roots").connections
    assert isinstance(connections, Connections)
    connections.get()
    assert not connections.is_lost(sqlite3.OperationalError(words))
    assert (connections.place(), connections.generation) == (str(tmp_path / "catalog.sqlite"), 0)


def test_an_io_error_that_lasts_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = Catalog(tmp_path / "catalog.sqlite", "roots").connections
    connections.reading().__enter__()
    error, now = sqlite3.OperationalError("disk I/O error"), [100.0]
    monkeypatch.setattr("pypiserver.catalog.sqlite.connections.time.monotonic", lambda: now[0])
    assert not connections.is_lost(error)
    now[0] += 60  # another one, long after it
    assert not connections.is_lost(error)
    for _ in range(3):
        now[0] += 1
        last = connections.is_lost(error)
    assert last


@pytest.mark.parametrize("path", ["/simple/foo/", "/pypi/foo/json", "/project/foo/"])
def test_no_page_from_before_an_upload_bridges_a_lock(put: Put, root: Path, tmp_path: Path, path: str) -> None:
    """A page may need a file digested, and that written down; what was shown last is then known to be of the past."""
    put(FOO, FOO_BYTES)
    place = tmp_path / "catalog.sqlite"
    application = pypiserver.app(roots=[root], catalog=place, password_file=".", authenticate=".")
    client, (name, data) = Client(application), make_wheel("foo", "2.0")
    with contextlib.closing(application):
        assert client.get(path).status == 200 and client.upload(name, data).status == 200
        ours = application.backend.catalog.connections.get()  # type: ignore[attr-defined]
        (patience,) = ours.execute("PRAGMA busy_timeout").fetchone()
        ours.execute("PRAGMA busy_timeout = 0")
        with contextlib.closing(sqlite3.connect(place, isolation_level=None)) as other:
            other.execute("UPDATE file SET sha256 = '' WHERE filename = ?", (name,))
            other.execute("BEGIN IMMEDIATE")
            assert client.get(path).status == 503
            other.execute("ROLLBACK")
        # The background thread that digests the file may write at that moment: it is waited for.
        ours.execute(f"PRAGMA busy_timeout = {patience}")
        answer = client.get(path)
        assert (answer.status, b"2.0" in answer.body) == (200, True)


@pytest.mark.parametrize("path", ["/simple/foo/", "/simple/", "/pypi/foo/json", "/project/foo/"])
def test_no_page_from_before_an_upload_is_shown_where_no_round_succeeds(
    put: Put, root: Path, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a lock of some seconds nothing was compared for as long, and no one asks the catalog then."""
    put(FOO, FOO_BYTES)
    application = pypiserver.app(
        roots=[root], catalog=tmp_path / "catalog.sqlite", password_file=".", authenticate=".", fallback=False
    )
    client = Client(application)

    def refuse() -> None:
        raise CatalogUnavailable("The catalog fails.")

    def shown() -> int:
        """The status where nothing can be brought up to date."""
        with monkeypatch.context() as patch:
            patch.setattr(application.backend.indexer, "ensure_current", refuse)  # type: ignore[attr-defined]
            return client.get(path).status

    with contextlib.closing(application):
        # What is read in the background makes the pages others.
        until(lambda: (client.get(path).status, shown()) == (200, 200))
        assert client.upload(*make_wheel("foo", "2.0")).status == 200
        assert shown() == 503
        until(lambda: (client.get(path).status, shown()) == (200, 200))


def test_a_catalog_that_is_named_and_cannot_be_made_is_a_mistake(tmp_path: Path) -> None:
    assert usable_place(tmp_path / "catalog.sqlite") == tmp_path / "catalog.sqlite"
    (tmp_path / "file").write_bytes(b"")
    for place in (
        tmp_path / "no" / "catalog.sqlite",
        tmp_path / "file" / "catalog.sqlite",
        tmp_path,
        tmp_path / ("long" * 100),
        Path("/proc/no/such/catalog.sqlite"),
    ):
        with raises(ConfigError, kind="unusable", setting="catalog", value=place):
            usable_place(place)
    assert usable_place("postgresql://db/pypi") == "postgresql://db/pypi"
    assert usable_place(None) is None


def database(place: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(place)) as connection, connection:
        for statement in ("PRAGMA journal_mode = WAL", *statements):
            connection.execute(statement)


@pytest.mark.parametrize(
    "make",
    [
        lambda place: place.write_bytes(b"ada:$2y$05$secret\n"),
        lambda place: place.write_bytes(FOO_BYTES),
        lambda place: database(place, "CREATE TABLE notes (text TEXT)"),
        lambda place: database(place, "CREATE TABLE meta (name TEXT, value TEXT)"),
        lambda place: database(place, "CREATE TABLE meta (id TEXT)"),
        lambda place: Downloads(place).check(),
    ],
    ids=["passwords", "wheel", "database", "meta without rows", "another meta", "statistics"],
)
def test_a_file_that_was_never_a_catalog_is_refused_and_stays(make: Callable[[Path], object], tmp_path: Path) -> None:
    place = tmp_path / "precious"
    make(place)
    # What the program that made a file may have left next to it.
    (tmp_path / "precious.lock").touch()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with raises(ConfigError, kind="foreign", setting="catalog", value=place):
        usable_place(place)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 1000, b"SQLite format 3\0" * 1000])
def test_a_catalog_that_was_damaged_is_still_one(damage: bytes, tmp_path: Path) -> None:
    place = tmp_path / "catalog.sqlite"
    catalog = Catalog(place, "roots")
    catalog.serial()
    catalog.close()
    place.write_bytes(damage)
    assert usable_place(place) == place
    assert Catalog(place, "roots").counts() == (0, 0)


def test_a_catalog_is_known_by_its_tables_and_an_empty_file_may_become_one(tmp_path: Path) -> None:
    place, copy, older, empty = (tmp_path / name for name in ("catalog.sqlite", "copy", "older", "empty"))
    catalog = Catalog(place, "roots")
    catalog.serial()
    catalog.close()
    shutil.copy(place, copy)
    older.touch()
    replace_by_other_schema(older)
    empty.touch()
    assert [usable_place(each) for each in (copy, older, empty)] == [copy, older, empty]
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("catalog")) == [
        "copy", "empty", "older",
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_file_that_cannot_be_written_is_a_mistake_of_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "catalog.sqlite"
    place.write_bytes(b"")
    # root may write anything, so that modes alone show nothing.
    monkeypatch.setattr("pypiserver.catalog.sqlite.places._may", lambda path, mode: Path(path) != place)
    with raises(ConfigError, kind="unusable", setting="catalog", value=place):
        usable_place(place)


def test_each_version_has_a_default_catalog_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    identity = catalog_identity([tmp_path], None)
    ours = catalog_path(identity)
    monkeypatch.setattr("pypiserver.catalog.sqlite.places.SCHEMA_VERSION", schema.SCHEMA_VERSION + "1")
    assert catalog_path(identity) != ours
