"""Which forwarding headers are believed, from whom, and what they change."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from pypiserver.web.proxy import CLIENT, TrustedProxy, base_url

TRUSTED = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


def through(trusted: list[Any] = TRUSTED, **fields: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: object) -> list[bytes]:
        seen.update(environ)
        return []

    environ = {
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "inner:8080",
        "wsgi.url_scheme": "http",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/simple/",
        **fields,
    }
    TrustedProxy(application, trusted)(environ, lambda *arguments: None)
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
        ({"HTTP_X_FORWARDED_HOST": "first.example, second.example"}, "http://first.example/", "/simple/"),
        (
            {"HTTP_FORWARDED": 'for=1.2.3.4;host="pypi.example";proto=https, for=5.6.7.8'},
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


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "nonsense"])
def test_nobody_else_is_believed(address: str) -> None:
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


def test_the_client_is_the_last_address_nobody_trusted_vouches_for() -> None:
    environ = through(HTTP_X_FORWARDED_FOR="6.6.6.6, 192.0.2.7, 127.0.0.2")
    assert environ[CLIENT] == "192.0.2.7"
    assert through(HTTP_X_FORWARDED_FOR="junk")[CLIENT] == "127.0.0.1"


@pytest.mark.parametrize("host", ["", "[::1", "a/b", "a\r\nb", "x" * 3000 + "!"])
def test_a_bad_host_is_not_repeated(host: str) -> None:
    environ = {"HTTP_HOST": host, "SERVER_NAME": "me", "SERVER_PORT": "8080", "wsgi.url_scheme": "http"}
    assert base_url(environ) == "http://me:8080/"
