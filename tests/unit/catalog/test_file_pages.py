"""The list of files for people: its order, its pages both ways, and what a search looks at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pypiserver.catalog import Catalog, Fingerprint, SeenFile, file_pages
from pypiserver.catalog.file_pages import START, FileSearch, Place
from pypiserver.distributions.filename import parse_filename

from ..catalogs import place

FILES = ["zebra-1.0.zip", "PyYAML-5.1.zip", "pyyaml-6.0-py3-none-any.whl", "apple-1.0.zip", "Apple_Pie-2.0.zip",
         "mango-0.9-cp312-cp312-linux_x86_64.whl", "sub/Mango-1.0.zip"]  # fmt: skip
ORDER = ["apple-1.0.zip", "Apple_Pie-2.0.zip", "mango-0.9-cp312-cp312-linux_x86_64.whl", "Mango-1.0.zip",
         "PyYAML-5.1.zip", "pyyaml-6.0-py3-none-any.whl", "zebra-1.0.zip"]  # fmt: skip


def found(path: str, root: int = 0) -> SeenFile:
    return SeenFile(root, path, Fingerprint(10, 1_000_000_000, 5, ""), parse_filename(path.rpartition("/")[2]))


@pytest.fixture(params=["file", "postgresql"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(place(request.param, request, tmp_path), "roots")
    catalog.apply([found(path) for path in FILES])
    yield catalog
    catalog.connections.close()


def names(catalog: Catalog, text: str = "", **options: object) -> list[str]:
    page = catalog.file_list.page(FileSearch(text, **options))  # type: ignore[arg-type]
    return [file.filename for file in page.files]


def test_files_are_in_order_whatever_their_case(catalog: Catalog) -> None:
    assert names(catalog) == ORDER
    page = catalog.file_list.page(FileSearch())
    assert (page.before, page.after, page.files[3].path) == (None, None, "sub/Mango-1.0.zip")


@pytest.mark.parametrize("limit", [1, 2, 4, 100])
def test_files_of_a_project_are_in_the_order_of_their_versions(catalog: Catalog, limit: int) -> None:
    ordered = [f"Apple-{version}.zip" for version in ("1.0rc1", "1.0.post1", "1.9", "1.10", "10.0")]
    catalog.apply([found(path) for path in ordered])
    expected = [ordered[0], "apple-1.0.zip", *ordered[1:], *ORDER[1:]]
    shown, place = [], START
    while True:
        page = catalog.file_list.page(FileSearch(place=place, limit=limit))
        shown += [file.filename for file in page.files]
        if page.after is None:
            break
        place = page.after
    assert shown == expected
    gone = Place("apple", "Apple-1.9.1.zip")
    assert catalog.file_list.page(FileSearch(place=gone, limit=1)).files[0].filename == "Apple-1.10.zip"
    page = catalog.file_list.page(FileSearch(place=gone, is_backwards=True, limit=1))
    assert page.files[0].filename == "Apple-1.9.zip"


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
def test_pages_lead_through_all_files_and_back(catalog: Catalog, limit: int) -> None:
    pages = [catalog.file_list.page(FileSearch(limit=limit))]
    while (after := pages[-1].after) is not None:
        pages.append(catalog.file_list.page(FileSearch(place=after, limit=limit)))
    assert [file.filename for page in pages for file in page.files] == ORDER
    seen = list(pages[-1].files)
    before = pages[-1].before
    while before is not None:
        page = catalog.file_list.page(FileSearch(place=before, is_backwards=True, limit=limit))
        seen[:0], before = page.files, page.before
    assert [file.filename for file in seen] == ORDER


def test_what_comes_or_goes_between_two_pages_moves_no_other_file(catalog: Catalog) -> None:
    first = catalog.file_list.page(FileSearch(limit=3))
    catalog.apply([found("aardvark-1.0.zip")])
    assert first.after is not None
    assert names(catalog, place=first.after, limit=3) == ORDER[3:6]


def test_a_hidden_file_is_not_in_it(catalog: Catalog) -> None:
    catalog.apply([found("apple-1.0.zip", root=1)])
    assert names(catalog) == ORDER


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("mango", ORDER[2:4]),
        ("MANGO 1.0", ORDER[3:4]),
        ("apple_pie-2", ORDER[1:2]),
        ("apple", ORDER[:2]),
        ("Mango-1.0.zip", ORDER[3:4]),
        ("cp312", []),
        ("pyyaml 5%", ORDER[4:5]),
        ("apple zebra", []),
        ("nothing", []),
        ("-", ORDER),
        ("'", []),
    ],
)
def test_a_search_finds_files_of_projects_that_begin_so(catalog: Catalog, text: str, hits: list[str]) -> None:
    assert names(catalog, text) == hits


def test_a_search_anywhere_finds_the_middle_of_a_name(catalog: Catalog) -> None:
    assert names(catalog, "cp312", is_anywhere=True) == ORDER[2:3]
    assert names(catalog, "1.0 zip", is_anywhere=True) == [ORDER[0], ORDER[3], ORDER[6]]


@pytest.mark.parametrize("is_anywhere", [False, True])
def test_a_search_looks_at_a_number_of_files_and_says_where_to_continue(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, is_anywhere: bool
) -> None:
    monkeypatch.setattr(file_pages, "WINDOW", 3)
    catalog.apply([found(f"mango-{number}-1.0.zip") for number in range(5)])
    asked: list[Place] = [START]
    seen: list[str] = []
    while asked[-1:]:
        page = catalog.file_list.page(FileSearch("man 1.0", asked[-1], is_anywhere=is_anywhere))
        seen += [file.filename for file in page.files]
        if page.after is None:
            break
        asked.append(page.after)
    assert seen == ["Mango-1.0.zip", *(f"mango-{number}-1.0.zip" for number in range(5))]
    assert len(asked) > 1
