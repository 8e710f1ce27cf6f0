"""The WSGI environ (PEP 3333) of a request that arrives by granian's RSGI.

**Invariants:** a header whose name has an underscore is dropped, as nginx drops it, because WSGI cannot tell it from a
header with a hyphen that a proxy sets. A header that comes more than once is one value with commas between, Cookie with
semicolons (RFC 9110 section 5.2, RFC 6265 section 5.4); of Content-Type the first counts. RSGI hides a value that is
not printable ASCII: it is replaced by one that is valid nowhere, and ``HIDDEN`` says when it could be the client's or
our address. RSGI decodes a path: one that was not UTF-8 becomes a path that is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

# True in the environ if the value of Host or of a forwarding header is hidden.
HIDDEN = "pypiserver.server.hidden_header"
# RSGI puts this character into a path in place of bytes that are not UTF-8; we replace it by such a byte, so that the
# path is refused. A path that really has the character is refused too.
_REPLACED = "\ufffd".encode()
_NOT_UTF8 = b"\xff"
# The value of a header that RSGI hides: one character that is not ASCII, as the header had.
_UNKNOWN = "\xff"
_ADDRESSES = frozenset({"host", "forwarded"})
_COMMON = (
    "accept", "accept-encoding", "accept-language", "authorization", "cache-control", "connection", "cookie", "expect",
    "forwarded", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "origin",
    "pragma", "range", "referer", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "te", "transfer-encoding",
    "user-agent", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix",
    "x-forwarded-proto", "x-real-ip",
)  # fmt: skip
_KEYS = {name: f"HTTP_{name.upper().replace('-', '_')}" for name in _COMMON}
_KEYS |= {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
_FIRST_COUNTS = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})


class Scope(Protocol):
    """The parts of RSGI 1.6's scope that are read."""

    http_version: str
    server: str
    client: str
    scheme: str
    method: str
    path: str
    query_string: str
    authority: str | None
    headers: Any


class Head(NamedTuple):
    """All that an environ is made of, but the names of headers whose values are hidden.

    ``host`` is the client's address without its port, ``names`` the number of different names of headers.
    """

    host: str
    server: str
    http_version: str
    scheme: str
    method: str
    path: str
    query_string: str
    authority: str | None
    names: int
    items: tuple[tuple[str, str], ...]


def head_of(scope: Scope, client: str) -> Head:
    """The head of a request; ``client`` is the scope's, which takes RSGI some time to give."""
    headers = scope.headers
    # The constructor of a named tuple takes three times as long.
    return tuple.__new__(
        Head,
        (
            _host(client),
            scope.server,
            scope.http_version,
            scope.scheme,
            scope.method,
            scope.path,
            scope.query_string,
            scope.authority,
            len(headers),
            tuple(headers.items()),
        ),
    )


class Environs:
    """Makes environs; ``own`` is put into each of them."""

    def __init__(self, own: Mapping[str, Any]) -> None:
        self._base = {
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SCRIPT_NAME": "",
            "SERVER_SOFTWARE": "granian",
            "wsgi.errors": sys.stderr,
            "wsgi.input_terminated": True,
            "wsgi.multiprocess": False,
            "wsgi.multithread": True,
            "wsgi.run_once": False,
            "wsgi.version": (1, 0),
            **own,
        }
        self._server = ("", "", "")

    def of(self, scope: Scope) -> dict[str, Any]:
        """The environ of a request, a new one each time; the caller adds the body."""
        return self.of_head(head_of(scope, scope.client), scope.headers)

    def of_head(self, head: Head, headers: Any) -> dict[str, Any]:
        """The same; of ``headers`` only the names are read, if some have hidden values."""
        environ: dict[str, Any] = self._base.copy()
        host, server, version, scheme, environ["REQUEST_METHOD"], path, query, authority, names, items = head
        environ["PATH_INFO"] = path if path.isascii() else _as_bytes(path)
        environ["QUERY_STRING"] = query if query.isascii() else query.encode().decode("latin-1")
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if version == "1.1" else "HTTP/1.0"
        environ["wsgi.url_scheme"] = scheme
        environ["REMOTE_ADDR"] = host
        _, environ["SERVER_NAME"], environ["SERVER_PORT"] = self._listening(server)
        size = len(environ)
        dropped = _add_headers(environ, items)
        if names != len(environ) - size + dropped:
            _add_hidden(environ, headers)
        if "HTTP_HOST" not in environ:
            environ["HTTP_HOST"] = authority or ""
        return environ

    def _listening(self, server: str) -> tuple[str, str, str]:
        if self._server[0] != server:
            self._server = (server, _host(server), server.rpartition(":")[2])
        return self._server


def _add_headers(environ: dict[str, Any], items: Iterable[tuple[str, str]]) -> int:
    """Add these headers; returns how many names were dropped."""
    dropped = set()
    for name, value in items:
        key = _KEYS.get(name)
        if key is None:
            if "_" in name:
                dropped.add(name)
                continue
            key = _key(name)
        if key not in environ:
            environ[key] = value
        elif key not in _FIRST_COUNTS:
            environ[key] = f"{environ[key]}{';' if key == 'HTTP_COOKIE' else ','}{value}"
    return len(dropped)


def _add_hidden(environ: dict[str, Any], headers: Any) -> None:
    for name in headers.keys():  # noqa: SIM118 - no dict
        key = _KEYS.get(name) or _key(name)
        if "_" not in name and key not in environ:
            environ[key] = _UNKNOWN
            if name in _ADDRESSES or name.startswith("x-forwarded-"):
                environ[HIDDEN] = True


def _key(name: str) -> str:
    return f"HTTP_{name.upper().replace('-', '_')}"


def _as_bytes(path: str) -> str:
    return path.encode().replace(_REPLACED, _NOT_UTF8).decode("latin-1")


def _host(address: str) -> str:
    """The host of ``host:port``, an IPv6 address without its brackets."""
    host = address.rpartition(":")[0]
    return host[1:-1] if host.startswith("[") else host


def content_length(environ: dict[str, Any]) -> int | None:
    """How many bytes the request's body has, None if only its end tells."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return None
    length = environ.get("CONTENT_LENGTH", "")
    # hyper has refused every other value.
    return int(length) if length.isascii() and length.isdigit() else 0
