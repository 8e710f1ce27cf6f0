"""``--server-base-url``: the index below a path, whether a proxy takes the path off or not."""

from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from tests.clients.samples import add_wheel

from ..wsgi import Answer, Client

Serve = Callable[..., Client]
HOST = "pypi.example"
ROOT = f"http://{HOST}/team/pypi/"
# As 2.4 takes it, with a slash at either end or without, and the whole address.
GIVEN = ["/team/pypi/", "/team/pypi", "team/pypi", "http://pypi.example/team/pypi/", "http://pypi.example/team/pypi"]
SEARCH = xmlrpc.client.dumps(({"name": "demo"},), "search").encode()


@pytest.fixture(params=GIVEN)
def given(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["as it came", "taken off"])
def ask(request: pytest.FixtureRequest, serve: Serve, root: Path, given: str) -> Callable[..., Answer]:
    """Ask for an address as a client sees it, with no proxy or one that takes the path off."""
    add_wheel(root, "demo", "1.0")
    client = serve(server_base_url=given, fallback=False)

    def ask(url: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        parts = urlsplit(url)
        assert (parts.netloc, parts.path[:11]) == (HOST, "/team/pypi/"), url
        path = parts.path if request.param else parts.path.removeprefix("/team/pypi")
        return client.request(
            method, path + (f"?{parts.query}" if parts.query else ""), body, HTTP_HOST=HOST, **headers
        )

    return ask


def test_links_redirects_and_absolute_addresses_lead_below_the_path(ask: Callable[..., Answer]) -> None:
    seen, todo = set(), [ROOT, f"{ROOT}simple/"]
    while todo:
        url = todo.pop()
        answer = ask(url, HTTP_ACCEPT="text/html")
        assert answer.status in (200, 302), (url, answer.status)
        seen.add(url.removeprefix(ROOT))
        links = re.findall(r'(?:href|src)="([^"#]+)', answer.text) if "html" in answer.headers["content-type"] else []
        found = [urljoin(url, link) for link in [*links, *filter(None, [answer.headers.get("location")])]]
        ours = {each for each in found if urlsplit(each).netloc == HOST}
        todo += ours - {ROOT + each for each in seen} - set(todo)
    assert {"", "simple/", "packages/", "projects/", "project/demo/", "simple/demo/"} <= seen
    assert any(each.startswith("packages/demo-1.0") for each in seen)


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("simple", "simple/"),
        ("simple/Demo/", "simple/demo/"),
        ("demo", "simple/demo/"),
        ("demo/", "simple/demo/"),
        ("packages", "packages/"),
        ("project/demo", "project/demo/"),
    ],
)
def test_redirects_stay_below_the_path(asked: str, location: str, ask: Callable[..., Answer]) -> None:
    answer = ask(ROOT + asked + "?a=b")
    assert (answer.status, urljoin(ROOT + asked, answer.headers["location"])) == (302, ROOT + location + "?a=b")


def test_json_names_addresses_below_the_path(ask: Callable[..., Answer]) -> None:
    for path in ("pypi/demo/json", "demo/json", "pypi/demo/1.0/json"):
        (file,) = ask(ROOT + path).json()["urls"]
        assert file["url"].startswith(f"{ROOT}packages/demo-1.0")
        assert ask(file["url"].partition("#")[0]).status == 200


def test_the_simple_json_leads_below_the_path(ask: Callable[..., Answer]) -> None:
    url = f"{ROOT}simple/demo/"
    page = ask(url, HTTP_ACCEPT="application/vnd.pypi.simple.v1+json").json()
    (file,) = page["files"]
    assert ask(urljoin(url, file["url"])).status == 200


def test_search_and_health_are_below_the_path(ask: Callable[..., Answer]) -> None:
    for path in ("", "RPC2", "pypi"):
        answer = ask(ROOT + path, "POST", SEARCH, CONTENT_TYPE="text/xml")
        assert [each["name"] for each in xmlrpc.client.loads(answer.body)[0][0]] == ["demo"]  # type: ignore[index]
    for path in ("health", "health/live", "health/ready"):
        assert ask(ROOT + path).status == 200


def test_the_welcome_page_names_the_address(ask: Callable[..., Answer]) -> None:
    assert f"{ROOT}simple/" in ask(ROOT).text


@pytest.mark.parametrize("path", ["/team/pypi/", "/team/pypi", "/", "/team/pypi/legacy/", "/legacy/", "/pypi"])
def test_uploads_below_the_path_are_stored(path: str, serve: Serve, root: Path, tmp_path: Path, given: str) -> None:
    wheel = add_wheel(tmp_path, "demo", "1.0")
    client = serve(server_base_url=given)
    assert client.upload(wheel.name, wheel.read_bytes(), path=path).status == 200
    assert (root / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_path_without_its_slash_leads_to_the_root(serve: Serve, given: str) -> None:
    answer = serve(server_base_url=given).get("/team/pypi?a=b")
    assert (answer.status, answer.headers["location"]) == (302, "pypi/?a=b")


@pytest.mark.parametrize("path", ["//team/pypi/simple/", "/team/pypi//simple/", "//team//pypi/simple/"])
def test_slashes_too_many_before_the_path_change_nothing(path: str, serve: Serve, given: str) -> None:
    expected = 404 if "team//" in path else 200
    assert serve(server_base_url=given).get(path).status == expected


@pytest.mark.parametrize("nothing", ["/", "", "//", None])
def test_a_slash_is_no_path(nothing: str | None, serve: Serve) -> None:
    client = serve(server_base_url=nothing)
    assert client.get("/simple/").status == 200
    assert "http://pypi.example/simple/" in client.get("/", HTTP_HOST=HOST).text


def test_what_only_begins_alike_is_not_below_the_path(serve: Serve, given: str) -> None:
    client = serve(server_base_url=given, fallback=False)
    assert client.get("/team/pypis/simple/").status == 404
    assert client.get("/team/simple/").status == 404


def test_a_path_that_is_also_one_of_ours_is_taken_off_what_has_it(serve: Serve, root: Path) -> None:
    wheel = add_wheel(root, "demo", "1.0")
    client = serve(server_base_url="/packages/")
    assert "http://pypi.example/packages/simple/" in client.get("/packages/", HTTP_HOST=HOST).text
    assert client.get(f"/packages/packages/{wheel.name}").body == wheel.read_bytes()
    # A whole address says nothing of the proxy; one that takes such a path off continues working.
    assert serve(server_base_url="http://pypi.example/packages/").get(f"/packages/{wheel.name}").status == 200


@pytest.mark.parametrize(
    ("script", "path", "status", "url"),
    [
        ("/team/pypi", "/simple/", 200, "http://pypi.example/team/pypi/"),
        ("/outer", "/team/pypi/simple/", 200, "http://pypi.example/outer/team/pypi/"),
        ("/pypi", "/simple/", 200, "http://pypi.example/team/pypi/"),
        ("/team/pypi", "/team/pypi/simple/", 404, ""),
    ],
)
def test_a_server_that_mounts_us_itself(script: str, path: str, status: int, url: str, serve: Serve) -> None:
    """mod_wsgi's WSGIScriptAlias and paste's urlmap say where they put us in SCRIPT_NAME."""
    client = serve(server_base_url="/team/pypi/", fallback=False)
    assert client.get(path, HTTP_HOST=HOST, SCRIPT_NAME=script).status == status
    if url:
        page = client.get(path.removesuffix("simple/"), HTTP_HOST=HOST, SCRIPT_NAME=script)
        assert f"{url}simple/" in page.text
