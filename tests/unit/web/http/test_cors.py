"""What pages of other origins may read (CORS), once the operator has named them, and that it is nothing otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import pytest

from pypiserver.errors import ConfigError
from pypiserver.settings.config import make_config
from tests.make_archives import make_wheel
from tests.raising import raises

from ...wsgi import Client

Serve = Callable[..., Client]
Put = Callable[..., Path]
JSON = "application/vnd.pypi.simple.v1+json"
ONE, TWO = "https://notebooks.example", "http://127.0.0.1:8888"
WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")
READ = {
    "/simple": 302,
    "/simple/": 200,
    "/simple/foo": 302,
    "/simple/Foo/": 302,
    "/simple/foo/": 200,
    "/+simple/": 200,
    "/+simple/foo/": 200,
    "/simple/unknown/": 404,
    "/packages/": 200,
    f"/packages/{WHEEL}": 200,
    f"/packages/{WHEEL}.metadata": 200,
    f"/packages/{WHEEL}.asc": 200,
    f"/packages/{WHEEL}.provenance": 200,
    "/packages/unknown-1.0.zip": 404,
    "/pypi/foo/json": 200,
    "/pypi/foo/1.0/json": 200,
    "/foo/json": 200,
    "/foo": 302,
    "/foo/": 302,
}
NOT_READ = ["/", "/health", "/projects/", "/project/foo/", "/favicon.ico"]


@pytest.fixture(autouse=True)
def packages(put: Put) -> None:
    put(WHEEL, WHEEL_BYTES)
    for suffix in (".asc", ".provenance"):
        put(WHEEL + suffix, b"{}")


def allowed(client: Client, path: str, origin: str = ONE, method: str = "GET", **headers: str) -> str | None:
    return client.request(method, path, HTTP_ORIGIN=origin, **headers).headers.get("access-control-allow-origin")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("origin", [ONE, "*"])
def test_everything_that_programs_read_may_be_read(serve: Serve, method: str, origin: str) -> None:
    client = serve(allow_origin=origin, fallback=False)
    for path, status in READ.items():
        answer = client.request(method, path, HTTP_ORIGIN=ONE)
        assert (answer.status, answer.headers.get("access-control-allow-origin")) == (status, origin), path
        assert "ETag" in answer.headers["access-control-expose-headers"]
        # It is the same for whoever asks, so caches need not tell origins apart.
        assert "Origin" not in answer.headers.get("vary", "")
    assert [allowed(client, path, method=method) for path in NOT_READ] == [None] * len(NOT_READ)


def test_what_has_not_changed_may_be_read_too(serve: Serve) -> None:
    client = serve(allow_origin="*")
    for path in ("/simple/foo/", f"/packages/{WHEEL}", "/foo/json"):
        etag = client.get(path).headers["etag"]
        answer = client.get(path, HTTP_IF_NONE_MATCH=etag)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (304, "*")
    answer = client.get(f"/packages/{WHEEL}", HTTP_RANGE="bytes=0-9")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (206, "*")


def test_of_several_origins_each_is_told_itself_and_no_one_else_anything(serve: Serve) -> None:
    client = serve(allow_origin=[ONE, TWO])
    for path in ("/simple/foo/", f"/packages/{WHEEL}", "/foo/json"):
        answers = [client.get(path, HTTP_ORIGIN=origin) for origin in (ONE, TWO, "https://evil.example", "null", "")]
        assert [answer.headers.get("access-control-allow-origin") for answer in answers] == [ONE, TWO, None, None, None]
        assert all("Origin" in answer.headers["vary"].split(", ") for answer in answers)
        assert len({answer.body for answer in answers}) == 1


def test_nothing_is_said_of_it_by_default(serve: Serve) -> None:
    client = serve()
    for path in READ:
        answer = client.get(path, HTTP_ORIGIN=ONE)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "Origin" not in answer.headers.get("vary", "")
        assert client.request("OPTIONS", path, HTTP_ORIGIN=ONE).status == 405
    assert not [route for route in client._application.routes if route.method == "OPTIONS"]  # type: ignore[attr-defined]


def test_a_preflight_is_answered_before_any_login(serve: Serve) -> None:
    client = serve(allow_origin=ONE, auther=lambda user, password: password == "right", authenticate="list,download")
    ask = {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "authorization"}
    for path in READ:
        answer = client.request("OPTIONS", path, HTTP_ORIGIN=ONE, **ask)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == ONE
        assert answer.headers["access-control-allow-methods"] == "GET, HEAD"
        assert "Authorization" in answer.headers["access-control-allow-headers"].split(", ")
        assert "access-control-allow-credentials" not in answer.headers
        assert "content-length" not in answer.headers
    # And the page sees what it has to do then.
    refused = client.get("/simple/foo/", HTTP_ORIGIN=ONE)
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, ONE)
    assert [client.request("OPTIONS", path, HTTP_ORIGIN=ONE).status for path in NOT_READ] == [405] * len(NOT_READ)


def test_no_page_may_change_anything(serve: Serve, root: Path) -> None:
    client = serve(allow_origin="*")
    before = sorted(root.iterdir())
    answer = client.upload(*make_wheel("bar", "1.0"), HTTP_ORIGIN=ONE, HTTP_HOST="pypi.example")
    assert (answer.status, sorted(root.iterdir())) == (403, before)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["notebooks.example", "https://notebooks.example/", "https://a.example/x", "HTTPS://A.example", "null",
               "* https://a.example", "https://u@a.example", "https://a.example\r\nX: y", "https://a.example:x"],
)  # fmt: skip
def test_what_is_no_origin_is_refused_in_words(origin: str) -> None:
    with raises(ConfigError, kind="value", setting="allow_origin", value=origin):
        make_config(allow_origin=origin)


def test_with_an_address_given_json_names_whole_ones(serve: Serve) -> None:
    """micropip takes the address as it is, relative to its own page."""
    base = "https://pypi.example/prefix"
    client = serve(server_base_url=base)
    (file,) = client.get("/prefix/simple/foo/", HTTP_ACCEPT=JSON).json()["files"]
    assert file["url"] == f"{base}/packages/{WHEEL}"
    assert 'href="../../packages/' in client.get("/prefix/simple/foo/").text
    (file,) = serve().get("/simple/foo/", HTTP_ACCEPT=JSON).json()["files"]
    assert urljoin("https://pypi.example/simple/foo/", file["url"]) == f"https://pypi.example/packages/{WHEEL}"
