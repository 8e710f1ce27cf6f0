"""The catalog: what is written is read back, by every thread, and never for a file that changed meanwhile."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pypiserver.catalog import (
    FAILURES,
    Catalog,
    CatalogIncomplete,
    Digest,
    Fingerprint,
    MissingFile,
    SeenFile,
)
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
    catalog.record([(first, Digest("", fault="I/O error"))])
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


def test_a_failed_write_changes_nothing(catalog: Catalog) -> None:
    catalog.apply([found("foo-1.0.zip")])
    serial = catalog.serial()
    with pytest.raises(FAILURES):
        catalog.apply([found("bar-1.0.zip"), found("baz-1.0.zip", size=None)])
    assert (catalog.serial(), catalog.counts()) == (serial, (1, 1))
