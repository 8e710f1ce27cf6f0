"""What mirrors read: the serial of each project and of the index, in headers, in JSON and over XML-RPC."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypiserver.catalog.rows import beside_ns
from pypiserver.model import last_serial
from tests.make_archives import make_sdist, make_wheel

from ...conftest import OLD
from ...wsgi import Answer, Client

Serve = Callable[..., Client]
Put = Callable[..., Path]
JSON = "application/vnd.pypi.simple.v1+json"
HEADER = "x-pypi-last-serial"
FOO, NEWER, BAR = make_wheel("foo", "1.0"), make_wheel("foo", "1.1"), make_sdist("Bar", "2.0")
# Each address, and the serial that it tells when foo was changed at OLD + 5 and bar at OLD + 3.
ADDRESSES = {
    "/simple/": OLD + 5,
    "/simple/foo/": OLD + 5,
    "/+simple/foo/": OLD + 5,
    "/simple/bar/": OLD + 3,
    "/pypi/foo/json": OLD + 5,
    "/pypi/foo/1.0/json": OLD + 5,
    "/bar/json": OLD + 3,
}


@pytest.fixture(autouse=True)
def packages(put: Put) -> None:
    put(*FOO)
    put(*NEWER, mtime=OLD + 5.7)
    put(*BAR, mtime=OLD + 3)


def rescan(client: Client) -> None:
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]


def called(client: Client, method: str, *parameters: Any, path: str = "/pypi") -> Answer:
    return client.post(path, xmlrpc.client.dumps(parameters, method).encode(), CONTENT_TYPE="text/xml")


def told(client: Client, method: str, *parameters: Any) -> Any:
    answer = called(client, method, *parameters)
    assert answer.status == 200
    return xmlrpc.client.loads(answer.body)[0][0]


@pytest.mark.parametrize("accept", [JSON, "text/html"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_page_for_programs_tells_the_time_of_the_newest_change(serve: Serve, accept: str, method: str) -> None:
    client = serve()
    answers = {path: client.request(method, path, HTTP_ACCEPT=accept) for path in ADDRESSES}
    assert {path: int(answer.headers[HEADER]) for path, answer in answers.items()} == ADDRESSES


def test_json_tells_it_too(serve: Serve) -> None:
    client = serve()
    index, page = (client.get(path, HTTP_ACCEPT=JSON).json() for path in ("/simple/", "/simple/bar/"))
    assert index["meta"]["_last-serial"] == OLD + 5
    assert index["projects"] == [{"name": "Bar", "_last-serial": OLD + 3}, {"name": "foo", "_last-serial": OLD + 5}]
    assert page["meta"]["_last-serial"] == OLD + 3
    assert client.get("/pypi/foo/json").json()["last_serial"] == OLD + 5


def test_pages_are_the_same_when_the_catalog_is_built_again(serve: Serve) -> None:
    """Also those of another server over the same folder: each has a catalog of its own."""
    one, two = ([serve().get(path, HTTP_ACCEPT=JSON) for path in ADDRESSES] for _ in range(2))
    assert [answer.headers["etag"] for answer in one] == [answer.headers["etag"] for answer in two]
    assert [answer.body for answer in one] == [answer.body for answer in two]


def test_a_yank_is_a_change_of_its_project_alone(serve: Serve, put: Put) -> None:
    client = serve()
    assert client.get("/simple/foo/").headers[HEADER] == str(OLD + 5)
    put(f"{FOO[0]}.yanked", b"leaks", mtime=OLD + 60)
    rescan(client)
    assert [int(client.get(path).headers[HEADER]) for path in ("/simple/foo/", "/simple/", "/simple/bar/")] == [
        OLD + 60,
        OLD + 60,
        OLD + 3,
    ]
    # And it is the same to a server that finds all of it at its start.
    assert serve().get("/simple/foo/").headers[HEADER] == str(OLD + 60)


def test_an_upload_is_a_change(serve: Serve, root: Path) -> None:
    client = serve()
    assert client.upload(*make_wheel("bar", "3.0")).status == 200
    newest = max(int(path.stat().st_mtime) for path in root.glob("*.whl"))
    assert client.get("/simple/bar/").headers[HEADER] == str(newest)
    assert told(client, "list_packages_with_serial") == {"Bar": newest, "foo": OLD + 5}


def test_an_index_without_projects_tells_a_serial(serve: Serve, root: Path) -> None:
    for path in root.iterdir():
        path.unlink()
    answer = serve().get("/simple/", HTTP_ACCEPT=JSON)
    assert (answer.headers[HEADER], answer.json()["meta"]["_last-serial"]) == ("1", 1)


def test_pages_for_people_and_files_have_no_serial(serve: Serve) -> None:
    client = serve()
    for path in ("/", "/packages/", "/projects/", "/project/foo/", f"/packages/{FOO[0]}", "/simple/unknown/"):
        assert HEADER not in client.get(path).headers


@pytest.mark.parametrize(
    ("changed_ns", "serial"),
    [(0, 1), (-5 * 10**9, 1), (1_999_999_999, 1), (OLD * 10**9 + 1, OLD), (10**19, 2**31 - 1)],
)
def test_a_serial_is_a_number_that_every_mirror_can_read(changed_ns: int, serial: int) -> None:
    assert last_serial(changed_ns) == serial


@pytest.mark.parametrize(
    ("fingerprint", "newest"),
    [("", 0), (".yanked:1:70:5", 70), (".asc:9:80:5;.yanked:1:70:6", 80), (".asc:9;.yanked:1", 0)],
)
def test_a_fingerprint_tells_when_the_newest_sidecar_was_changed(fingerprint: str, newest: int) -> None:
    assert beside_ns(fingerprint) == newest


# -- XML-RPC -----------------------------------------------------------------------------------------------------------


def test_the_list_of_packages_is_answered_with_and_without_serials(serve: Serve) -> None:
    client = serve()
    assert told(client, "list_packages") == ["Bar", "foo"]
    assert told(client, "list_packages_with_serial") == {"Bar": OLD + 3, "foo": OLD + 5}


def test_what_changed_since_a_serial_is_told(serve: Serve, put: Put) -> None:
    client = serve()
    assert told(client, "changelog_last_serial") == OLD + 5
    assert told(client, "changelog_since_serial", OLD + 5) == []
    assert told(client, "changelog_since_serial", OLD + 3) == [["foo", "", OLD + 5, "change", OLD + 5]]
    assert [change[0] for change in told(client, "changelog_since_serial", 0)] == ["Bar", "foo"]
    put(*make_sdist("bar", "2.1"), mtime=OLD + 9)
    rescan(client)
    assert told(client, "changelog_since_serial", OLD + 5) == [["Bar", "", OLD + 9, "change", OLD + 9]]


@pytest.mark.parametrize("parameters", [(), ("1",), (1.5,), (True,), ([],)])
def test_a_serial_that_is_no_number_is_a_fault(serve: Serve, parameters: tuple[Any, ...]) -> None:
    with pytest.raises(xmlrpc.client.Fault):
        told(serve(), "changelog_since_serial", *parameters)


@pytest.mark.parametrize("path", ["/pypi", "/pypi/", "/RPC2", "/"])
@pytest.mark.parametrize("method", ["package_releases", "system.listMethods", "", "x" * 1000])
def test_an_unknown_method_is_an_error_of_http(serve: Serve, path: str, method: str) -> None:
    """pulp tries the page of the index then; a fault, which has status 200, it takes for the list."""
    answer = called(serve(), method, path=path)
    assert (answer.status, len(answer.text) < 500) == (400, True)


@pytest.mark.parametrize("method", ["list_packages", "list_packages_with_serial", "changelog_last_serial"])
def test_the_lists_are_guarded_like_the_index(serve: Serve, method: str) -> None:
    client = serve(auther=lambda user, password: True, authenticate="list")
    assert called(client, method).status == 401
