"""A catalog that is cut, replaced, emptied or locked while processes have it open."""

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
from pypiserver.catalog import CatalogReplaced
from pypiserver.errors import CatalogUnavailable, Unavailable
from tests.make_archives import make_wheel
from tests.unit.catalog.test_lost import (
    FOO,
    FOO_BYTES,
    SECONDS,
    Put,
    cut_shared_memory,
    files_of,
    replace_by_other_schema,
    until,
)
from tests.unit.wsgi import Client

pytestmark = pytest.mark.live
HERE = ("foo", "bar")
# What an older version, or a server of other folders, made of the file that it was given.
OTHER = """
    DROP TABLE IF EXISTS file; DROP TABLE IF EXISTS project; DROP TABLE IF EXISTS folder;
    UPDATE meta SET value = '4' WHERE name = 'schema'; DELETE FROM meta WHERE name = 'epoch';
"""


def delete(catalog: Path) -> None:
    catalog.unlink()


def delete_all(catalog: Path) -> None:
    for path in catalog.parent.glob(f"{catalog.name}*"):
        # Servers that see that the first is gone delete the others.
        path.unlink(missing_ok=True)


def delete_journal(catalog: Path) -> None:
    for path in files_of(catalog)[1:]:
        # As in delete_all: the journal is the first here.
        path.unlink(missing_ok=True)


def delete_shared_memory(catalog: Path) -> None:
    files_of(catalog)[2].unlink()


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
    """As an older version does it: every table again, with its own numbers, in one transaction."""
    with contextlib.closing(sqlite3.connect(catalog, timeout=20)) as connection, connection:
        connection.executescript(
            "BEGIN IMMEDIATE; DELETE FROM file; DELETE FROM project; DELETE FROM folder;"
            "UPDATE meta SET value = 'another' WHERE name = 'epoch'; COMMIT;"
        )


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


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_here_is_sent_nowhere_while_its_catalog_is_lost(
    workers: Workers, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    fault(tmp_path / "state" / "catalog.sqlite")
    # An upload that one acknowledges is known to the other at once, or no one knows.
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


def test_a_scan_that_began_in_another_catalog_says_nothing_of_this_one(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request met the failure, and put a new file in its place, while the scan continued."""
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


def test_a_backup_in_the_catalogs_place_goes_back_to_no_serial(workers: Workers, tmp_path: Path) -> None:
    before = max(application.repository.serial() for application in workers.applications)  # type: ignore[attr-defined]
    replace_by_old_copy(tmp_path / "state" / "catalog.sqlite")
    for application, client in zip(workers.applications, workers.clients, strict=True):
        connections = application.backend.catalog.connections  # type: ignore[attr-defined]
        until(lambda connections=connections: connections.generation > 0)  # type: ignore[misc]
        until(lambda client=client: client.get("/simple/bar/").status == 200)  # type: ignore[misc]
        assert application.repository.serial() > before  # type: ignore[attr-defined]
    assert workers.wrong == []


def test_a_folder_of_the_catalog_that_goes_is_an_outage_until_it_is_back(workers: Workers, tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "state").rename(tmp_path / "away")
        until(lambda: all(client.get("/simple/foo/").status == 503 for client in workers.clients))
        (tmp_path / "away").rename(tmp_path / "state")
        until(lambda: all(client.get(f"/simple/{name}/").status == 200 for client in workers.clients for name in HERE))
    assert workers.wrong == []


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


def test_an_old_version_in_another_process_harms_nothing(workers: Workers, tmp_path: Path) -> None:
    """What the versions before did with a file of another schema: they dropped every table in place."""
    script = f"import sqlite3; c = sqlite3.connect({str(tmp_path / 'state' / 'catalog.sqlite')!r}, timeout=20)\n"
    script += f"c.executescript('BEGIN IMMEDIATE;' + {OTHER!r} + 'COMMIT;')"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    until(lambda: all(client.get(f"/simple/{name}/").status == 200 for client in workers.clients for name in HERE))
    assert workers.wrong == []
