"""A request's environ, made of granian's scope: what is in it is what every server puts there."""

from __future__ import annotations

from typing import Any

import pytest

from pypiserver.server.wsgi_environ import HIDDEN, Environs

from ..rsgi import Headers, Scope


def environ_of(*pairs: tuple[str, str], **scope: Any) -> dict[str, Any]:
    return Environs({}).of(Scope(headers=Headers(pairs), **scope))


def test_names_with_an_underscore_are_dropped() -> None:
    found = environ_of(("X_Forwarded_Proto", "https"), ("X-Forwarded-For", "10.0.0.1"), ("content_length", "9"))
    assert found["HTTP_X_FORWARDED_FOR"] == "10.0.0.1"
    assert not {"HTTP_X_FORWARDED_PROTO", "CONTENT_LENGTH", "HTTP_CONTENT_LENGTH"} & found.keys()


def test_a_hidden_value_is_valid_nowhere_and_may_be_no_address() -> None:
    found = environ_of(("Host", "a"), ("User-Agent", "caf\xe9"), ("Accept", "a"), ("Accept", "b"), ("X_Y", "1"))
    assert (found["HTTP_USER_AGENT"], found["HTTP_HOST"], HIDDEN in found) == ("\xff", "a", False)
    for name in ("Host", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded"):
        hidden = environ_of(("X-Odd", "1"), ("X-Odd", "2"), (name, "\xff, 10.0.0.1"), ("X_Z", "1"))
        assert (hidden[f"HTTP_{name.upper().replace('-', '_')}"], hidden[HIDDEN]) == ("\xff", True)
    assert HIDDEN not in environ_of(("Host", "a"), ("Host", "b"), ("X_Forwarded_Host", "\xff"))


def test_a_header_that_comes_twice_is_a_list() -> None:
    found = environ_of(
        ("Accept", "a"), ("Accept", "b"), ("Cookie", "c=1"), ("Cookie", "d=2"), ("Host", "a"), ("Host", "b"),
        ("Content-Type", "text/xml"), ("Content-Type", "multipart/form-data"), ("X-Odd-One", "1"), ("X-Odd-One", "2"),
    )  # fmt: skip
    names = ("HTTP_ACCEPT", "HTTP_COOKIE", "HTTP_HOST", "CONTENT_TYPE", "HTTP_X_ODD_ONE")
    assert [found[name] for name in names] == ["a,b", "c=1;d=2", "a,b", "text/xml", "1,2"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/simple/", "/simple/"), ("/caf\xe9/", "/caf\xc3\xa9/"), ("/a\ufffdb/\xe9", "/a\xffb/\xc3\xa9")],
)
def test_a_path_is_bytes_as_characters(path: str, expected: str) -> None:
    assert environ_of(path=path)["PATH_INFO"] == expected


def test_addresses_and_version() -> None:
    found = environ_of(client="[::1]:50000", server="[::]:8080", http_version="1", query_string="a=%C3\xe9")
    assert (found["REMOTE_ADDR"], found["SERVER_NAME"], found["SERVER_PORT"]) == ("::1", "::", "8080")
    assert (found["SERVER_PROTOCOL"], found["QUERY_STRING"], found["HTTP_HOST"]) == ("HTTP/1.0", "a=%C3\xc3\xa9", "")
