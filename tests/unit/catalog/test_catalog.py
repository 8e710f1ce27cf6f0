"""The catalog: what is written is read back, by every thread, and never for a file that changed meanwhile."""

from __future__ import annotations

import sqlite3
import sys
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pypiserver.catalog import (
    FAILURES,
    Catalog,
    CatalogIncomplete,
    CatalogReplaced,
    Digest,
    Fingerprint,
    MissingFile,
    SeenFile,
)
from pypiserver.catalog.sqlite.change_counter import ChangeCounter
from pypiserver.distributions.core_metadata import packed, parse_metadata
from pypiserver.distributions.filename import parse_filename
from pypiserver.model import ProjectStatus

from ..catalogs import PLACES, place


def found(
    path: str, *, root: int = 0, size: int | None = 10, mtime_ns: int = 1, inode: int = 5, **facts: object
) -> SeenFile:
    dist = parse_filename(path.rpartition("/")[2])
    return SeenFile(root, path, Fingerprint(size, mtime_ns, inode, ""), dist, **facts)  # type: ignore[arg-type]


@pytest.fixture(params=PLACES)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(place(request.param, request, tmp_path), "roots")
    yield catalog
    catalog.connections.close()


def paths(catalog: Catalog, project: str) -> list[str]:
    return sorted(file.path for file in catalog.files_of(project))


def test_constructing_opens_nothing(tmp_path: Path) -> None:
    Catalog(tmp_path / "catalog.sqlite", "roots")
    assert list(tmp_path.iterdir()) == []


def test_applied_files_are_found_by_project_and_by_name(catalog: Catalog) -> None:
    catalog.apply([found("sub/foo-1.0.tar.gz"), found("Bar-2.0.zip")])
    with pytest.raises(CatalogIncomplete):
        # There may be more projects than were found yet.
        catalog.projects()
    catalog.note_folders([(0, "", 1, 1)])
    assert [each[:2] for each in catalog.projects()] == [("bar", "Bar"), ("foo", "foo")]
    assert paths(catalog, "foo") == ["sub/foo-1.0.tar.gz"]
    file = catalog.file("Bar-2.0.zip")
    assert file is not None and (file.path, file.version, file.sha256) == ("Bar-2.0.zip", "2.0", "")
    assert catalog.counts() == (2, 2)


def test_every_change_raises_the_serial_and_stamps_only_its_projects(catalog: Catalog) -> None:
    catalog.apply([found("foo-1.0.zip"), found("bar-1.0.zip")])
    before, bar = catalog.serial(), catalog.project_state("bar")[0]
    catalog.apply([found("foo-1.1.zip")])
    assert catalog.serial() == before + 1
    assert catalog.project_state("foo")[0] == before + 1
    assert catalog.project_state("bar")[0] == bar


def test_a_write_of_another_thread_is_seen(catalog: Catalog) -> None:
    before = catalog.serial()
    thread = threading.Thread(target=lambda: catalog.apply([found("foo-1.0.zip")]))
    thread.start()
    thread.join()
    assert catalog.serial() == before + 1


def test_the_first_root_wins_and_the_next_one_takes_over(catalog: Catalog) -> None:
    catalog.apply([found("foo-1.0.zip", root=1), found("z/foo-1.0.zip"), found("a/foo-1.0.zip")])
    assert paths(catalog, "foo") == ["a/foo-1.0.zip"]
    assert [(root, path) for root, path, _ in catalog.shadowed()] == [(0, "z/foo-1.0.zip"), (1, "foo-1.0.zip")]
    catalog.apply(
        [],
        [
            MissingFile(0, "a/foo-1.0.zip", Fingerprint(10, 1, 5, "")),
            MissingFile(0, "z/foo-1.0.zip", Fingerprint(10, 1, 5, "")),
        ],
    )
    assert [(file.root, file.path) for file in catalog.files_of("foo")] == [(1, "foo-1.0.zip")]


def test_a_faulty_file_lets_the_next_one_be_listed(catalog: Catalog) -> None:
    catalog.apply([found("a/foo-1.0.zip"), found("b/foo-1.0.zip")])
    (first,) = catalog.files_of("foo")
    catalog.record([(first, Digest("", fault="it cannot be read (I/O error)"))])
    assert paths(catalog, "foo") == ["b/foo-1.0.zip"]
    catalog.retry_unreadable()
    assert paths(catalog, "foo") == ["a/foo-1.0.zip"]


def test_a_digest_is_recorded_only_for_the_file_that_was_read(catalog: Catalog) -> None:
    catalog.apply([found("foo-1.0.zip", inode=5)])
    (read,) = catalog.files_of("foo")
    catalog.apply([found("foo-1.0.zip", inode=6)])
    catalog.record([(read, Digest("ab" * 32))])
    assert catalog.files_of("foo")[0].sha256 == ""
    catalog.record([(catalog.files_of("foo")[0], Digest("cd" * 32, metadata=b"Name: foo\n"))])
    (file,) = catalog.files_of("foo")
    assert file.sha256 == "cd" * 32
    assert catalog.metadata(file) == b"Name: foo\n"
    assert catalog.pending(10) == []


def test_what_metadata_says_is_kept_as_it_was_parsed_and_parsed_again_where_it_was_not(catalog: Catalog) -> None:
    raw = b"Name: foo\nSummary: A foo\nRequires-Dist: bar[x]>=1; extra == 'y'\n\n# Foo\n"
    old_raw = b"Name: foo\nDescription: It\n       |is foo\nRequires-Python: nonsense\n\n"
    core, old = parse_metadata(raw), parse_metadata(old_raw)
    catalog.apply([found("foo-1.0.zip"), found("foo-2.0.zip"), found("foo-3.0.zip")])
    one, two, three = sorted(catalog.files_of("foo"), key=lambda file: file.version)
    catalog.record([(one, Digest("ab" * 32, metadata=raw, core=packed(core))), (two, Digest("cd" * 32, metadata=raw))])
    catalog.record([(three, Digest("ef" * 32, metadata=old_raw, core=packed(old)))])
    one, two, three = sorted(catalog.files_of("foo"), key=lambda file: file.version)
    assert catalog.core_metadata(one) == catalog.core_metadata(two) == core
    kept, first = catalog.core_metadata(three), catalog.core_metadata(one)
    assert kept is not None and (kept.description, kept.requires_python) == ("It\nis foo", None)
    assert first is not None and [(each.project, each.extra) for each in first.requirements] == [("bar", "y")]
    # A server of the version before puts another file there: what was parsed is not that file's.
    with catalog.connections.transaction() as connection:
        connection.execute("UPDATE metadata SET body = :body", {"body": zlib.compress(b"Name: foo\nSummary: New\n")})
    new = catalog.core_metadata(replace(one, sha256="00" * 32))
    assert new is not None and new.summary == "New"


def test_a_changed_file_loses_its_digest_and_a_changed_sidecar_does_not(catalog: Catalog) -> None:
    catalog.apply([found("foo-1.0.zip")])
    catalog.record([(catalog.files_of("foo")[0], Digest("ab" * 32))])
    catalog.apply([found("foo-1.0.zip", yanked="broken")])
    assert (catalog.files_of("foo")[0].sha256, catalog.files_of("foo")[0].yanked) == ("ab" * 32, "broken")
    catalog.apply([found("foo-1.0.zip", size=11)])
    assert catalog.files_of("foo")[0].sha256 == ""


def test_a_row_that_was_replaced_after_the_snapshot_is_not_deleted(catalog: Catalog) -> None:
    catalog.apply([found("foo-1.0.zip", inode=6)])
    catalog.apply([], [MissingFile(0, "foo-1.0.zip", Fingerprint(10, 1, 5, ""))])
    assert paths(catalog, "foo") == ["foo-1.0.zip"]


def test_a_status_is_kept_and_taken_back(catalog: Catalog) -> None:
    catalog.apply([], statuses={"foo": ProjectStatus("archived", "use bar")})
    assert catalog.project_state("foo")[1] == ProjectStatus("archived", "use bar")
    catalog.apply([], statuses={"foo": ProjectStatus("active")})
    assert catalog.statuses() == {}


def test_a_catalog_of_another_identity_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    Catalog(path, "one").apply([found("foo-1.0.zip")])
    assert Catalog(path, "one").counts() == (1, 1)
    assert Catalog(path, "two").counts() == (0, 0)


def test_a_damaged_file_is_built_again(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    assert Catalog(path, "roots").counts() == (0, 0)


@pytest.mark.live
def test_many_may_make_a_catalog_at_the_same_time(tmp_path: Path) -> None:
    failures: list[sqlite3.Error] = []
    for number in range(20):
        path = tmp_path / f"{number}.sqlite"
        begin = threading.Barrier(6)

        def count(path: Path = path, begin: threading.Barrier = begin) -> None:
            catalog = Catalog(path, "roots")
            begin.wait()
            try:
                catalog.counts()
            except sqlite3.Error as error:
                failures.append(error)

        threads = [threading.Thread(target=count) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_catalog_made_anew_at_once_starts_above_the_one_before(tmp_path: Path) -> None:
    serials = []
    for number in range(5):
        catalog = Catalog(tmp_path / f"{number}.sqlite", "roots")
        catalog.apply([found("foo-1.0.zip")])
        serials.append(catalog.serial())
        catalog.connections.close()
    # A page cached under one of them must not be taken for a page of the next catalog.
    assert sorted(set(serials)) == serials


def test_a_deleted_file_is_noticed(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite", "roots")
    catalog.apply([found("foo-1.0.zip")])
    assert not catalog.connections.is_deleted()
    (tmp_path / "catalog.sqlite").unlink()
    assert catalog.connections.is_deleted()


def test_a_thread_that_opens_a_deleted_file_goes_on_with_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    catalog = Catalog(path, "roots")
    catalog.apply([found("foo-1.0.zip")])
    for part in tmp_path.iterdir():
        part.unlink()
    with ThreadPoolExecutor(1) as pool:
        # It had no connection yet, and must not make a file where there is none.
        error = pool.submit(catalog.counts).exception()
        assert isinstance(error, CatalogReplaced)
        assert catalog.connections.is_lost(error)
        catalog.connections.recover(error)
        assert (catalog.connections.place(), pool.submit(catalog.counts).result()) == (str(path), (0, 0))
    assert catalog.counts() == (0, 0)


def test_a_failed_write_changes_nothing(catalog: Catalog) -> None:
    catalog.apply([found("foo-1.0.zip")])
    serial = catalog.serial()
    with pytest.raises(FAILURES):
        catalog.apply([found("bar-1.0.zip"), found("baz-1.0.zip", size=None)])
    assert (catalog.serial(), catalog.counts()) == (serial, (1, 1))


def test_a_write_of_another_process_is_seen_at_once(tmp_path: Path) -> None:
    ours, theirs = (Catalog(tmp_path / "catalog.sqlite", "roots") for _ in range(2))
    before = ours.serial()
    theirs.apply([found("foo-1.0.zip")])
    assert ours.serial() == before + 1


def test_a_write_nobody_told_of_is_seen_after_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.catalog.queries.SIGNAL_SECONDS", 0.0)
    catalog = Catalog(tmp_path / "catalog.sqlite", "roots")
    before = catalog.serial()
    with sqlite3.connect(tmp_path / "catalog.sqlite") as killed:
        killed.execute("UPDATE serial SET value = value + 1")
    killed.close()
    assert catalog.serial() == before + 1


def test_an_unchanged_catalog_is_not_asked(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite", "roots")
    catalog.apply([found("foo-1.0.zip")])
    asked: list[str] = []
    catalog.connections.get().set_trace_callback(asked.append)
    catalog.serial()
    catalog._seen = catalog._seen and catalog._seen._replace(until=float("inf"))
    assert catalog.serial() == catalog.serial()
    assert len(asked) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
def test_a_signal_whose_file_was_deleted_is_heard_of_by_all_from_the_next_change_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypiserver.catalog.sqlite.change_counter.AGAIN_SECONDS", 0.0)
    ours, theirs = (ChangeCounter(tmp_path / "catalog.signal") for _ in range(2))
    assert ours.value() == theirs.value()
    (tmp_path / "catalog.signal").unlink()
    ours.change()
    # Nothing is known, so that the catalog is asked, and then both look at the new file.
    assert theirs.value() is None
    for _ in range(3):
        before = theirs.value()
        ours.change()
        assert before is not None and theirs.value() == ours.value() != before
