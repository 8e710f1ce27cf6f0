"""Requests that come through a proxy: which address the client used.

X-Forwarded-Host, -Proto, -Prefix and -For and Forwarded (RFC 7239) are believed from trusted addresses only, and taken
out of every other request. The rules to keep: a value that is not exactly of its form is ignored; what comes out of
here is WSGI's own (``wsgi.url_scheme``, ``HTTP_HOST``, ``SCRIPT_NAME``), so nothing below knows that proxies exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

from ..facts import CLIENT

Network = IPv4Network | IPv6Network
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_HEADERS = (
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_FORWARDED",
)
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# The name of a host has 253 characters at most, and a colon and a port follow.
MAX_HOST = 260
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_FORWARDED = re.compile(r'(?:^|;)\s*([A-Za-z]+)=(?:"([^"\\]*)"|([^\s;,"]*))\s*(?=;|$)')


class TrustedProxy:
    """WSGI middleware that believes the forwarding headers of the ``trusted`` networks."""

    def __init__(self, application: WSGI, trusted: Sequence[Network]) -> None:
        self._application = application
        self._trusted = tuple(trusted)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        found = [name for name in _HEADERS if name in environ]
        if found:
            if self._is_trusted(environ.get("REMOTE_ADDR", "")):
                self._believe(environ)
            for name in found:
                environ.pop(name, None)
        path = environ.get("PATH_INFO", "")
        if path.startswith("//"):
            # An address that was joined carelessly. Some servers take this away before we see it, others do not.
            environ["PATH_INFO"] = "/" + path.lstrip("/")
        return self._application(environ, start_response)

    def _is_trusted(self, address: str) -> bool:
        if not address:
            # A Unix socket has no address: whoever may connect to it is on this machine.
            return bool(self._trusted)
        try:
            client = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(client, "ipv4_mapped", None)
        return any((mapped or client) in network for network in self._trusted)

    def _believe(self, environ: dict[str, Any]) -> None:
        forwarded = _first_forwarded(environ.get("HTTP_FORWARDED", ""))
        host, slash, path = _first(environ.get("HTTP_X_FORWARDED_HOST", "")).partition("/")
        host = host or forwarded.get("host", "")
        scheme = (_first(environ.get("HTTP_X_FORWARDED_PROTO", "")) or forwarded.get("proto", "")).lower()
        prefix = _first(environ.get("HTTP_X_FORWARDED_PREFIX", "")) or (slash + path)
        prefix = prefix.rstrip("/")
        if _HOST.fullmatch(host):
            environ["HTTP_HOST"] = host
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        if _PREFIX.fullmatch(prefix):
            _mount(environ, prefix)
        environ[CLIENT] = self._client(environ)

    def _client(self, environ: Mapping[str, Any]) -> str:
        """The last address that no trusted proxy vouches for: what stands before it may be anybody's invention."""
        hops = [hop.strip() for hop in str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(",")][-20:]
        client = str(environ.get("REMOTE_ADDR", ""))
        for hop in reversed(hops):
            try:
                client = str(ip_address(hop))
            except ValueError:
                break
            if not self._is_trusted(client):
                break
        return client


def _mount(environ: dict[str, Any], prefix: str) -> None:
    """Serve below ``prefix``; a proxy may have left it in the path, or taken it away."""
    environ["SCRIPT_NAME"] = prefix + str(environ.get("SCRIPT_NAME", "")).rstrip("/")
    path = str(environ.get("PATH_INFO", ""))
    if path == prefix or path.startswith(f"{prefix}/"):
        environ["PATH_INFO"] = path[len(prefix) :]


def _first(value: str) -> str:
    """The first member of a list: with several proxies, the one that is nearest to the client."""
    return value.partition(",")[0].strip()


def _first_forwarded(value: str) -> dict[str, str]:
    pairs = _FORWARDED.finditer(value.partition(",")[0].strip()[:1000])
    return {match[1].lower(): match[2] if match[2] is not None else match[3] for match in pairs}


def base_url(environ: Mapping[str, Any]) -> str:
    """Our root as the client sees it, ``scheme://host/`` with the prefix, if there is one, and a slash at the end."""
    host = str(environ.get("HTTP_HOST", ""))
    if len(host) > MAX_HOST or not _HOST.fullmatch(host):
        host = f"{environ.get('SERVER_NAME', 'localhost')}:{environ.get('SERVER_PORT', '80')}"
    prefix = str(environ.get("SCRIPT_NAME", "")).strip("/")
    return f"{environ.get('wsgi.url_scheme', 'http')}://{host}/" + (f"{prefix}/" if prefix else "")


def is_secure(url: str) -> bool:
    """Whether an address is at a potentially trustworthy origin (W3C Secure Contexts): by TLS, or on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")
