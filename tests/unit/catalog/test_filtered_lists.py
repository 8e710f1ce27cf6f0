"""Lists for clients that may see some projects: each is the list of a catalog that has only these projects."""

from __future__ import annotations

import gc
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypiserver.access.patterns import Patterns, read_patterns
from pypiserver.catalog import (
    Catalog,
    Digest,
    Fingerprint,
    MissingFile,
    SeenFile,
    admitted_names,
    file_pages,
    name_filter,
    project_list,
)
from pypiserver.catalog.file_pages import FileSearch
from pypiserver.catalog.full_text import has_fts5
from pypiserver.catalog.name_filter import EVERYTHING, NOTHING, NameFilter
from pypiserver.catalog.sqlite import connections
from pypiserver.distributions.filename import normalize, parse_filename
from pypiserver.model import ProjectStatus, Search, last_serial

# Hidden projects say the same words, more often, before and after the others in every order.
PROJECTS = {
    "acme": ("The requests of acme", "web"),
    "acme-sdk": ("Kit for requests", "requests"),
    "acme-sdk-secret": ("Kit of secret requests requests requests", "sdk"),
    "acme-secret": ("requests requests", "sdk, web"),
    "base": ("Needed by others", ""),
    "requests": ("HTTP for humans", "web"),
    "requests-secret": ("requests", "requests"),
    "sdk": ("sdk", "kit"),
    "secret": ("Kit of requests, for those who know", "web"),
    "zebra": ("Stripes of requests", ""),
    "zebra-secret": ("Stripes", "horses"),
}
FILTERS = {
    "no secrets": [read_patterns(["*", "!*secret*"])],
    "some": [read_patterns(["acme", "acme-sdk*", "!*-secret"]), read_patterns(["zebra", "requests"])],
    "one": [read_patterns(["acme-sd?"])],
    "wild": [read_patterns(["*sdk", "re*sts"])],
    "none of these": [read_patterns(["nothing-*"])],
}
TEXTS = ("", "requests", "kit", "sdk", "requests kit", "s", "tripe", "secret", "quests", "web")


def found(filename: str, number: int = 0, *, yanked: str | None = None) -> SeenFile:
    row = Fingerprint(100 + number, (1000 - number) * 1_000_000_000, 5, "" if yanked is None else f".yanked:{yanked}")
    return SeenFile(0, filename, row, parse_filename(filename), yanked=yanked)


def filled(catalog: Catalog, names: NameFilter) -> Catalog:
    """The catalog with those of the projects that the filter admits."""
    admitted = {number: project for number, project in enumerate(PROJECTS) if names.admits(normalize(project))}
    seen = [
        found(f"{project.replace('-', '_')}-{version}.zip", number, yanked="" if "s" in project + version else None)
        for number, project in admitted.items()
        for version in ("1.0", "1.1")
    ]
    marked = {project: ProjectStatus("deprecated") for number, project in admitted.items() if number % 2}
    catalog.apply(seen, statuses=marked)
    said = [(file, *PROJECTS[file.project]) for file in catalog.files()]
    catalog.record(
        [
            (file, Digest("ab" * 32, summary=summary, keywords=keywords, needs="base"))
            for file, summary, keywords in said
        ]
    )
    catalog.note_folders([(0, "", 1, 1)])
    return catalog


@pytest.fixture(params=["fts5", "like", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "fts5" and not has_fts5():
        pytest.skip("this SQLite has no FTS5")
    return str(request.param)


@pytest.fixture
def whole(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    at = request.getfixturevalue("database") if kind == "postgresql" else tmp_path / "whole.sqlite"
    catalog = filled(Catalog(at, "roots", full_text=kind != "like"), EVERYTHING)
    yield catalog
    catalog.connections.close()


def answers(catalog: Catalog, names: NameFilter) -> Iterator[tuple[str, object]]:
    """Every list and number that a client can ask for."""
    listing, files = catalog.listing, catalog.file_list
    yield "projects", [each[:2] for each in catalog.projects(names)]
    yield "counts", catalog.counts(names)
    yield "paths", [catalog.paths(0, after, 3, names) for after in ("", "acme_sdk-1.0.zip", "r", "z")]
    yield "summaries", listing.summaries(names)
    yield "newest", listing.newest(3, names)
    yield "needing", [listing.needing("base", limit, names) for limit in (1, 20)]
    for text, sort, show, needs in itertools.product(
        TEXTS, ("", "name", "-date", "size"), ("", "yanked", "marked"), ("", "base")
    ):
        for offset in (0, 2):
            search = Search(text, sort, show, needs, limit=2, offset=offset)
            yield str(search), listing.find(search, names)
    for text, anywhere in itertools.product(("", "acme", "sdk 1.1", "1.0", "secret"), (False, True)):
        page = files.page(FileSearch(text, is_anywhere=anywhere, limit=2), names)
        for number in itertools.count():
            yield f"files {text} {number}", page
            if page.after is None or number > 30:
                break
            page = files.page(FileSearch(text, page.after, is_anywhere=anywhere, limit=2), names)
        if page.before is not None:
            yield f"files {text} back", files.page(FileSearch(text, page.before, is_backwards=True, limit=2), names)


@pytest.mark.parametrize("form", ["set", "few"])
def test_a_filter_of_many_patterns_gives_the_same_lists_as_a_set(
    whole: Catalog, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name_filter, "MANY", 0)
    monkeypatch.setattr(connections, "FEW", 0 if form == "set" else 1000)
    for lines in FILTERS.values():
        names = NameFilter.of(lines)
        narrowed = whole.narrowed(names)
        assert narrowed == names
        assert "LIKE" not in narrowed.sql("name")
        for (asked, seen), (_, wanted) in zip(answers(whole, narrowed), answers(whole, names), strict=True):
            assert seen == wanted, asked


def test_a_set_is_made_once_for_each_state_of_the_catalog(whole: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_filter, "MANY", 0)
    monkeypatch.setattr(connections, "FEW", 0)
    names = NameFilter.of([read_patterns(["acme*", "new*"])])
    first = whole.narrowed(names)
    assert whole.narrowed(names) is first
    assert whole.narrowed(EVERYTHING) is EVERYTHING
    before = [name for name, _, _ in whole.projects(first)]
    whole.apply([found("newcomer-1.0.zip")])
    assert [name for name, _, _ in whole.projects(whole.narrowed(names))] == [*before, "newcomer"]
    # A condition from before shows what it showed.
    assert [name for name, _, _ in whole.projects(first)] == before


def test_a_set_follows_the_projects_that_change(whole: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_filter, "MANY", 0)
    monkeypatch.setattr(connections, "FEW", 0)
    monkeypatch.setattr(admitted_names, "MOST_CHANGED", 2)
    asked = spied(whole, monkeypatch)
    names = NameFilter.of([read_patterns(["acme*", "new*"])])
    first = whole.narrowed(names)
    before = first.listed or frozenset()
    assert before == {"acme", "acme-sdk", "acme-sdk-secret", "acme-secret"}
    assert asked == ["every"]
    # A new file of a project, and a new project that is not admitted, change nothing.
    whole.apply([found("acme-3.0.zip")])
    whole.apply([found("other-1.0.zip")])
    assert whole.narrowed(names) is first
    assert asked == ["every", "changed"]
    new = found("newcomer-1.0.zip")
    whole.apply([new])
    assert whole.narrowed(names).listed == before | {"newcomer"}
    whole.apply([], [MissingFile(0, new.path, new.row)])
    assert whole.narrowed(names).listed == before
    whole.apply([found(f"new{number}-1.0.zip") for number in range(3)])
    assert whole.narrowed(names).listed == before | {"new0", "new1", "new2"}
    assert asked == ["every", "changed", "changed", "changed", "changed", "every"]


def spied(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which questions about names the catalog is asked from now on."""
    asked: list[str] = []
    every, changed = catalog._listed_names, catalog._changed_names
    monkeypatch.setattr(catalog, "_listed_names", lambda: (asked.append("every"), every())[1])
    monkeypatch.setattr(catalog, "_changed_names", lambda serial: (asked.append("changed"), changed(serial))[1])
    return asked


@pytest.mark.parametrize("lines", FILTERS.values(), ids=FILTERS)
def test_a_list_for_some_reads_only_the_index_of_files_whose_project_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[Patterns]
) -> None:
    """The plans, not the times: reading the rows of all files took 25 ms of 100,000, for each list."""
    catalog = filled(Catalog(tmp_path / "catalog.sqlite", "roots"), EVERYTHING)
    connection = catalog.connections.get()  # type: ignore[attr-defined]
    plans: list[str] = []

    def ask(statement: str, **parameters: object) -> list[Any]:
        plans.extend(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))
        return connection.execute(statement, parameters).fetchall()  # type: ignore[no-any-return]

    names = NameFilter.of(lines)
    monkeypatch.setattr(catalog.listing, "_ask", ask)
    monkeypatch.setattr(catalog, "_all", ask)
    catalog.projects(names)
    catalog.counts(names)
    catalog.listing.summaries(names)
    catalog.listing.needing("base", 20, names)
    for text, sort in itertools.product(("", "sdk"), ("name", "date")):
        catalog.listing.find(Search(text, sort), names)
    scanned = [plan for plan in plans if re.match(r"SCAN (u|file)\b", plan)]
    assert scanned
    assert not [plan for plan in scanned if not plan.endswith("INDEX file_undecided")]
    catalog.connections.close()


def test_ten_thousand_lines_make_no_long_statement(whole: Catalog) -> None:
    lines = [read_patterns([f"team-{number}-*", f"!team-{number}-secret"]) for number in range(5000)]
    names = whole.narrowed(NameFilter.of([*lines, *FILTERS["some"]]))
    assert len(names.sql("name")) < 1000
    # A scope of a token, which is another filter, changes nothing about that.
    assert len(whole.narrowed(NameFilter.of([*lines]).within(NameFilter.of(FILTERS["one"]))).sql("name")) < 1000
    assert dict(answers(whole, names))["counts"] == dict(answers(whole, NameFilter.of(FILTERS["some"])))["counts"]


@pytest.mark.parametrize("ranked", [project_list.MAX_RANKED, 2])
def test_a_list_is_that_of_a_catalog_without_hidden_projects(
    whole: Catalog, kind: str, ranked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_list, "MAX_RANKED", ranked)
    monkeypatch.setattr(file_pages, "WINDOW", 3)
    for number, lines in enumerate(FILTERS.values()):
        names = NameFilter.of(lines)
        alone = filled(Catalog(tmp_path / f"{number}.sqlite", "roots", full_text=kind != "like"), names)
        for (asked, seen), (_, wanted) in zip(answers(whole, names), answers(alone, names), strict=True):
            # PostgreSQL ranks otherwise than SQLite, in the same way for every client: by the text of each row alone.
            if kind != "postgresql" or "text='" not in asked or "text=''" in asked:
                assert seen == wanted, asked
        alone.connections.close()


def test_no_answer_for_some_has_a_name_that_only_others_see(whole: Catalog) -> None:
    names = NameFilter.of(FILTERS["no secrets"])
    said = [asked for asked, seen in answers(whole, names) if "secret" in repr(seen)]
    assert said == []
    assert [asked for asked, seen in answers(whole, NOTHING) if "acme" in repr(seen)] == []


def test_a_file_that_may_be_of_a_hidden_project_is_in_no_list_before_it_is_read(whole: Catalog) -> None:
    names = NameFilter.of([read_patterns(["*", "!acme-1-secret"])])
    before = whole.counts(names)
    whole.apply([found("acme-1-secret-2.0.tar.gz")])
    # The file is taken for one of acme, which has another one, and this one for the only file of new.
    whole.apply([found("acme-secret-1-2.0.tar.gz"), found("new-1-2.0.tar.gz")])
    files, projects = before
    assert whole.counts(names) == (files, projects)
    assert whole.counts(EVERYTHING)[0] == files + 3
    assert [name for name, _, _ in whole.projects(names)] == sorted(PROJECTS)
    assert [normalize(each[0]) for each in whole.listing.summaries(names)] == sorted(PROJECTS)
    total, rows = whole.listing.find(Search(sort="name", limit=50), names)
    assert (total, [row.project for row in rows], {row.files for row in rows}) == (projects, sorted(PROJECTS), {2})
    for some, count in ((EVERYTHING, 1), (names, 0)):
        said = [*(path for path, *_ in whole.paths(0, "", 100, some))]
        said += [file.path for file in whole.file_list.page(FileSearch(limit=100), some).files]
        assert [path for path in said if "1-secret" in path] == ["acme-1-secret-2.0.tar.gz"] * 2 * count


def test_the_best_match_does_not_depend_on_hidden_projects(whole: Catalog) -> None:
    texts = {"aa": "alpha beta beta", "bb": "alpha alpha beta", **{f"hidden-{number}": "beta" for number in range(20)}}
    whole.apply([found(f"{project.replace('-', '_')}-1.0.zip") for project in texts])
    for project, summary in texts.items():
        whole.record([(file, Digest("ab" * 32, summary=summary)) for file in whole.files_of(project)])
    before = whole.listing.find(Search("alpha beta"), NameFilter.of([read_patterns(["aa", "bb"])]))
    whole.apply([found(f"hidden-{number}-2.0.zip") for number in range(20)])
    for number in range(20):
        files = whole.files_of(f"hidden-{number}")
        whole.record([(file, Digest("ab" * 32, summary=f"alpha {number} gamma")) for file in files])
    found_now = whole.listing.find(Search("alpha beta"), NameFilter.of([read_patterns(["aa", "bb"])]))
    assert before == found_now
    assert {row.project for row in found_now[1]} == {"aa", "bb"}


@pytest.mark.parametrize("changed", [0, 5, 999_999_999, 1_000_000_000, 1_999_999_999, 10**18, 2**31 * 10**9 - 1, 2**62])
def test_the_serial_of_a_listed_project_is_that_of_its_page(whole: Catalog, changed: int) -> None:
    with whole.connections.transaction() as connection:
        connection.execute("UPDATE project SET changed_ns = :changed WHERE name = 'sdk'", {"changed": changed})
    serial = next(serial for name, _, serial in whole.projects() if name == "sdk")
    assert serial == last_serial(whole.project_state("sdk").changed_ns) == last_serial(changed)


def test_sets_are_bounded_in_bytes(whole: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_filter, "MANY", 0)
    monkeypatch.setattr(admitted_names, "MAX_BYTES", 3000)
    filters = [NameFilter.of([read_patterns(["*", f"!{name}"])]) for name in PROJECTS]
    gc.collect()
    before = len(admitted_names._SETS)
    for names in filters:
        whole.narrowed(names)
    assert whole.narrowed(filters[-1]) is whole.narrowed(filters[-1])
    assert len(admitted_names._SETS) - before == 2
