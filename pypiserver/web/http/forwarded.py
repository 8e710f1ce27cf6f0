"""Requests that come through a proxy: which address the client used.

**Invariants:** a forwarding header is trusted when ``--forwarded-headers`` names it and it comes from a trusted
address; it is removed from every other request, because a proxy passes on headers that it does not set, and those may
be a stranger's. Of a list the last member counts, which the proxy next to us wrote. A value that is not exactly of its
form is ignored. With ``--server-base-url`` no header sets host and prefix. The result is in WSGI's own variables
(``wsgi.url_scheme``, ``HTTP_HOST``, ``SCRIPT_NAME``), so no inner layer knows that proxies exist.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from ...request_info import CLIENT
from ...text import url_host

Network = IPv4Network | IPv6Network
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_LOG = logging.getLogger(__name__)
DEFAULT = ("proto", "for")
SEEN_HOST = "pypiserver.seen_host"  # str: what a browser may take for our host, used for comparisons only
REWRITTEN = "pypiserver.rewritten"  # True: the path may have bypassed the access rules of a proxy
NEVER_KEPT = ("X-Accel-Expires", "0")  # nginx caches no such response, whichever headers it is told to ignore
_HEADERS = {
    "host": "HTTP_X_FORWARDED_HOST",
    "proto": "HTTP_X_FORWARDED_PROTO",
    "prefix": "HTTP_X_FORWARDED_PREFIX",
    "for": "HTTP_X_FORWARDED_FOR",
    "forwarded": "HTTP_FORWARDED",
}
_NAMES = tuple(_HEADERS.values())
# The first segments of our own addresses. Below such a prefix one address would have two meanings. "pypi" is not one of
# them: many proxies serve us there, and its addresses mean the same with the prefix and without.
_OWN = frozenset({"simple", "packages", "project", "projects", "static", "metrics", "legacy", "RPC2", "favicon.ico"})
_HOPS = 20
# Host names may contain an underscore, and a dot at the end.
_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# 0.0.0.0 in every spelling that clients accept ("0"), and IPv6's with or without an IPv4 address in it.
_UNSPECIFIED = re.compile(r"(?:[0.]+|\[(?:[0:.]|::ffff:)+\])(?::[0-9]{1,5})?", re.IGNORECASE)
# A host name has 253 characters at most; a colon and a port follow.
MAX_HOST = 260
_IN_PATH = "/~!$&'()*+,;=:@"  # characters a path may have unquoted (RFC 3986 section 3.3)
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
# The name of nginx's own "upstream", which it sends as Host by default: no dot, no port.
_UPSTREAM = re.compile(r"(?!localhost$)[A-Za-z][A-Za-z0-9_-]*")
_FORWARDED = re.compile(r'(?:^|;)\s*([A-Za-z]+)=(?:"([^"\\]*)"|([^\s;,"]*))\s*(?=;|$)')


class TrustedProxy:
    """WSGI middleware that trusts the ``named`` forwarding headers from the ``trusted`` networks.

    ``base_url`` is our root URL as the operator sets it, or its path alone; if empty, it comes from each request.
    """

    def __init__(
        self,
        application: WSGI,
        trusted: Sequence[Network],
        *,
        named: Collection[str] = DEFAULT,
        base_url: str = "",
    ) -> None:
        self._application = application
        self._trusted = tuple(trusted)
        self._host = urlsplit(base_url).netloc.rpartition("@")[2]
        # PEP 3333 passes each byte of a path as a character.
        path = unquote_to_bytes(urlsplit(base_url).path.rstrip("/")).decode("latin-1")
        # A whole URL does not say whether the proxy leaves the path in; one of our own segments may be all that is left
        # of it.
        self._base = "" if self._host and _first(path) in _OWN else path
        self._named = frozenset(named) - ({"host", "prefix"} if self._host else {"prefix"} if path else set())
        self._reads_host = not self._host
        self._reads_prefix = not path
        self._has_warned = False

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        found = [name for name in _NAMES if name in environ]
        if found:
            if self._is_trusted(environ.get("REMOTE_ADDR", "")) and self._believe(environ):
                # The page at an address depends on a header: a cache keyed by address must not store it.
                start_response = _never_kept(start_response)
            for name in found:
                environ.pop(name, None)
        _drop_slashes(environ)
        if self._host:
            environ[SEEN_HOST] = self._host
        if self._base:
            self._take_off_base(environ)
            _drop_slashes(environ)
        return self._application(environ, start_response)

    def _take_off_base(self, environ: dict[str, Any]) -> None:
        """Serve below the operator's path, which a server that mounts us, or a proxy, may have removed already."""
        mounted = str(environ.get("SCRIPT_NAME", "")).rstrip("/")
        if not mounted.endswith(self._base) and _has_prefix(environ, self._base):
            environ["PATH_INFO"] = environ["PATH_INFO"][len(self._base) :]
            environ["SCRIPT_NAME"] = mounted + self._base
        elif not self._host:
            environ["SCRIPT_NAME"] = self._base

    def _is_trusted(self, address: str) -> bool:
        if not address:
            # A Unix socket has no address: every client that can connect to it is on this machine.
            return bool(self._trusted)
        try:
            client = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(client, "ipv4_mapped", None)
        return any((mapped or client) in network for network in self._trusted)

    def _believe(self, environ: dict[str, Any]) -> bool:
        """Apply the named headers; returns whether they changed the address of the request."""
        value = {name: _last(environ.get(_HEADERS[name], "")) if name in self._named else "" for name in _HEADERS}
        forwarded = _pairs(value["forwarded"])
        scheme = (value["proto"] or forwarded.get("proto", "")).lower()
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        environ[CLIENT] = self._client(environ)
        # No page can make a browser send this header, so comparing with it is safe whether it is named or not.
        environ[SEEN_HOST] = _last(environ.get("HTTP_X_FORWARDED_HOST", "")).partition("/")[0]
        if not self._reads_host:
            return False
        if "host" not in self._named and (told := _example(environ)) is not None:
            environ["HTTP_HOST"], prefix = told
            environ[REWRITTEN] = True
        else:
            self._tell_what_is_ignored(environ)
            host, slash, path = value["host"].partition("/")
            host = host or forwarded.get("host", "")
            prefix = (value["prefix"] or slash + path).rstrip("/")
            if _HOST.fullmatch(host):
                environ["HTTP_HOST"] = host
            elif not _is_prefix(prefix):
                return False
        if _is_prefix(prefix) and self._reads_prefix:
            _mount(environ, prefix)
        return True

    def _tell_what_is_ignored(self, environ: Mapping[str, Any]) -> None:
        """Warn the operator, once, about a header that older versions trusted by default."""
        asked = ("host", "prefix") if self._reads_prefix else ("host",)
        ignored = [name for name in asked if name not in self._named and _HEADERS[name] in environ]
        if ignored and not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "X-Forwarded-%s is ignored. If your proxy sets it in every request, name it: "
                "--forwarded-headers %s; or give the address with --server-base-url.",
                ignored[0].title(),
                ",".join([*sorted(self._named), *ignored]),
            )

    def _client(self, environ: Mapping[str, Any]) -> str:
        """The last address that no trusted proxy vouches for: any client can invent those before it."""
        client = str(environ.get("REMOTE_ADDR", ""))
        for hop in self._hops(environ):
            try:
                client = str(ip_address(hop))
            except ValueError:
                break
            if not self._is_trusted(client):
                break
        return client

    def _hops(self, environ: Mapping[str, Any]) -> Iterator[str]:
        """The addresses that proxies report, the nearest first."""
        if "for" in self._named and "HTTP_X_FORWARDED_FOR" in environ:
            for hop in reversed(str(environ["HTTP_X_FORWARDED_FOR"]).rsplit(",", _HOPS)[-_HOPS:]):
                yield hop.strip()
        elif "forwarded" in self._named:
            for member in reversed(str(environ.get("HTTP_FORWARDED", "")).rsplit(",", _HOPS)[-_HOPS:]):
                # An IPv6 address is in brackets; either may have a port (RFC 7239 section 6).
                hop = _pairs(member.strip()).get("for", "")
                yield hop[1:].partition("]")[0] if hop.startswith("[") else hop.partition(":")[0]


def _example(environ: Mapping[str, Any]) -> tuple[str, str] | None:
    """Host and prefix of a proxy set up by the example of version 1.3 to 2.x, None for any other request.

    That example sets ``X-Forwarded-Host $host:$server_port/pypi`` and no Host line: so Host is the name of nginx's
    upstream, and the path begins with the prefix, which is not an address of ours. A client's header of the same form
    reaches only what that client could request itself: neither metrics nor health (``REWRITTEN``), and no cache
    (``NEVER_KEPT``).
    """
    host, slash, path = _last(environ.get("HTTP_X_FORWARDED_HOST", "")).partition("/")
    prefix = (slash + path).rstrip("/")
    is_alike = (
        _UPSTREAM.fullmatch(str(environ.get("HTTP_HOST", "")))
        and _HOST.fullmatch(host)
        and _is_prefix(prefix)
        and f"{environ.get('PATH_INFO', '')}/".startswith(f"{prefix}/")
    )
    return (host, prefix) if is_alike else None


def _is_prefix(text: str) -> bool:
    return _PREFIX.fullmatch(text) is not None and _first(text) not in _OWN


def _first(path: str) -> str:
    """The first segment of a path that begins with a slash."""
    return path.lstrip("/").partition("/")[0]


def _has_prefix(environ: Mapping[str, Any], prefix: str) -> bool:
    path = str(environ.get("PATH_INFO", ""))
    return path == prefix or path.startswith(f"{prefix}/")


def _mount(environ: dict[str, Any], prefix: str) -> None:
    """Serve below the ``prefix`` that the proxy names, whether the proxy removed it from the path or not."""
    environ["SCRIPT_NAME"] = prefix + str(environ.get("SCRIPT_NAME", "")).rstrip("/")
    if _has_prefix(environ, prefix):
        environ["PATH_INFO"] = environ["PATH_INFO"][len(prefix) :]


def _drop_slashes(environ: dict[str, Any]) -> None:
    """Drop repeated slashes at the start of a path; some servers do so before we see it, others do not."""
    path = environ.get("PATH_INFO", "")
    if path.startswith("//"):
        environ[REWRITTEN] = True
        environ["PATH_INFO"] = "/" + path.lstrip("/")


def _never_kept(start_response: Callable[..., Any]) -> Callable[..., Any]:
    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*(each for each in headers if each[0] != NEVER_KEPT[0]), NEVER_KEPT], *more)

    return start


def _last(value: str) -> str:
    """The last member of a list, which the proxy next to us wrote; a stranger may have written those before it."""
    return value.rpartition(",")[2].strip()


def _pairs(member: str) -> dict[str, str]:
    """The parameters of one member of a Forwarded header."""
    pairs = _FORWARDED.finditer(member[:1000])
    return {match[1].lower(): match[2] if match[2] is not None else match[3] for match in pairs}


def base_url(environ: Mapping[str, Any]) -> str:
    """Our root as the client sees it: ``scheme://host/``, with the prefix if there is one, and a slash at the end.

    The address we listen on takes the place of a host that is not valid, or is an unspecified address (0.0.0.0), by
    which only a client on this machine can reach us.
    """
    host = str(environ.get("HTTP_HOST", ""))
    if len(host) > MAX_HOST or not _HOST.fullmatch(host) or _UNSPECIFIED.fullmatch(host):
        host = f"{_own_name(str(environ.get('SERVER_NAME', '')))}:{environ.get('SERVER_PORT', '80')}"
    prefix = quote(str(environ.get("SCRIPT_NAME", "")).strip("/").encode("latin-1", "replace"), safe=_IN_PATH)
    return f"{environ.get('wsgi.url_scheme', 'http')}://{host}/" + (f"{prefix}/" if prefix else "")


def root_url(fixed: str, environ: Mapping[str, Any]) -> str:
    """Our root as the operator gives it (``fixed``) or, where that is empty, as the client sees it; ends in a slash."""
    return (fixed or base_url(environ)).rstrip("/") + "/"


def _own_name(listens: str) -> str:
    """The host by which a URL names the address we listen on; "localhost" for one that means every address."""
    try:
        address = ip_address(listens.strip("[]").partition("%")[0])
    except ValueError:
        return listens if _HOST.fullmatch(listens) else "localhost"
    if address.is_unspecified:
        return "localhost"
    return url_host(str(address))


def is_secure(url: str) -> bool:
    """Whether a URL has a potentially trustworthy origin (W3C Secure Contexts): over TLS, or on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")
