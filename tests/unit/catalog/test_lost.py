"""A catalog that is emptied, replaced, cut off or locked under running servers is an outage, and never "not here".

Every application here is what a worker is: it has connections, threads and a view of its own, and shares the file. All
have a fallback, to which a project that is here must never be sent.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pypiserver
from pypiserver.catalog import Catalog, CatalogReplaced, schema
from pypiserver.catalog.sqlite.connections import Connections
from pypiserver.catalog.sqlite.file import is_memory_cut
from pypiserver.catalog.sqlite.places import catalog_identity, catalog_path, usable_place
from pypiserver.errors import CatalogUnavailable, ConfigError, Unavailable
from pypiserver.observability.download_statistics import Downloads
from tests.make_archives import make_wheel
from tests.raising import raises

from ..wsgi import Client

Put = Callable[..., Path]
HERE = ("foo", "bar")
FOO, FOO_BYTES = make_wheel("foo", "1.0")
SECONDS = 30.0
# What an older version, or a server of other folders, made of the file that it was given.
OTHER = """
    DROP TABLE IF EXISTS file; DROP TABLE IF EXISTS project; DROP TABLE IF EXISTS folder;
    UPDATE meta SET value = '4' WHERE name = 'schema'; DELETE FROM meta WHERE name = 'epoch';
"""


def files_of(catalog: Path) -> list[Path]:
    return [catalog.with_name(catalog.name + end) for end in ("", "-wal", "-shm")]


def delete(catalog: Path) -> None:
    catalog.unlink()


def delete_all(catalog: Path) -> None:
    for path in catalog.parent.glob(f"{catalog.name}*"):
        # Servers that see that the first is gone take away the others.
        path.unlink(missing_ok=True)


def delete_journal(catalog: Path) -> None:
    for path in files_of(catalog)[1:]:
        path.unlink()


def delete_shared_memory(catalog: Path) -> None:
    files_of(catalog)[2].unlink()


def cut_shared_memory(catalog: Path) -> None:
    """By a byte: behind a page that is gone, all who are in this process would end."""
    memory = files_of(catalog)[2]
    os.truncate(memory, memory.stat().st_size - 1)


def replace_by_copy(path: Path) -> None:
    other = path.with_name("other.sqlite")
    shutil.copy(path, other)
    other.replace(path)


def replace_journal(catalog: Path) -> None:
    replace_by_copy(files_of(catalog)[1])


def replace_shared_memory(catalog: Path) -> None:
    replace_by_copy(files_of(catalog)[2])


def replace_shared_memory_by_garbage(catalog: Path) -> None:
    other = catalog.with_name("other.sqlite")
    other.write_bytes(b"no memory " * 1000)
    other.replace(files_of(catalog)[2])


def empty_in_place(catalog: Path) -> None:
    with contextlib.closing(sqlite3.connect(catalog, timeout=20)) as connection, connection:
        connection.executescript(f"BEGIN IMMEDIATE; {OTHER} COMMIT;")


def forget_rows(catalog: Path) -> None:
    """As an older version does it: every table anew, with its own numbers, in one transaction."""
    with contextlib.closing(sqlite3.connect(catalog, timeout=20)) as connection, connection:
        connection.executescript(
            "BEGIN IMMEDIATE; DELETE FROM file; DELETE FROM project; DELETE FROM folder;"
            "UPDATE meta SET value = 'another' WHERE name = 'epoch'; COMMIT;"
        )


def replace_by_other_schema(catalog: Path) -> None:
    other = catalog.with_name("other.sqlite")
    with contextlib.closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        rows = [("schema", "4"), ("identity", "x"), ("search", "like")]
        connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
    other.replace(catalog)


def replace_by_empty_file(catalog: Path) -> None:
    other = catalog.with_name("other.sqlite")
    other.write_bytes(b"")
    other.replace(catalog)


def replace_by_garbage(catalog: Path) -> None:
    other = catalog.with_name("other.sqlite")
    other.write_bytes(b"no database " * 1000)
    other.replace(catalog)


def garbage_in_place(catalog: Path) -> None:
    with catalog.open("r+b") as file:
        file.write(b"no database " * (catalog.stat().st_size // 12))


def replace_and_put_back(catalog: Path) -> None:
    """Both have begun another one by then, whose journal is not that of the file that comes back."""
    away = catalog.with_name("away.sqlite")
    catalog.rename(away)
    time.sleep(1.5)
    away.replace(catalog)


def cut_off(catalog: Path) -> None:
    os.truncate(catalog, catalog.stat().st_size // 2)


def cut_to_nothing(catalog: Path) -> None:
    os.truncate(catalog, 0)


def cut_journal(catalog: Path) -> None:
    journal = files_of(catalog)[1]
    os.truncate(journal, journal.stat().st_size // 2)


def cut_journal_to_nothing(catalog: Path) -> None:
    os.truncate(files_of(catalog)[1], 0)


def replace_by_old_copy(catalog: Path) -> None:
    """A backup, made before the second project came."""
    catalog.with_name("backup.sqlite").replace(catalog)


FAULTS = (
    delete,
    delete_all,
    delete_journal,
    delete_shared_memory,
    cut_shared_memory,
    replace_journal,
    replace_shared_memory,
    replace_shared_memory_by_garbage,
    empty_in_place,
    forget_rows,
    replace_by_other_schema,
    replace_by_empty_file,
    replace_by_garbage,
    garbage_in_place,
    cut_off,
    cut_to_nothing,
    cut_journal,
    cut_journal_to_nothing,
    replace_and_put_back,
    replace_by_old_copy,
)


class Workers:
    """Applications over one folder with one catalog, and what they answered while a fault was made."""

    def __init__(self, root: Path, catalog: Path, count: int = 2) -> None:
        self.root = root
        self.applications = [
            pypiserver.app(roots=[root], catalog=catalog, password_file=".", authenticate=".") for _ in range(count)
        ]
        self.clients = [Client(application) for application in self.applications]
        self.wrong: list[str] = []
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(client,)) for client in self.clients]

    def start(self) -> None:
        """Ask all the time, once what is here is known."""
        until(lambda: all(client.get(f"/simple/{name}/").status == 200 for client in self.clients for name in HERE))
        for thread in self._threads:
            thread.start()

    def _ask(self, client: Client) -> None:
        while not self._ends.is_set():
            for name in HERE:
                self.note(client, f"/simple/{name}/")
            self.note(client, "/foo/json")
            self.note(client, f"/packages/{FOO}")
            index = client.get("/simple/", HTTP_ACCEPT="text/html")
            if index.status == 200 and not all(f">{name}<".encode() in index.body for name in HERE):
                self.wrong.append(f"the index misses a project: {index.body!r}")
            # The servers' own threads get their turn.
            self._ends.wait(0.005)

    def note(self, client: Client, path: str) -> None:
        answer = client.get(path)
        if answer.status not in (200, 503):
            self.wrong.append(f"{path}: {answer.status} {answer.headers.get('location')} {answer.body[:100]!r}")

    def close(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(60)
        for application in self.applications:
            application.close()  # type: ignore[attr-defined]


@pytest.fixture
def workers(put: Put, root: Path, tmp_path: Path) -> Iterator[Workers]:
    catalog = tmp_path / "state" / "catalog.sqlite"
    catalog.parent.mkdir()
    put(FOO, FOO_BYTES)
    # A copy from before the second project came, for a fault.
    first = Client(pypiserver.app(roots=[root], catalog=catalog, password_file=".", authenticate="."))
    assert first.get("/simple/foo/").status == 200
    first._application.close()  # type: ignore[attr-defined]
    shutil.copy(catalog, catalog.with_name("backup.sqlite"))
    put(*make_wheel("bar", "1.0"))
    running = Workers(root, catalog)
    try:
        running.start()
        yield running
    finally:
        running.close()


def until(question: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not question():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


@pytest.mark.live
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_here_is_sent_nowhere_while_its_catalog_is_lost(
    workers: Workers, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    fault(tmp_path / "state" / "catalog.sqlite")
    # An upload that one acknowledges is known to the other at once, or nobody knows.
    for number, (ours, theirs) in enumerate([workers.clients, workers.clients[::-1]] * 2):
        name, data = make_wheel(f"new-{number}", "1.0")
        until(lambda name=name, data=data, ours=ours: ours.upload(name, data).status == 200)  # type: ignore[misc]
        for _ in range(20):
            workers.note(theirs, f"/simple/new-{number}/")
            workers.note(theirs, f"/packages/{name}")
    for client in workers.clients:
        for name in (*HERE, "new-0", "new-3"):
            until(lambda client=client, name=name: client.get(f"/simple/{name}/").status == 200)  # type: ignore[misc]
        # What is not here is still looked for elsewhere, once that is certain.
        until(lambda client=client: client.get("/simple/nowhere/").status == 302)  # type: ignore[misc]
    assert workers.wrong == []


@pytest.mark.live
def test_a_catalog_that_became_another_in_place_is_replaced_so_that_new_workers_can_open_it(
    workers: Workers, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "catalog.sqlite", timeout=20)) as other, other:
        other.execute("UPDATE meta SET value = '0' WHERE name = 'schema'")
    for application in workers.applications:
        application.backend.indexer._next_scan = 0.0  # type: ignore[attr-defined]
    newer = Workers(workers.root, tmp_path / "state" / "catalog.sqlite", count=1)
    try:
        until(lambda: all(newer.clients[0].get(f"/simple/{name}/").status == 200 for name in HERE))
    finally:
        newer.applications[0].close()  # type: ignore[attr-defined]
    assert workers.wrong == []


@pytest.mark.live
def test_a_scan_that_began_in_another_catalog_says_nothing_of_this_one(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request met the failure, and put a new file in its place, while the scan went on."""
    watch = workers.applications[0].backend.indexer  # type: ignore[attr-defined]
    other = workers.applications[1].backend.indexer  # type: ignore[attr-defined]
    if not watch._lock.is_held():
        watch, other = other, watch
    connections, replaced = watch.catalog.connections, threading.Event()
    walk = watch.sync.folders.walk

    def walk_later(*args: object, **more: object) -> Iterator[object]:
        if not replaced.is_set():
            (tmp_path / "state" / "catalog.sqlite").unlink()
            once = threading.Thread(target=watch.recover, args=(CatalogReplaced(""), connections.generation))
            once.start()
            once.join()
            replaced.set()
        return walk(*args, **more)  # type: ignore[no-any-return]

    monkeypatch.setattr(watch.sync.folders, "walk", walk_later)
    watch._next_scan = 0.0
    assert replaced.wait(SECONDS)
    for client in workers.clients:
        for name in HERE:
            until(lambda client=client, name=name: client.get(f"/simple/{name}/").status == 200)  # type: ignore[misc]
    assert workers.wrong == []


@pytest.mark.live
def test_a_backup_in_the_catalogs_place_goes_back_to_no_serial(workers: Workers, tmp_path: Path) -> None:
    before = max(application.repository.serial() for application in workers.applications)  # type: ignore[attr-defined]
    replace_by_old_copy(tmp_path / "state" / "catalog.sqlite")
    for application, client in zip(workers.applications, workers.clients, strict=True):
        connections = application.backend.catalog.connections  # type: ignore[attr-defined]
        until(lambda connections=connections: connections.generation > 0)  # type: ignore[misc]
        until(lambda client=client: client.get("/simple/bar/").status == 200)  # type: ignore[misc]
        assert application.repository.serial() > before  # type: ignore[attr-defined]
    assert workers.wrong == []


@pytest.mark.live
def test_a_folder_of_the_catalog_that_goes_is_an_outage_until_it_is_back(workers: Workers, tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "state").rename(tmp_path / "away")
        until(lambda: all(client.get("/simple/foo/").status == 503 for client in workers.clients))
        (tmp_path / "away").rename(tmp_path / "state")
        until(lambda: all(client.get(f"/simple/{name}/").status == 200 for client in workers.clients for name in HERE))
    assert workers.wrong == []


@pytest.mark.live
def test_a_server_of_other_folders_leaves_a_catalog_in_use_alone(
    workers: Workers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for settings in ({"hash_algo": "md5", "roots": [workers.root]}, {"roots": [other]}):
        application = pypiserver.app(catalog=tmp_path / "state" / "catalog.sqlite", **settings)
        with pytest.raises(Unavailable, match="it is that of other folders, another --hash-algo"):
            application.survey()  # type: ignore[attr-defined]
        answer = Client(application)
        application.backend.indexer.start()  # type: ignore[attr-defined]
        until(lambda answer=answer: answer.get("/simple/").status == 503)  # type: ignore[misc]
        assert answer.get("/simple/foo/").status == 503
        application.close()  # type: ignore[attr-defined]
    for client in workers.clients:
        assert client.get("/simple/foo/").status == 200
    assert workers.wrong == []
    assert not [record for record in caplog.records if "damaged" in record.message]


def test_a_catalog_that_nobody_uses_makes_way_for_one_of_other_folders(tmp_path: Path, root: Path, put: Put) -> None:
    put(*make_wheel("foo", "1.0"))
    catalog = tmp_path / "catalog.sqlite"
    for settings in ({"hash_algo": "md5"}, {"hash_algo": "sha512"}):
        application = pypiserver.app(roots=[root], catalog=catalog, **settings)
        assert Client(application).get("/simple/foo/").status == 200
        application.close()  # type: ignore[attr-defined]


def test_what_is_no_catalog_at_all_is_kept_beside(tmp_path: Path) -> None:
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
        connection.execute(schema.NEXT_SERIAL)
        in_thread(go_on)
    with connections.transaction() as connection:
        connection.execute(schema.NEXT_SERIAL)


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


def test_shared_memory_that_others_have_mapped_is_not_cut_by_opening_the_file_beside_it(tmp_path: Path) -> None:
    """SQLite cuts what it finds beside a file that it opens first, and who has that mapped ends by SIGBUS."""
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
    """Its end is zeros once somebody gives it its length again: rows in the journal are not found then."""
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


@pytest.mark.live
def test_a_locked_catalog_refuses_an_upload_and_keeps_nothing_of_it(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, catalog = workers.clients[0], tmp_path / "state" / "catalog.sqlite"
    name, data = make_wheel("late", "1.0")
    backend = workers.applications[0].backend  # type: ignore[attr-defined]

    def locked() -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(backend.catalog, "refuse_unwritable", locked)
    with pytest.raises(CatalogUnavailable):
        backend.queries.query(backend.catalog.refuse_unwritable)
    assert client.upload(name, data).status == 503
    assert not (workers.root / name).exists()
    monkeypatch.undo()
    assert client.upload(name, data).status == 200
    assert catalog.exists() and workers.wrong == []


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
    """After a lock of some seconds nothing was compared for as long, and nobody asks the catalog then."""
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


@pytest.mark.live
def test_an_upload_whose_row_cannot_be_written_is_taken_back(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    client, backend = workers.clients[0], workers.applications[0].backend  # type: ignore[attr-defined]
    name, data = make_wheel("late", "1.0")

    def full(found: object, digest: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(backend.catalog, "add", full)
    assert client.upload(name, data).status == 503
    assert not (workers.root / name).exists()
    monkeypatch.undo()
    assert client.upload(name, data).status == 200
    assert client.get("/simple/late/").status == 200
    assert workers.wrong == []


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


@pytest.mark.live
def test_an_old_version_in_another_process_harms_nothing(workers: Workers, tmp_path: Path) -> None:
    """What the versions before did with a file of another schema: they dropped every table in place."""
    script = f"import sqlite3; c = sqlite3.connect({str(tmp_path / 'state' / 'catalog.sqlite')!r}, timeout=20)\n"
    script += f"c.executescript('BEGIN IMMEDIATE;' + {OTHER!r} + 'COMMIT;')"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    until(lambda: all(client.get(f"/simple/{name}/").status == 200 for client in workers.clients for name in HERE))
    assert workers.wrong == []
