"""Which forwarding headers are believed, from whom, and what they change."""

from __future__ import annotations

from collections.abc import Callable, Collection
from ipaddress import ip_network
from typing import Any

import pytest

from pypiserver.web.http.forwarded import CLIENT, DEFAULT, NEVER_KEPT, TrustedProxy, base_url

TRUSTED = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


ALL = ("proto", "for", "host", "prefix", "forwarded")


def through(
    trusted: list[Any] = TRUSTED, *, named: Collection[str] = ALL, root: str = "", **fields: str
) -> dict[str, Any]:
    """The environ of a request as the application gets it, and under ``sent`` the headers of its answer."""
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [("Content-Type", "text/html")])
        return []

    environ = {
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "inner:8080",
        "wsgi.url_scheme": "http",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/simple/",
        **fields,
    }
    proxy = TrustedProxy(application, trusted, named=named, base_url=root)
    proxy(environ, lambda status, headers: seen.update(sent=headers))
    return seen


@pytest.mark.parametrize(
    ("fields", "url", "path"),
    [
        ({}, "http://inner:8080/", "/simple/"),
        (
            {"HTTP_X_FORWARDED_HOST": "pypi.example", "HTTP_X_FORWARDED_PROTO": "https"},
            "https://pypi.example/",
            "/simple/",
        ),
        ({"HTTP_X_FORWARDED_HOST": "pypi.example:443/pypi"}, "http://pypi.example:443/pypi/", "/simple/"),
        (
            {"HTTP_X_FORWARDED_HOST": "pypi.example/pypi", "PATH_INFO": "/pypi/simple/"},
            "http://pypi.example/pypi/",
            "/simple/",
        ),
        ({"HTTP_X_FORWARDED_PREFIX": "/a/b/", "PATH_INFO": "/a/b"}, "http://inner:8080/a/b/", ""),
        ({"HTTP_X_FORWARDED_PREFIX": "/simp"}, "http://inner:8080/simp/", "/simple/"),
        ({"HTTP_X_FORWARDED_PREFIX": "/evil, /pypi"}, "http://inner:8080/pypi/", "/simple/"),
        ({"HTTP_X_FORWARDED_HOST": "evil.example, second.example"}, "http://second.example/", "/simple/"),
        ({"HTTP_X_FORWARDED_PROTO": "https,http"}, "http://inner:8080/", "/simple/"),
        (
            {"HTTP_FORWARDED": 'for=5.6.7.8;host=evil.example, for=1.2.3.4;host="pypi.example";proto=https'},
            "https://pypi.example/",
            "/simple/",
        ),
        ({"REMOTE_ADDR": "", "HTTP_X_FORWARDED_HOST": "pypi.example"}, "http://pypi.example/", "/simple/"),
        ({"REMOTE_ADDR": "::1", "HTTP_X_FORWARDED_HOST": "pypi.example"}, "http://pypi.example/", "/simple/"),
        (
            {"REMOTE_ADDR": "::ffff:127.0.0.1", "HTTP_X_FORWARDED_HOST": "pypi.example"},
            "http://pypi.example/",
            "/simple/",
        ),
    ],
)
def test_a_trusted_proxy_is_believed(fields: dict[str, str], url: str, path: str) -> None:
    environ = through(**fields)
    assert (base_url(environ), environ["PATH_INFO"]) == (url, path)


STRANGERS = {
    "HTTP_X_FORWARDED_HOST": "evil.example",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_PREFIX": "/evil",
    "HTTP_X_FORWARDED_FOR": "6.6.6.6",
    "HTTP_FORWARDED": "host=evil.example;proto=https;for=6.6.6.6",
}


@pytest.mark.parametrize("name", ALL)
def test_only_what_is_named_is_believed(name: str) -> None:
    def changed(environ: dict[str, Any]) -> dict[str, str]:
        now = {key: environ[key] for key in ("HTTP_HOST", "wsgi.url_scheme", "SCRIPT_NAME", CLIENT)}
        plain = {"HTTP_HOST": "inner:8080", "wsgi.url_scheme": "http", "SCRIPT_NAME": "", CLIENT: "127.0.0.1"}
        return {key: value for key, value in now.items() if value != plain[key]}

    expected = {
        "host": {"HTTP_HOST": "evil.example"},
        "proto": {"wsgi.url_scheme": "https"},
        "prefix": {"SCRIPT_NAME": "/evil"},
        "for": {CLIENT: "6.6.6.6"},
        "forwarded": {"HTTP_HOST": "evil.example", "wsgi.url_scheme": "https", CLIENT: "6.6.6.6"},
    }
    assert changed(through(named=[name], **STRANGERS)) == expected[name]
    assert changed(through(named=[], **STRANGERS)) == {}
    assert changed(through(named=DEFAULT, **STRANGERS)) == {**expected["proto"], **expected["for"]}


@pytest.mark.parametrize("path", ["/simple/demo/", "/simple/demo", "/packages/demo-1.0.tar.gz", "/metrics"])
@pytest.mark.parametrize("named", [DEFAULT, ALL])
def test_no_address_of_ours_is_taken_for_a_prefix(path: str, named: Collection[str]) -> None:
    for field, value in (("PREFIX", path.rstrip("/")), ("HOST", "h" + path.rstrip("/"))):
        for host in ("inner:8080", "pypi"):
            environ = through(named=named, PATH_INFO=path, HTTP_HOST=host, **{f"HTTP_X_FORWARDED_{field}": value})
            assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", path)


def test_with_an_address_given_no_header_says_another() -> None:
    root = "https://pypi.example/pypi/"
    for path in ("/pypi/simple/", "/simple/"):
        environ = through(root=root, PATH_INFO=path, **STRANGERS)
        assert (environ["PATH_INFO"], environ["HTTP_HOST"]) == ("/simple/", "inner:8080")
        assert environ["SCRIPT_NAME"] == path.removesuffix("/simple/")
    # Nor is anyone trusted for it.
    assert through([], root=root, REMOTE_ADDR="192.0.2.1", PATH_INFO="/pypi/simple/")["PATH_INFO"] == "/simple/"
    environ = through(named=DEFAULT, root=root, HTTP_HOST="pypi", **EXAMPLE)
    assert environ["HTTP_HOST"] == "pypi"


EXAMPLE = {"HTTP_X_FORWARDED_HOST": "pypi.example:80/pypi", "PATH_INFO": "/pypi/simple/"}


def test_the_example_of_older_versions_is_recognised() -> None:
    environ = through(named=DEFAULT, HTTP_HOST="pypi", **EXAMPLE)
    assert (base_url(environ), environ["PATH_INFO"]) == ("http://pypi.example:80/pypi/", "/simple/")
    # An upload whose address has no slash at its end.
    environ = through(named=DEFAULT, HTTP_HOST="pypi", **{**EXAMPLE, "PATH_INFO": "/pypi"})
    assert (base_url(environ), environ["PATH_INFO"]) == ("http://pypi.example:80/pypi/", "")


@pytest.mark.parametrize(
    "fields",
    [
        {"HTTP_HOST": "pypi.example"},
        {"HTTP_HOST": "pypi:80"},
        {"HTTP_HOST": "localhost"},
        {"HTTP_HOST": "10.0.0.1"},
        {"PATH_INFO": "/simple/"},
        {"PATH_INFO": "/pypis/simple/"},
        {"HTTP_X_FORWARDED_HOST": "pypi.example/pypi, pypi.example"},
        {"HTTP_X_FORWARDED_HOST": "/pypi"},
        {"REMOTE_ADDR": "192.0.2.1"},
    ],
)
def test_what_only_looks_like_the_example_is_not(fields: dict[str, str]) -> None:
    asked = {"HTTP_HOST": "pypi", **EXAMPLE, **fields}
    environ = through(named=DEFAULT, **asked)
    assert {key: environ[key] for key in ("HTTP_HOST", "SCRIPT_NAME", "PATH_INFO")} == {
        "HTTP_HOST": asked["HTTP_HOST"], "SCRIPT_NAME": "", "PATH_INFO": asked["PATH_INFO"]
    }  # fmt: skip


def test_what_a_header_decides_is_kept_in_no_cache_of_nginx() -> None:
    kept = [("Content-Type", "text/html")]
    assert through(named=DEFAULT, **STRANGERS)["sent"] == kept
    assert through(named=DEFAULT, HTTP_HOST="pypi", **EXAMPLE)["sent"] == [*kept, NEVER_KEPT]
    for name in ("host", "prefix", "forwarded"):
        assert through(named=[name], **STRANGERS)["sent"] == [*kept, NEVER_KEPT]


def test_the_operator_hears_once_of_a_header_that_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    proxy = TrustedProxy(lambda environ, start_response: [], TRUSTED)
    for _ in range(3):
        proxy({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_PREFIX": "/a"}, lambda *_: None)
    assert caplog.text.count("--forwarded-headers for,proto,prefix") == 1


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "nonsense"])
def test_no_one_else_is_believed(address: str) -> None:
    environ = through(
        REMOTE_ADDR=address,
        HTTP_X_FORWARDED_HOST="evil.example",
        HTTP_X_FORWARDED_PROTO="https",
        HTTP_X_FORWARDED_PREFIX="/x",
        HTTP_FORWARDED="host=evil.example",
        HTTP_X_FORWARDED_FOR="1.2.3.4",
    )
    assert base_url(environ) == "http://inner:8080/"
    assert not any("FORWARDED" in name for name in environ) and CLIENT not in environ


def test_with_no_trusted_address_nothing_is_believed() -> None:
    assert base_url(through([], REMOTE_ADDR="", HTTP_X_FORWARDED_HOST="evil.example")) == "http://inner:8080/"


@pytest.mark.parametrize(
    "value",
    [
        "evil.example\r\nX: y",
        "a b",
        "evil.example/../x",
        "evil.example//x",
        "user@evil.example",
        "[::1",
        "/only",
        "evil.example/%0d",
        "evil.example/a?b",
        "-",
        "a:999999",
    ],
)
def test_a_value_that_is_not_of_its_form_is_ignored(value: str) -> None:
    url = base_url(through(HTTP_X_FORWARDED_HOST=value, HTTP_X_FORWARDED_PREFIX=value, HTTP_X_FORWARDED_PROTO="ftp"))
    assert url in ("http://inner:8080/", "http://evil.example/", "http://inner:8080/only/")


def test_the_client_is_the_last_address_no_one_trusted_vouches_for() -> None:
    environ = through(HTTP_X_FORWARDED_FOR="6.6.6.6, 192.0.2.7, 127.0.0.2")
    assert environ[CLIENT] == "192.0.2.7"
    assert through(HTTP_X_FORWARDED_FOR="junk")[CLIENT] == "127.0.0.1"
    hops = 'for=6.6.6.6, for="[2001:db8::7]:4711", for=127.0.0.2:80'
    assert through(HTTP_FORWARDED=hops)[CLIENT] == "2001:db8::7"
    assert through(HTTP_X_FORWARDED_FOR="6.6.6.6, " * 1000 + "192.0.2.7")[CLIENT] == "192.0.2.7"


@pytest.mark.parametrize(
    "host", ["pypi.example.", "pypi.example.:8080", "_pypi.example", "my_pypi", "pypi_", "a", "_", "[::1]:8080"]
)
def test_a_host_that_clients_can_reach_is_repeated(host: str) -> None:
    environ = {"HTTP_HOST": host, "SERVER_NAME": "0.0.0.0", "SERVER_PORT": "8080", "wsgi.url_scheme": "http"}
    assert base_url(environ) == f"http://{host}/"


@pytest.mark.parametrize(
    ("name", "named"),
    [("0.0.0.0", "localhost"), ("::", "localhost"), ("[::]", "localhost"), ("", "localhost"), ("a b", "localhost"),
     ("::1", "[::1]"), ("fe80::1%eth0", "[fe80::1]"), ("127.0.0.1", "127.0.0.1"), ("inner", "inner")],
)  # fmt: skip
def test_no_address_is_named_that_means_every_one(name: str, named: str) -> None:
    environ = {"HTTP_HOST": "..", "SERVER_NAME": name, "SERVER_PORT": "8080", "wsgi.url_scheme": "http"}
    assert base_url(environ) == f"http://{named}:8080/"


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "0.0.0.0:8080", "[::]", "[::]:8080", "[0:0:0:0:0:0:0:0]", "[::ffff:0.0.0.0]:80", "0", "0:8080", "00.0"],
)
def test_a_host_that_is_an_unspecified_address_is_not_repeated(host: str) -> None:
    environ = {"HTTP_HOST": host, "SERVER_NAME": "0.0.0.0", "SERVER_PORT": "8080", "wsgi.url_scheme": "http"}
    assert base_url(environ) == "http://localhost:8080/"


@pytest.mark.parametrize("host", ["", "[::1", "a/b", "a\r\nb", "x" * 3000 + "!"])
def test_a_bad_host_is_not_repeated(host: str) -> None:
    environ = {"HTTP_HOST": host, "SERVER_NAME": "me", "SERVER_PORT": "8080", "wsgi.url_scheme": "http"}
    assert base_url(environ) == "http://me:8080/"
