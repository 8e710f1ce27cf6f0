"""HTTP requests to other indexes, by urllib3: proxies, certificate authorities, kept connections and limits.

urllib3 ignores the environment, so this module reads what pip, requests and curl read there: proxies and their
exceptions, trusted certificates.

**Invariants:** no redirect is followed, and no body is read further than the caller asks; every wait has a limit; no
exception contains a password. Threads can share a client.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from ..bounded_cache import BoundedCache
from ..errors import PypiServerError
from ..text import one_line
from .addresses import in_ascii
from .authorities import own_authority, trust
from .content_coding import CODINGS, Decoder
from .netrc_file import Login

if TYPE_CHECKING:
    import urllib3

# Bytes; if no more than this is left of a body, it is read, so that the connection can be used again.
SMALL = 1 << 16
# Seconds for the rest of a small body.
REST_SECONDS = 1.0
# Of the memory of which proxy is asked for which server.
CHOSEN_BYTES = 1 << 18


class RequestError(PypiServerError):
    """There was no answer, or not all of it; the message is what the system says, in a few words without a full stop.

    The kind is ``untrusted`` if the certificate was the reason, ``timeout`` for a timeout, ``address`` if the host has
    none that may be asked, else ``unreachable``.
    """


@dataclass(frozen=True, slots=True)
class Response:
    """An answer whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    _raw: urllib3.BaseHTTPResponse
    _stall: float

    def chunks(self, decode: bool = True) -> Iterator[bytes]:
        """The body in pieces as they come, without its content coding unless told otherwise; raises RequestError."""
        import urllib3

        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if decode and coding not in CODINGS:
            raise RequestError(f"it is coded as {one_line(coding)[:40]!r}, which was not asked for", kind="coding")
        decoder = Decoder(coding, SMALL) if decode and coding not in ("", "identity") else None
        moved = time.monotonic()
        try:
            # read() waits until there is as much as is asked for. stream() reads a line of any length before a chunk.
            while data := self._raw.read1(SMALL, decode_content=False):
                for piece in decoder.pieces(data) if decoder else (data,):
                    yield piece
                    moved = time.monotonic()
                if time.monotonic() - moved > self._stall:
                    raise TimeoutError("timed out")
            if decoder:
                decoder.finish()
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
    """Connections to any number of servers, through these proxies (by scheme; ``no`` has the exceptions).

    ``timeout`` is the seconds for a connection, and for each read unless the request says otherwise. Without a proxy,
    only addresses that ``is_allowed`` accepts are connected to.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        proxies: Mapping[str, str],
        *,
        connections: int,
        timeout: float,
        is_allowed: Callable[[str], bool] | None = None,
    ) -> None:
        self._context = context
        self._is_allowed = is_allowed
        self._proxies = proxies
        self._connections = connections
        self._timeout = timeout
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._chosen: BoundedCache[tuple[str, str], str] = BoundedCache(CHOSEN_BYTES)

    @contextmanager
    def get(
        self,
        url: str,
        headers: Mapping[str, str],
        login: Login | None = None,
        *,
        read_seconds: float | None = None,
        end: float | None = None,
    ) -> Iterator[Response]:
        """The answer to a request, even if it is a redirect; raises RequestError.

        Its head takes ``read_seconds`` at most, as does each read of its body. ``end`` is when all of it is here, by
        the monotonic clock.
        """
        stall = self._timeout if read_seconds is None else read_seconds
        fields = {**headers, **(_basic("authorization", login) if login else {})}
        raw = self._ask(in_ascii(url), fields, read_seconds=stall, end=end)
        try:
            yield Response(raw.status, raw.headers, raw, stall)
        finally:
            _give_back(raw)

    def is_direct(self, url: str) -> bool:
        """Whether no proxy is asked for it."""
        return not self._proxy_of(url)

    def close(self) -> None:
        """Close the connections that are kept."""
        for pool in self._pools.values():
            pool.clear()

    def _ask(
        self, url: str, headers: Mapping[str, str], *, read_seconds: float, end: float | None, again: bool = True
    ) -> urllib3.BaseHTTPResponse:
        import urllib3

        from .connections import Limits, limited

        now = time.monotonic()
        head_by = now + self._timeout + read_seconds
        limits = Limits(read_seconds, head_by if end is None else min(head_by, end), end)
        connect_seconds = self._timeout if end is None else max(min(self._timeout, end - now), 0.001)
        try:
            with limited(limits):
                return self._pool(self._proxy_of(url)).request(
                    "GET",
                    url,
                    headers=headers,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    timeout=urllib3.Timeout(connect=connect_seconds, read=read_seconds),
                )
        # An invalid address of a proxy or host is a ValueError.
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as fault:
            # The server may have closed a kept connection meanwhile; that is no fault of the server.
            if again and isinstance(_innermost(fault), ConnectionError):
                return self._ask(url, headers, read_seconds=read_seconds, end=end, again=False)
            raise _failed(fault) from fault

    def _proxy_of(self, url: str) -> str:
        """The proxy for this address, '' for none."""
        if not self._proxies:
            return ""
        parts = urlsplit(url)
        server = parts.scheme, parts.netloc.rpartition("@")[2]
        proxy = self._chosen.get(server)
        if proxy is None:
            # The whole environment is read for it.
            is_excepted = proxy_bypass(server[1]) or _is_in(parts.hostname, self._proxies.get("no", ""))
            proxy = "" if is_excepted else self._proxies.get(parts.scheme) or self._proxies.get("all", "")
            self._chosen.put(server, proxy, size=len(proxy))
        return proxy

    def _pool(self, proxy: str) -> urllib3.PoolManager:
        """The pool of connections, through the proxy if there is one; raises ValueError if its address is invalid."""
        # If two threads make one at once, both use the first.
        return self._pools.get(proxy) or self._pools.setdefault(proxy, self._made(proxy))

    def _made(self, proxy: str) -> urllib3.PoolManager:
        import urllib3

        from .connections import pool_classes, prepare

        prepare(self._context)
        if not proxy:
            direct = urllib3.PoolManager(maxsize=self._connections, ssl_context=self._context)
            direct.pool_classes_by_scheme = pool_classes(self._is_allowed)
            return direct
        address = proxy if "://" in proxy else f"http://{proxy}"
        login = login_in(address)
        through = urllib3.ProxyManager(
            _without_login(address),
            maxsize=self._connections,
            ssl_context=self._context,
            proxy_ssl_context=self._context,
            proxy_headers=_basic("proxy-authorization", login) if login else None,
        )
        through.pool_classes_by_scheme = pool_classes(None)
        return through


def login_in(url: str) -> Login | None:
    """User and password of an address, None if it has none."""
    parts = urlsplit(url)
    return (unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None


def _without_login(url: str) -> str:
    return urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()


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


def _give_back(raw: urllib3.BaseHTTPResponse) -> None:
    """Read the rest of a small body so that the connection can be used again; else close the connection."""
    from .connections import release_by

    release_by(raw, REST_SECONDS)
    with contextlib.suppress(Exception):  # no caller asked for the rest, so its errors do not matter
        length = raw.headers.get("content-length", "")
        if length.isdecimal() and int(length) <= SMALL:
            raw.read(SMALL, decode_content=False)
    raw.close()
    raw.release_conn()


def _failed(fault: Exception) -> RequestError:
    from .connections import AddressRefused

    reason = _innermost(fault)
    kinds = {ssl.SSLError: "untrusted", AddressRefused: "address", TimeoutError: "timeout"}
    kind = next((kind for each, kind in kinds.items() if isinstance(reason, each)), "unreachable")
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
