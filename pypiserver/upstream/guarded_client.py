"""Asks other indexes, and the servers that their pages and redirects name, which may be hostile.

**Invariants:** a server that no setting names is asked at a public address only, which the connected socket confirms
before anything is sent; through a proxy only the host in the address can be judged. Credentials go to the index's own
server and are gone after the first redirect that leaves it. No header but those here is sent. From an index with TLS
nothing leads to a server without. Every wait has an end, and so has every size but that of a body.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit
from urllib.request import getproxies

from .._version import __version__
from ..errors import ConfigError
from ..process import PerProcess
from ..text import one_line
from .addresses import absolute, in_ascii, origin
from .authorities import own_authority, trust
from .client import MAX_PAGE, MAX_REDIRECTS, REDIRECTS
from .errors import HostRefused, Unreachable, UpstreamError
from .http_client import HttpClient, RequestError
from .http_client import Response as RawResponse
from .netrc_file import Login, NetrcFile
from .public_addresses import is_public, may_be_public
from .values import Upstream

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
USER_AGENT = f"pypiserver/{__version__}"
# What may be said beyond who asks.
HEADERS = frozenset({"accept", "accept-encoding", "if-none-match", "if-modified-since", "range", "if-range"})
NO_LOGINS: Mapping[str, Login] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Response:
    """A response after redirects; ``url`` is where it came from, ``headers`` have names in any case."""

    status: int
    headers: Mapping[str, str]
    url: str
    _raw: RawResponse
    _upstream: Upstream

    def chunks(self, decode: bool = True) -> Iterator[bytes]:
        """The body in pieces as they come, without its content coding unless told otherwise; raises UpstreamError."""
        try:
            yield from self._raw.chunks(decode)
        except RequestError as fault:
            kind = fault.kind if fault.kind in ("timeout", "coding") else "broken-off"
            raise UpstreamError(f"The index {self._upstream.url} broke off its answer ({fault}).", kind=kind) from fault

    def read(self, limit: int = MAX_PAGE) -> bytes:
        """The whole body, without its content coding; raises UpstreamError, also for more than ``limit`` bytes."""
        data = bytearray()
        for chunk in self.chunks():
            data += chunk
            if len(data) > limit:
                raise UpstreamError(
                    f"The index {self._upstream.url} sent more than {limit >> 20} MiB for a page.", kind="too-large"
                )
        return bytes(data)


@dataclass(frozen=True, slots=True)
class _Clients:
    """``named`` asks servers that the settings name, ``public`` all others."""

    named: HttpClient
    public: HttpClient


class GuardedClient:
    """Asks these indexes; ``logins`` are by name of an index, for others netrc is looked at. Threads can share it.

    It keeps up to ``connections`` to each server, in each process its own.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        *,
        connections: int,
        logins: Mapping[str, Login] = NO_LOGINS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._connections = connections
        self._connect_seconds = connect_seconds
        self._logins = dict(logins)
        self._netrc = NetrcFile()
        self._named = {each.name: _origins(each) for each in upstreams}
        self._clients = PerProcess(self._made)

    @contextmanager
    def get(
        self,
        upstream: Upstream,
        url: str,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        read_seconds: float = READ_SECONDS,
        total_seconds: float | None = None,
    ) -> Iterator[Response]:
        """The response to a GET after at most five redirects, whatever its status; raises UpstreamError.

        Unreachable has the kinds of RequestError. Another UpstreamError says what the index did: ``address`` and
        ``redirect`` (it names a server that is not to be asked), ``circle``. ``read_seconds`` is the time for the head
        of each response and for each read, ``total_seconds`` for everything.
        """
        own = in_ascii(upstream.url)
        at_home = origin(own)
        end = None if total_seconds is None else time.monotonic() + total_seconds
        sent = {**_checked(headers), "User-Agent": USER_AGENT}
        login = self._login(upstream)
        for _ in range(MAX_REDIRECTS + 1):
            url = self._asked(upstream, own, url)
            server = origin(url)
            if server != at_home:
                login = None
            client = self._client(upstream, server)
            with ExitStack() as stack:
                try:
                    raw = stack.enter_context(client.get(url, sent, login, read_seconds=read_seconds, end=end))
                except RequestError as fault:
                    raise _failed(upstream, url, fault) from fault
                location = raw.headers.get("location")
                if raw.status not in REDIRECTS or location is None:
                    yield Response(raw.status, raw.headers, url, raw, upstream)
                    return
                url = absolute(url, location) or _refuse(upstream, "redirect", "to something that is not to be asked")
        raise UpstreamError(f"The index {upstream.url} sent us in a circle.", kind="circle")

    def close(self) -> None:
        """Close the connections that are kept."""
        clients = self._clients.forget()
        if clients is not None:
            clients.named.close()
            clients.public.close()

    def _asked(self, upstream: Upstream, own: str, url: str) -> str:
        """The address if it may be asked, as far as it says by itself; raises UpstreamError."""
        try:
            address = absolute(own, in_ascii(url))
        except ValueError:
            address = ""
        if not address:
            _refuse(upstream, "address", "to something that is not to be asked")
        host = urlsplit(address).hostname or ""
        if origin(address) not in self._origins(upstream) and not may_be_public(host):
            raise HostRefused(upstream.url, upstream.name, _shown(address))
        return address

    def _client(self, upstream: Upstream, server: str) -> HttpClient:
        try:
            clients = self._clients.get()
        except ConfigError as fault:
            raise Unreachable(f"The index {upstream.url} cannot be asked. {fault}", kind="untrusted") from fault
        return clients.named if server in self._origins(upstream) else clients.public

    def _origins(self, upstream: Upstream) -> frozenset[str]:
        return self._named.get(upstream.name, frozenset())

    def _login(self, upstream: Upstream) -> Login | None:
        return self._logins.get(upstream.name) or self._netrc.login(urlsplit(upstream.url).hostname or "")

    def _made(self) -> _Clients:
        context, proxies = trust(own_authority(os.environ)), getproxies()
        named, public = (
            HttpClient(
                context, proxies, connections=self._connections, timeout=self._connect_seconds, is_allowed=is_allowed
            )
            for is_allowed in (None, is_public)
        )
        return _Clients(named, public)


def blocked_origin(upstream: Upstream, url: str, *, look_up: Callable[[str], list[str]] | None = None) -> str:
    """The server at an address if it would not be asked, '' if it would; ``look_up`` gives the addresses of a host.

    Through a proxy, and where no host of that name is found, the name alone counts.
    """
    try:
        address = absolute(in_ascii(upstream.url), in_ascii(url))
    except ValueError:
        return ""
    if not address or origin(address) in _origins(upstream):
        return ""
    parts = urlsplit(address)
    host, found = parts.hostname or "", []
    if may_be_public(host) and not getproxies().get(parts.scheme):
        with suppress(OSError, UnicodeError):
            found = (look_up or _addresses)(host)
    is_blocked = not may_be_public(host) or (bool(found) and not any(map(is_public, found)))
    return _shown(address) if is_blocked else ""


def _addresses(host: str) -> list[str]:
    return [str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def _shown(url: str) -> str:
    """The server of an address, in a message."""
    return one_line(origin(url))[:200]


def _origins(upstream: Upstream) -> frozenset[str]:
    """The servers that the settings name for an index: its own, with TLS too, and its ``hosts``."""
    own = origin(in_ascii(upstream.url))
    with_tls = {f"https:{own[5:-3]}:443"} if own.startswith("http:") and own.endswith(":80") else set()
    return frozenset({own, *with_tls, *(origin(in_ascii(each)) for each in upstream.hosts)})


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    """These headers; ValueError for one that is not ours to send, so that a client's never gets through."""
    for name in headers:
        if name.lower() not in HEADERS:
            raise ValueError(f"the header {name!r} is not sent to other indexes")
    return headers


def _refuse(upstream: Upstream, kind: str, where: str) -> str:
    raise UpstreamError(
        f"The index {upstream.url} sends us {where}.",
        kind=kind,
    )


def _failed(upstream: Upstream, url: str, fault: RequestError) -> UpstreamError:
    where = _shown(url)
    if fault.kind == "address":
        return HostRefused(upstream.url, upstream.name, where, str(fault))
    return Unreachable(f"The server {where} of the index {upstream.url} cannot be reached ({fault}).", kind=fault.kind)
