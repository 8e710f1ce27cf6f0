"""The list of projects: one row each, current with every change, searched, sorted and paged."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypiserver.catalog import FAILURES, Catalog, Digest, Fingerprint, MissingFile, SeenFile, project_list, project_rows
from pypiserver.catalog.full_text import has_fts5
from pypiserver.catalog.sqlite.connections import Connections
from pypiserver.distributions.filename import parse_filename
from pypiserver.model import Listed, ProjectStatus, Search


def found(filename: str, *, size: int = 10, mtime: int = 1, yanked: str | None = None) -> SeenFile:
    row = Fingerprint(size, mtime * 1_000_000_000, 5, "" if yanked is None else f".yanked:{yanked}")
    return SeenFile(0, filename, row, parse_filename(filename), yanked=yanked)


def tell(catalog: Catalog, project: str, summary: str, keywords: str = "", name: str = "") -> None:
    digest = Digest("ab" * 32, summary=summary, keywords=keywords, name=name)
    catalog.record([(file, digest) for file in catalog.files_of(project)])


@pytest.fixture(params=["fts5", "like", "postgresql"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    if request.param == "postgresql":
        catalog = Catalog(request.getfixturevalue("database"), "roots")
        yield catalog
        catalog.connections.close()
        return
    if request.param == "fts5" and not has_fts5():
        pytest.skip("this SQLite has no FTS5")
    yield Catalog(tmp_path / "catalog.sqlite", "roots", full_text=request.param == "fts5")


def names(catalog: Catalog, text: str = "", **options: object) -> list[str]:
    return [row.project for row in catalog.listing.find(Search(text, **options))[1]]  # type: ignore[arg-type]


def rows(catalog: Catalog) -> list[Listed]:
    return catalog.listing.find(Search(limit=1000))[1]


def test_a_row_says_what_the_newest_release_says(catalog: Catalog) -> None:
    catalog.apply([found("Foo_Bar-1.10.zip", size=3, mtime=20), found("Foo_Bar-1.9.zip", size=4, mtime=30)])
    catalog.apply([found("Foo_Bar-2.0rc1.zip", mtime=10), found("Foo_Bar-1.11.zip", mtime=10, yanked="broken")])
    tell(catalog, "foo-bar", "One\n\n  line", "a,\nb", "Foo.Bar")
    (row,) = rows(catalog)
    assert (row.project, row.name, row.version, row.upload) == ("foo-bar", "Foo.Bar", "1.10", "1.9")
    assert (row.uploaded_at.timestamp(), row.files, row.size, row.yanked) == (30, 4, 27, 1)
    assert (row.summary, row.status) == ("One line", "")


@pytest.mark.parametrize("mtime", [-315_619_200, 0, 9_223_372_036], ids=["1960", "1970", "2262"])
def test_a_file_may_be_of_any_time(catalog: Catalog, mtime: int) -> None:
    catalog.apply([found("foo-1.0.zip", mtime=mtime)])
    assert rows(catalog)[0].uploaded_at.timestamp() == mtime


def test_a_status_shows_in_the_row(catalog: Catalog) -> None:
    catalog.apply([found("foo-1.0.zip"), found("bar-1.0.zip")], statuses={"foo": ProjectStatus("archived")})
    assert [row.status for row in rows(catalog)] == ["", "archived"]
    assert names(catalog, show="marked") == ["foo"]


def test_an_upload_is_found_at_once_and_a_removed_project_no_more(catalog: Catalog) -> None:
    new = found("quick-1.0.zip")
    catalog.add(new, Digest("ab" * 32, summary="brown fox"))
    assert names(catalog, "fox") == ["quick"]
    catalog.add(found("quick-1.1.zip"), Digest("ab" * 32, summary="lazy dog"))
    assert (names(catalog, "fox"), names(catalog, "dog")) == ([], ["quick"])
    catalog.apply([], [MissingFile(0, new.path, new.row), MissingFile(0, "quick-1.1.zip", new.row)])
    assert (names(catalog, "dog"), names(catalog), catalog.counts()) == ([], [], (0, 0))


def test_a_file_that_cannot_be_read_leaves_the_list(catalog: Catalog) -> None:
    catalog.apply([found("foo-1.0.zip")])
    catalog.record([(catalog.files_of("foo")[0], Digest("", fault="it is short", fault_kind="corrupt"))])
    assert (names(catalog), catalog.faults_of("foo")) == ([], [("foo-1.0.zip", "corrupt", "it is short")])


@pytest.fixture
def library(catalog: Catalog) -> Catalog:
    projects = {
        "requests": ("Python HTTP for humans", "web"),
        "requests-mock": ("Pretend to be a server", "testing"),
        "aiohttp": ("Asynchronous requests", ""),
        "zebra": ("Stripes", "requests, horses"),
        "caf": ("Un café crème", ""),
        "p": ("Tiny", ""),
    }
    for number, project in enumerate(projects):
        catalog.apply([found(f"{project.replace('-', '_')}-1.0.zip", size=100 - number, mtime=number)])
    for project, (summary, keywords) in projects.items():
        tell(catalog, project, summary, keywords)
    return catalog


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("requests", ["requests", "requests-mock", "aiohttp", "zebra"]),
        ("Requests Mock", ["requests-mock"]),
        ("requests_mock", ["requests-mock"]),
        ("HTTP humans", ["requests"]),
        ("horse", ["zebra"]),
        ("p", ["p"]),
        ("p tiny", ["p"]),
        ("crème", ["caf"]),
        ("no such thing", []),
        ('"', []),
        ("%", []),
        ("_", []),
        ("'; DROP TABLE listing; --", []),
        ('requests" OR name:"zebra', []),
        ("NOT requests*", []),
        ("x" * 100_000, []),
    ],
)
def test_search_finds_words_of_name_summary_and_keywords(library: Catalog, text: str, hits: list[str]) -> None:
    shown = names(library, text)
    # Without full text what is found is the same, by name.
    assert shown == hits if library.connections.search else sorted(shown) == sorted(hits)


def test_a_part_of_a_name_is_found_where_no_word_is(library: Catalog) -> None:
    assert {"requests", "requests-mock"} <= set(names(library, "quest"))


def test_the_exact_name_is_first_and_names_are_before_the_rest(library: Catalog) -> None:
    assert names(library, "requests")[:2] == ["requests", "requests-mock"]


def test_common_words_are_listed_by_name_after_names(library: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_list, "MAX_RANKED", 1)
    everything = ["requests", "requests-mock", "aiohttp", "zebra"]
    assert names(library, "requests") == everything
    for size in (1, 2, 3):
        pages = [names(library, "requests", limit=size, offset=offset) for offset in range(0, 4, size)]
        assert [name for page in pages for name in page] == everything


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("name", "aiohttp"),
        ("-name", "zebra"),
        ("date", "p"),
        ("-date", "requests"),
        ("size", "requests"),
        ("-size", "p"),
    ],
)
def test_rows_are_sorted(library: Catalog, sort: str, first: str) -> None:
    assert names(library, sort=sort)[0] == first
    assert sorted(names(library, sort=sort)) == sorted(names(library))


def test_pages_have_every_row_once(library: Catalog) -> None:
    for sort in ("", "name", "date", "size"):
        pages = [names(library, sort=sort, limit=4, offset=offset) for offset in (0, 4, 8)]
        assert ([len(page) for page in pages], len({*pages[0], *pages[1]})) == ([4, 2, 0], 6)


def test_yanked_projects_can_be_shown_alone(library: Catalog) -> None:
    library.apply([found("zebra-1.0.zip", size=97, mtime=3, yanked="ill")])
    assert names(library, show="yanked") == names(library, "zebra", show="yanked") == ["zebra"]
    assert names(library, "requests", show="yanked", sort="date") == ["zebra"]


def test_present_projects_are_told_from_others(library: Catalog) -> None:
    assert library.listing.present(["zebra", "zebra", "nothing"]) == {"zebra"}


def state(catalog: Catalog) -> list[tuple[object, ...]]:
    catalog.listing.complete()
    return catalog._all(
        "SELECT project, name, version, upload, uploaded_ns, files, size, yanked FROM listing ORDER BY 1"
    )


def test_rows_kept_current_are_those_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many random changes, one at a time and in bulk, leave what a new catalog has; FTS5 checks its index itself."""
    chance = random.Random(7)
    here: dict[str, SeenFile] = {}
    catalog = Catalog(tmp_path / "kept.sqlite", "roots")
    for step in range(60):
        monkeypatch.setattr(project_rows, "BULK", chance.choice([0, 2, 5000]))
        new = []
        for _ in range(chance.randrange(6)):
            name = f"{chance.choice('abcde')}-{chance.randrange(4)}.{chance.randrange(3)}.zip"
            yanked = chance.choice([None, None, "bad"])
            new.append(found(name, size=chance.randrange(99), mtime=step, yanked=yanked))
        gone = chance.sample(sorted(here), min(len(here), chance.randrange(3)))
        gone = [name for name in gone if name not in {file.path for file in new}]
        catalog.apply(new, [MissingFile(0, name, here.pop(name).row) for name in gone])
        here.update({file.path: file for file in new})
        for project in chance.sample("abcde", 2):
            tell(catalog, project, f"summary {chance.randrange(3)} of {project}")
        if chance.random() < 0.7:
            catalog.listing.complete()
            assert catalog._all("SELECT project FROM unlisted") == []
    fresh = Catalog(tmp_path / "fresh.sqlite", "roots")
    fresh.apply(list(here.values()))
    filled = Catalog(tmp_path / "filled.sqlite", "roots")
    filled.fill(file._replace(before=None) for file in here.values())
    assert state(catalog) == state(fresh) == state(filled) != []
    if has_fts5():
        connection = catalog.connections.get()
        connection.execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")


def test_a_row_is_made_again_by_the_next_request_and_only_then(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload does not wait for it, and what was asked once is not made again."""
    catalog.apply([found("foo-1.0.zip"), found("bar-1.0.zip")])
    catalog.listing.complete()
    before = catalog._all("SELECT project, version, id FROM listing ORDER BY project")
    catalog.apply([found("foo-2.0.zip")])
    assert catalog._all("SELECT project, version, id FROM listing ORDER BY project") == before
    assert catalog._all("SELECT project FROM unlisted") == [("foo",)]
    assert [(row.project, row.version) for row in rows(catalog)] == [("bar", "1.0"), ("foo", "2.0")]

    def nothing_is_written() -> None:
        raise AssertionError("nothing was left to be made")

    monkeypatch.setattr(catalog.connections, "transaction", nothing_is_written)
    assert names(catalog) == ["bar", "foo"]


def test_a_first_scan_leaves_the_list_to_the_first_request(catalog: Catalog) -> None:
    """It costs as much as a seventh of the scan, and clients do not wait for it."""
    catalog.fill(found(name)._replace(before=None) for name in ("foo-1.0.zip", "bar-1.0.zip"))
    tell(catalog, "foo", "does things")
    assert catalog._all("SELECT project FROM listing") == []
    assert catalog.listing.present(["foo", "baz"]) == {"foo"}
    assert names(catalog, "things") == ["foo"]
    assert names(catalog) == ["bar", "foo"]
    tell(catalog, "bar", "does other things")
    assert names(catalog, "other") == ["bar"]


@pytest.mark.parametrize("full_text", [True, False] if has_fts5() else [False])
def test_a_list_of_many_is_answered_from_indexes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_text: bool
) -> None:
    """The plans, not the times: no statement sorts or reads rows it does not show."""
    plans: list[str] = []
    asked: list[str] = []
    catalog = Catalog(tmp_path / "catalog.sqlite", "roots", full_text=full_text)
    assert isinstance(catalog.connections, Connections)
    catalog.apply([found("foo-1.0.zip")])
    catalog.listing.complete()
    connection = catalog.connections.get()

    def ask(statement: str, **parameters: object) -> list[object]:
        asked.append(statement)
        plans.extend(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))
        return connection.execute(statement, parameters).fetchall()

    watched = project_list.ProjectList(catalog.connections)
    monkeypatch.setattr(watched, "_ask", ask)
    for sort in ("", "name", "-name", "date", "-date", "size", "-size"):
        watched.find(Search(sort=sort))
    assert not [plan for plan in plans if "TEMP B-TREE" in plan], plans
    # Whether anything is out of date is told by the first row of a table that is mostly empty.
    scanned = {plan for plan in plans if plan.startswith("SCAN") and "COVERING INDEX" not in plan}
    assert scanned == {"SCAN unlisted"} and not [each for each in asked if "unlisted" in each and "LIMIT 1" not in each]


def test_a_catalog_of_the_other_kind_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    for full_text in (True, False, True):
        catalog = Catalog(path, "roots", full_text=full_text)
        assert catalog.counts() == (0, 0)
        catalog.apply([found("foo-1.0.zip")])
        assert names(catalog, "foo") == ["foo"]
        catalog.connections.close()


def test_the_rows_and_the_files_change_together(catalog: Catalog) -> None:
    catalog.apply([found("foo-1.0.zip")])
    with pytest.raises(FAILURES):
        catalog.apply([found("bar-1.0.zip"), found("baz-1.0.zip", size=None)])  # type: ignore[arg-type]
    assert names(catalog) == ["foo"]
