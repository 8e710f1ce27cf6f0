"""Which projects need one: those whose newest release says so, current with every change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pypiserver.catalog import Catalog, Digest, Fingerprint, MissingFile, SeenFile, project_rows
from pypiserver.catalog.postgres import migrations
from pypiserver.distributions.core_metadata import needed_projects, packed, parse_metadata
from pypiserver.distributions.filename import parse_filename
from pypiserver.model import Search

from ..catalogs import place

SHA = "ab" * 32


def found(filename: str, *, yanked: str | None = None, size: int = 10) -> SeenFile:
    row = Fingerprint(size, 1_000_000_000, 5, "" if yanked is None else f".yanked:{yanked}")
    return SeenFile(0, filename, row, parse_filename(filename), yanked=yanked)


@pytest.fixture(params=["file", "postgresql"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(place(request.param, request, tmp_path), "roots")
    yield catalog
    catalog.connections.close()


def add(catalog: Catalog, filename: str, needs: str = "", *, yanked: str | None = None) -> None:
    catalog.add(found(filename, yanked=yanked), Digest(SHA, needs=needs))


def needing(catalog: Catalog, name: str, limit: int = 10) -> tuple[int, list[str]]:
    total, rows = catalog.listing.needing(name, limit)
    return total, [project for project, _ in rows]


def test_a_project_is_needed_by_those_whose_newest_release_says_so(catalog: Catalog) -> None:
    add(catalog, "app-1.0.zip", "lib old-lib")
    add(catalog, "tool-1.0.zip", "lib")
    assert needing(catalog, "lib") == (2, ["app", "tool"])
    add(catalog, "app-2.0.zip", "lib new-lib")
    assert [needing(catalog, name)[0] for name in ("lib", "old-lib", "new-lib")] == [2, 0, 1]
    add(catalog, "app-3.0.zip", "", yanked="broken")
    assert needing(catalog, "new-lib") == (1, ["app"])
    assert needing(catalog, "lib", 1) == (2, ["app"])


def test_what_goes_needs_nothing_more(catalog: Catalog) -> None:
    add(catalog, "app-1.0.zip", "lib")
    assert needing(catalog, "lib") == (1, ["app"])
    catalog.apply([], [MissingFile(0, "app-1.0.zip", found("app-1.0.zip").row)])
    assert needing(catalog, "lib") == (0, [])


def test_a_file_that_was_replaced_is_asked_again(catalog: Catalog) -> None:
    add(catalog, "app-1.0.zip", "lib")
    catalog.apply([found("app-1.0.zip", size=11)])
    assert needing(catalog, "lib") == (0, [])
    catalog.record([(file, Digest(SHA, needs="other")) for file in catalog.files_of("app")])
    assert (needing(catalog, "lib"), needing(catalog, "other")) == ((0, []), (1, ["app"]))


def test_many_are_made_at_once(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        add(catalog, f"p{number}-1.0.zip", "lib")
    assert needing(catalog, "lib")[0] == 6
    monkeypatch.setattr(project_rows, "BULK", 3)
    for number in range(5):
        add(catalog, f"p{number}-2.0.zip", "other lib" if number % 2 else "other")
    assert (needing(catalog, "lib"), needing(catalog, "other")[0]) == ((3, ["p1", "p3", "p5"]), 5)


@pytest.mark.parametrize("sort", ["", "name", "-date", "size"])
def test_a_list_may_be_of_those_that_need_one(catalog: Catalog, sort: str) -> None:
    for number in range(4):
        add(catalog, f"app-{number}-1.0.zip", "lib" if number else "")
    add(catalog, "other-1.0.zip", "lib")
    total, rows = catalog.listing.find(Search(sort=sort, needs="lib", limit=2))
    assert (total, len(rows)) == (4, 2)
    total, rows = catalog.listing.find(Search("app", sort=sort, needs="lib"))
    assert (total, {row.project for row in rows}) == (3, {"app-1", "app-2", "app-3"})
    assert catalog.listing.find(Search(needs="nothing")) == (0, [])


def test_names_are_in_normal_form_and_those_of_extras_count() -> None:
    said = ["Foo_Bar>=1", "foo.bar[x]", 'baz; extra == "x"', "Me[all]", "not a requirement!", "a" * 300]
    raw = "\n".join(["Metadata-Version: 2.1", "Name: me", *(f"Requires-Dist: {each}" for each in said), "", ""])
    assert needed_projects(parse_metadata(raw.encode())) == ["baz", "foo-bar"]


def test_tables_of_the_version_before_know_what_files_need(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = b"Metadata-Version: 2.1\nName: app\nRequires-Dist: Lib>=1\n\n"
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", migrations.STEPS[:8])
        before = Catalog(database, "roots")
        with before.connections.transaction() as connection:
            connection.execute(
                "INSERT INTO file VALUES (0, 'app-1.0.zip', 10, 1, 5, '', 'app-1.0.zip', 'app', 'app', '1.0', 'sdist', "
                "1, :sha256, '', NULL, NULL, '', '', NULL, 0, 0, '')",
                {"sha256": SHA},
            )
            connection.execute("INSERT INTO project VALUES ('app', 1, '', '', 1, 'app')")
            connection.execute(
                "INSERT INTO metadata (root, path, body, sha256, core) "
                "VALUES (0, 'app-1.0.zip', :core, :sha256, :core)",
                {"sha256": SHA, "core": packed(parse_metadata(raw))},
            )
        before.connections.close()
    catalog = Catalog(database, "roots")
    assert needing(catalog, "lib") == (1, ["app"])
    catalog.connections.close()
