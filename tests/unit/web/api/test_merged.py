"""``--merge``: own builds of public projects, with the other index's files of other versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import html5lib
import pytest

from tests.fake_upstream import FakeUpstream, upstream
from tests.make_archives import make_sdist, make_wheel

from ...wsgi import Client

JSON = "application/vnd.pypi.simple.v1+json"
Serve = Callable[..., Client]
Put = Callable[..., Path]
OURS, OURS_BYTES = make_wheel("fern", "1.0.0", summary="our build")
SDIST, SDIST_BYTES = make_sdist("fern", "3.0")


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    with upstream() as made:
        for version in ("0.9", "1.0", "2.0"):
            made.add_wheel("fern", version)
        made.add_sdist("fern", "1.0")
        yield made


@pytest.fixture
def client(serve: Serve, put: Put, up: FakeUpstream, tmp_path: Path) -> Client:
    put(OURS, OURS_BYTES)
    put(SDIST, SDIST_BYTES)
    return serve(fallback_mode="cache", fallback_url=up.url, cache_folder=tmp_path / "cache", merge="fern,ivy-*")


def page(client: Client, name: str = "fern") -> Any:
    return client.get(f"/simple/{name}/", HTTP_ACCEPT=JSON)


def test_a_version_that_is_here_hides_that_of_the_other_index(client: Client) -> None:
    found = page(client).json()
    assert found["versions"] == ["0.9", "1.0.0", "2.0", "3.0"]
    names = [file["filename"] for file in found["files"]]
    assert names == ["fern-0.9-py3-none-any.whl", OURS, "fern-2.0-py3-none-any.whl", SDIST]


def test_files_of_both_are_downloaded_and_hidden_ones_are_not(client: Client, up: FakeUpstream) -> None:
    for file in page(client).json()["files"]:
        assert client.get(file["url"].removeprefix("../..")).status == 200
    for each in up.projects["fern"].files:
        wanted = 404 if "1.0" in each.filename else 200
        assert client.get(each.path).status == wanted, each.filename


def test_the_page_changes_with_each_of_the_two(
    client: Client, up: FakeUpstream, put: Put, serve: Serve, tmp_path: Path
) -> None:
    first = page(client)
    assert client.get("/simple/fern/", HTTP_ACCEPT=JSON, HTTP_IF_NONE_MATCH=first.headers["etag"]).status == 304
    up.add_wheel("fern", "4.0")
    assert page(client).headers["etag"] == first.headers["etag"]
    # Another cache, because an index is not asked again within seconds.
    client = serve(fallback_mode="cache", fallback_url=up.url, cache_folder=tmp_path / "other", merge="fern")
    second = page(client)
    assert "4.0" in second.json()["versions"]
    assert second.headers["etag"] != first.headers["etag"]
    put("fern-4.0.0-py3-none-any.whl", make_wheel("fern", "4.0.0")[1])
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    third = page(client).json()
    assert [file["filename"] for file in third["files"] if "4.0" in file["filename"]] == ["fern-4.0.0-py3-none-any.whl"]


def test_our_status_counts(client: Client, root: Path) -> None:
    (root / ".status").mkdir()
    (root / ".status" / "fern").write_text("deprecated\nuse ivy\n")
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    assert page(client).json()["project-status"]["status"] == "deprecated"
    (root / ".status" / "fern").write_text("quarantined\n")
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    assert page(client).json()["files"] == []


def test_no_file_of_a_project_that_is_quarantined_here_comes_from_the_other_index(
    client: Client, root: Path, up: FakeUpstream
) -> None:
    there = [each.path for each in up.projects["fern"].files if "1.0" not in each.filename]
    assert [client.get(path).status for path in there] == [200, 200]
    (root / ".status").mkdir()
    (root / ".status" / "fern").write_text("quarantined\nstolen\n")
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    up.forget()
    for path in (f"/packages/{OURS}", *there, *(f"{path}.metadata" for path in there)):
        assert client.get(path).status == 403, path
    assert up.seen == []


def test_while_the_other_index_is_down_and_was_never_asked_the_page_is_503(client: Client, up: FakeUpstream) -> None:
    up.stop()
    assert page(client).status == 503
    assert client.get(f"/packages/{OURS}").status == 200


def test_a_project_that_the_other_index_lacks_is_ours_alone(client: Client, put: Put) -> None:
    name, data = make_wheel("ivy-core", "1.0")
    put(name, data)
    assert [file["filename"] for file in page(client, "ivy-core").json()["files"]] == [name]


def test_a_project_that_is_not_here_comes_from_the_other_index(client: Client, up: FakeUpstream) -> None:
    up.add_wheel("ivy-leaf", "1.0")
    assert len(page(client, "ivy-leaf").json()["files"]) == 1


def test_other_projects_are_not_merged(client: Client, put: Put, up: FakeUpstream) -> None:
    name, data = make_wheel("moss", "1.0")
    put(name, data)
    up.add_wheel("moss", "2.0")
    assert page(client, "moss").json()["versions"] == ["1.0"]
    assert up.count("/simple/moss/") == 0


FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def seen(client: Client, path: str) -> str:
    """The page that a person sees."""
    answer = client.get(path, HTTP_ACCEPT=FIREFOX)
    assert answer.status == 200, answer.text
    html5lib.HTMLParser(strict=True).parse(answer.body, transport_encoding="utf-8")
    return answer.text


def test_people_see_the_files_of_both_and_where_they_are_from(client: Client, up: FakeUpstream) -> None:
    page = seen(client, "/project/fern/")
    ours, _, theirs = page.partition('<h2 id="other-files">')
    assert SDIST in ours
    for version, is_there in (("0.9", True), ("1.0", False), ("2.0", True)):
        assert (f"fern-{version}-py3-none-any.whl</a>" in theirs) is is_there
    assert "from the index 127-0-0-1" in theirs
    for address in re.findall(r'href="\.\./\.\.(/packages/[^"]+)"', theirs):
        assert client.get(address).status == 200


def test_people_find_releases_of_both(client: Client) -> None:
    assert OURS in seen(client, "/project/fern/1.0.0/")
    # In another spelling it is the one that is here.
    assert client.get("/project/fern/1.0/", HTTP_ACCEPT=FIREFOX).headers["location"] == "../../fern/1.0.0/"
    assert "fern-2.0-py3-none-any.whl</a>" in seen(client, "/project/fern/2.0/")
    assert client.get("/project/fern/2/", HTTP_ACCEPT=FIREFOX).headers["location"] == "../../fern/2.0/"
    assert client.get("/project/fern/7.0/", HTTP_ACCEPT=FIREFOX).status == 404


def test_people_see_what_is_here_while_the_other_index_is_down(client: Client, up: FakeUpstream) -> None:
    up.stop()
    page = seen(client, "/project/fern/")
    assert SDIST in page
    assert "It cannot be asked now." in page
    assert client.get("/project/fern/2.0/", HTTP_ACCEPT=FIREFOX).status == 503


def test_nothing_of_the_other_index_is_shown_of_a_project_that_is_quarantined_here(
    client: Client, root: Path, up: FakeUpstream
) -> None:
    (root / ".status").mkdir()
    (root / ".status" / "fern").write_text("quarantined\n")
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    up.forget()
    assert "other-files" not in seen(client, "/project/fern/")
    assert client.get("/project/fern/2.0/", HTTP_ACCEPT=FIREFOX).status == 404
    assert up.count() == 0


def test_a_project_that_is_here_and_not_merged_is_looked_for_nowhere(
    client: Client, up: FakeUpstream, put: Put
) -> None:
    put(*make_wheel("moss", "1.0"))
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    up.add_wheel("moss", "2.0")
    up.forget()
    for path in ("/project/moss/", "/project/moss/2.0/", "/project/moss/9/", "/project/moss/feed.atom"):
        client.get(path, HTTP_ACCEPT=FIREFOX)
    assert up.count() == 0
