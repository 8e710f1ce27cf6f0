"""Connections of urllib3 that look at where they lead before they send anything, and that end in time.

urllib3 limits the wait for each read; a server that sends a byte now and then is never late for it. These have an end
for the head of a response and for all of it, and a size of the head.

**Invariants:** an address is judged before it is connected to, and again by the connected socket; the name is looked up
once for both, so no second answer of DNS counts. Imported in functions only, because urllib3 is.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

# Bytes before the body, all interim responses (1xx) included; the largest known have 20 KB.
MAX_HEAD = 1 << 18
# Addresses of a host that are tried.
MAX_ADDRESSES = 8
IsAllowed = Callable[[str], bool]
_buffer = 8192  # what a reader of the head may read beyond it


class AddressRefused(OSError):  # noqa: N818 - named like the others of the tree
    """The host has no address that may be asked."""


@dataclass
class Limits:
    """Of one request: ``stall`` is seconds for a read, the others are times of the monotonic clock."""

    stall: float
    head_by: float
    whole_by: float | None = None


_of_thread = threading.local()


@contextmanager
def limited(limits: Limits) -> Iterator[None]:
    """Requests of this thread have these limits until the block ends; their responses keep them."""
    _of_thread.limits = limits
    try:
        yield
    finally:
        _of_thread.limits = None


class _Timed:
    """A socket whose reads end in time. Made of the socket classes below."""

    end: float | None = None
    stall = 0.0
    left: int | None = None

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        if self.end is not None:
            remaining = self.end - time.monotonic()
            if remaining <= 0:
                raise TimeoutError("timed out")
            wanted, now = min(self.stall, remaining), self.gettimeout()  # type: ignore[attr-defined]
            # Each change is a call of the system, and lets another thread have the interpreter.
            if now is None or not 0.9 * wanted <= now <= wanted:
                self.settimeout(wanted)  # type: ignore[attr-defined]
        count: int = super().recv_into(buffer, nbytes or 0, flags)  # type: ignore[misc]
        if self.left is not None:
            self.left -= count
            if self.left < 0:
                raise OSError("the head of the response is too long")
        return count


class _Socket(_Timed, socket.socket):
    pass


class _TlsSocket(_Timed, ssl.SSLSocket):
    pass


class _Guarded:
    """What both kinds of connection do in another way than urllib3's."""

    is_allowed: IsAllowed | None = None

    def _new_conn(self) -> socket.socket:
        host, port, timeout = self._dns_host, self.port, self.timeout  # type: ignore[attr-defined]
        try:
            return _connected(host, port, timeout, self.socket_options, type(self).is_allowed)  # type: ignore[attr-defined]
        except socket.gaierror as fault:
            raise NameResolutionError(host, self, fault) from fault  # type: ignore[arg-type]
        except AddressRefused:
            raise
        except TimeoutError as fault:
            raise ConnectTimeoutError(self, "timed out") from fault
        except (OSError, UnicodeError) as fault:
            raise NewConnectionError(self, str(fault)) from fault  # type: ignore[arg-type]

    def getresponse(self) -> Any:
        sock, limits = self.sock, getattr(_of_thread, "limits", None)  # type: ignore[attr-defined]
        if not isinstance(sock, _Timed) or limits is None:
            return super().getresponse()  # type: ignore[misc]
        sock.stall, sock.end, sock.left = limits.stall, limits.head_by, MAX_HEAD + _buffer
        response = super().getresponse()  # type: ignore[misc]
        sock.end, sock.left = limits.whole_by or time.monotonic() + 10**9, None
        response.timed_socket = sock
        return response


def _connected(host: str, port: int, timeout: float, options: Any, is_allowed: IsAllowed | None) -> socket.socket:
    """A socket connected to the first address that may be asked and that answers, within the time for all."""
    end = time.monotonic() + timeout
    name = host.strip("[]")
    if len(name) > 253:
        raise UnicodeError("the name of the host is too long")
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    allowed = [each for each in found if is_allowed is None or is_allowed(str(each[4][0]))][:MAX_ADDRESSES]
    if not allowed:
        raise AddressRefused(f"{name} has the address {found[0][4][0]}")
    last: OSError = TimeoutError("timed out")
    for family, kind, protocol, _, address in allowed:
        remaining = end - time.monotonic()
        if remaining <= 0:
            break
        sock = _Socket(family, kind, protocol)
        try:
            for option in options or ():
                sock.setsockopt(*option)
            sock.settimeout(remaining)
            sock.connect(address)
            if is_allowed is not None and not is_allowed(str(sock.getpeername()[0])):
                raise AddressRefused(f"{name} has the address {sock.getpeername()[0]}")
            sock.settimeout(timeout)
            return sock
        except AddressRefused:
            sock.close()
            raise
        except OSError as fault:
            sock.close()
            last = fault
    raise last


def release_by(response: Any, seconds: float) -> None:
    """Let the rest of the response take no longer than this."""
    with contextlib.suppress(AttributeError):
        response.timed_socket.end = time.monotonic() + seconds


def pool_classes(is_allowed: IsAllowed | None) -> dict[str, type[HTTPConnectionPool]]:
    """The classes of urllib3's pools, for connections to addresses that ``is_allowed`` accepts, None for all."""

    class Connection(_Guarded, HTTPConnection):
        pass

    class TlsConnection(_Guarded, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    Connection.is_allowed = TlsConnection.is_allowed = staticmethod(is_allowed) if is_allowed else None
    return {"http": Pool, "https": TlsPool}


def prepare(context: ssl.SSLContext) -> None:
    """Let connections with this context end in time."""
    context.sslsocket_class = _TlsSocket
