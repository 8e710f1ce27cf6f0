"""HTTP requests to other indexes, by urllib3: proxies, certificate authorities, netrc, kept connections and limits.

urllib3 ignores the environment, so this module reads what pip, requests and curl read there: proxies and their
exceptions, trusted certificates, netrc.

**Invariants:** no redirect is followed, and no body is read further than the caller asks; every wait has a limit; no
exception contains a password. Threads can share a client.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import netrc
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from ..errors import ConfigError, PypiServerError
from ..text import one_line

if TYPE_CHECKING:
    import urllib3

# These name a private certificate authority; the first that is set counts, in the order of the programs that read them.
CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
# Bytes; if no more than this is left of a body, it is read, so that the connection can be used again.
SMALL = 1 << 16
Login = tuple[str, str]


class RequestError(PypiServerError):
    """There was no answer, or not all of it; the message is what the system says, in a few words without a full stop.

    The kind is ``untrusted`` if the certificate was the reason, else ``unreachable``.
    """


@dataclass(frozen=True, slots=True)
class Response:
    """An answer whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    _raw: urllib3.BaseHTTPResponse

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces, without its content coding; raises RequestError."""
        import urllib3

        try:
            yield from self._raw.stream(SMALL, decode_content=True)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as fault:
            raise _failed(fault) from fault


@contextmanager
def open_client(*, connections: int, timeout: float) -> Iterator[HttpClient]:
    """A client with the proxies, certificates and netrc that the environment names now.

    It keeps up to ``connections`` to each server; ``timeout`` is seconds without a byte. Raises ConfigError.
    """
    client = HttpClient(trust(own_authority(os.environ)), getproxies(), connections=connections, timeout=timeout)
    try:
        yield client
    finally:
        client.close()


class HttpClient:
    """Connections to any number of servers, through these proxies (by scheme; ``no`` has the exceptions)."""

    def __init__(
        self, context: ssl.SSLContext, proxies: Mapping[str, str], *, connections: int, timeout: float
    ) -> None:
        self._context = context
        self._proxies = proxies
        self._connections = connections
        self._timeout = timeout
        self._pools: dict[str, urllib3.PoolManager] = {}

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str], login: Login | None = None) -> Iterator[Response]:
        """The answer to a request, even if it is a redirect; raises RequestError."""
        raw = self._ask(_in_ascii(url), {**headers, **(_basic("authorization", login) if login else {})})
        try:
            yield Response(raw.status, raw.headers, raw)
        finally:
            _give_back(raw)

    def close(self) -> None:
        """Close the connections that are kept."""
        for pool in self._pools.values():
            pool.clear()

    def _ask(self, url: str, headers: Mapping[str, str], *, again: bool = True) -> urllib3.BaseHTTPResponse:
        import urllib3

        try:
            return self._pool(self._proxy_of(url)).request(
                "GET",
                url,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=self._timeout, read=self._timeout),
            )
        # An invalid address of a proxy or host is a ValueError.
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as fault:
            # The server may have closed a kept connection meanwhile; that is no fault of the server.
            if again and isinstance(_innermost(fault), ConnectionError):
                return self._ask(url, headers, again=False)
            raise _failed(fault) from fault

    def _proxy_of(self, url: str) -> str:
        """The proxy for this address, '' for none."""
        parts = urlsplit(url)
        if proxy_bypass(parts.netloc.rpartition("@")[2]) or _is_in(parts.hostname, self._proxies.get("no", "")):
            return ""
        return self._proxies.get(parts.scheme) or self._proxies.get("all", "")

    def _pool(self, proxy: str) -> urllib3.PoolManager:
        """The pool of connections, through the proxy if there is one; raises ValueError if its address is invalid."""
        # If two threads make one at once, both use the first.
        return self._pools.get(proxy) or self._pools.setdefault(proxy, self._made(proxy))

    def _made(self, proxy: str) -> urllib3.PoolManager:
        import urllib3

        if not proxy:
            return urllib3.PoolManager(maxsize=self._connections, ssl_context=self._context)
        address = proxy if "://" in proxy else f"http://{proxy}"
        login = login_in(address)
        return urllib3.ProxyManager(
            _without_login(address),
            maxsize=self._connections,
            ssl_context=self._context,
            proxy_ssl_context=self._context,
            proxy_headers=_basic("proxy-authorization", login) if login else None,
        )


def own_authority(environ: Mapping[str, str]) -> str | None:
    """The file or folder of trusted certificates that the environment names; raises ConfigError if it is missing."""
    for name in CA_VARIABLES:
        place = environ.get(name)
        if place and not Path(place).exists():
            raise ConfigError(
                f"The variable {name} names {place!r} as trusted certificates, and that does not exist.",
                kind="missing",
                setting=name,
                value=place,
                source=name,
            )
        if place:
            return place
    return None


def login_in(url: str) -> Login | None:
    """User and password of an address, None if it has none."""
    parts = urlsplit(url)
    return (unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None


def _without_login(url: str) -> str:
    return urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()


def login_for(host: str) -> Login | None:
    """The netrc entry for the host: from the file that the variable NETRC names, or from the user's own."""
    named = os.environ.get("NETRC")
    for place in [named] if named else ["~/.netrc", "~/_netrc"]:
        # As in pip and requests, an unreadable file counts as missing; the message for the resulting 401 names netrc.
        with contextlib.suppress(OSError, netrc.NetrcParseError, UnicodeError):
            if found := netrc.netrc(os.path.expanduser(place)).authenticators(host):  # noqa: PTH111 - may be no path
                return found[0] or found[1] or "", found[2] or ""
    return None


def trust(authority: str | None) -> ssl.SSLContext:
    """The trusted certificates: those of the named authority, or those of the system."""
    from urllib3.util import create_urllib3_context

    context = create_urllib3_context()
    context.check_hostname, context.verify_mode = True, ssl.CERT_REQUIRED
    # pip accepts certificates of private authorities that lack an RFC 5280 extension; Python 3.13 does not by default.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if authority:
        is_folder = Path(authority).is_dir()
        context.load_verify_locations(None if is_folder else authority, authority if is_folder else None)
        return context
    context.load_default_certs()
    folder = ssl.get_default_verify_paths().capath
    # Python for macOS includes none, and neither do images without ca-certificates.
    if not context.cert_store_stats()["x509_ca"] and not (folder and any(Path(folder).iterdir())):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _basic(name: str, login: Login) -> dict[str, str]:
    """Basic authentication (RFC 7617) in UTF-8, as curl and browsers send it."""
    return {name: "Basic " + base64.b64encode(":".join(login).encode()).decode()}


def _is_in(host: str | None, exceptions: str) -> bool:
    """Whether the host is an address in one of the networks (10.0.0.0/8) among the exceptions."""
    for each in exceptions.split(","):
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host or "") in ipaddress.ip_network(each.strip(), strict=False):
                return True
    return False


def _in_ascii(url: str) -> str:
    """The address with its host as DNS spells it."""
    host = urlsplit(url).hostname or ""
    return url if host.isascii() else url.replace(host, host.encode("idna").decode(), 1)


def _give_back(raw: urllib3.BaseHTTPResponse) -> None:
    """Read the rest of a small body so that the connection can be used again; else close the connection."""
    with contextlib.suppress(Exception):  # no caller asked for the rest, so its errors do not matter
        length = raw.headers.get("content-length", "")
        if length.isdecimal() and int(length) <= SMALL:
            raw.read(SMALL, decode_content=False)
    raw.close()
    raw.release_conn()


def _failed(fault: Exception) -> RequestError:
    reason = _innermost(fault)
    kind = "untrusted" if isinstance(reason, ssl.SSLError) else "unreachable"
    return RequestError(_in_words(reason), kind=kind)


def _innermost(fault: BaseException) -> BaseException:
    """The operating system's error inside the wrappers of urllib3, or the innermost wrapper."""
    seen: set[int] = set()
    while id(fault) not in seen and not (isinstance(fault, OSError) and fault.strerror):
        seen.add(id(fault))
        context = None if fault.__suppress_context__ else fault.__context__
        below = (getattr(fault, "reason", None), *fault.args, fault.__cause__, context)
        fault = next((each for each in below if isinstance(each, BaseException)), fault)
    return fault


def _in_words(reason: BaseException) -> str:
    """The system's message, in one short line without the password of a proxy."""
    words = getattr(reason, "verify_message", None) or getattr(reason, "strerror", None) or str(reason)
    return re.sub(r"//[^/@\s]+@", "//", one_line(str(words)))[:200] or type(reason).__name__
