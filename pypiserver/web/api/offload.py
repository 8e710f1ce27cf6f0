"""How the bytes of a file in a bucket get to a client without passing through here: by redirect, or through nginx.

The rules to keep: only a GET is handed over, as a signature is for one method; HEAD is answered from the catalog. An
address stays the same for half of its life, whichever process or machine gives it out: clients and proxies know what
they have fetched by its address. So all of them change at times that a clock tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from ...backend.backend import Sign
from ...bounded_cache import BoundedCache, weight
from ...model import File
from ..http.prepared_response import PreparedResponse
from ..http.responses import revalidated, unkept

# The answer that lets somebody else send the file, None where we are to send it.
Deliver = Callable[[Mapping[str, Any], File], PreparedResponse | None]
# Bytes of addresses remembered in each process; one takes about 1,000 with its path.
ADDRESS_BYTES = 8 << 20
# Where nginx is to fetch the file; it does not hand this header on to clients.
STORE_URL = "X-Store-URL"


class Addresses:
    """Signed addresses that live for ``ttl`` seconds, each of them given out for the first half of these.

    ``clock`` gives seconds since the epoch. Remembered besides, because to sign one takes 80 microseconds, and because
    some stores sign for the present moment only.
    """

    def __init__(self, sign: Sign, ttl: int, *, clock: Callable[[], float] = time.time) -> None:
        self._sign = sign
        self._ttl = ttl
        self._clock = clock
        self._known: BoundedCache[str, tuple[int, str]] = BoundedCache(ADDRESS_BYTES)

    def of(self, path: str) -> str:
        """The address of a file, good for half of ``ttl`` at least; raises Unavailable."""
        half = self._ttl // 2
        since = int(self._clock()) // half * half
        known = self._known.get(path)
        if known is None or known[0] != since:
            known = (since, self._sign(path, self._ttl, since))
            self._known.put(path, known, size=weight(known))
        return known[1]


def redirecting(sign: Sign, ttl: int, *, age: int | None = None) -> Deliver:
    """Send clients to the bucket; they may keep the way there for ``age`` seconds, and for half of ``ttl`` at most."""
    addresses = Addresses(sign, ttl)
    # The address is that of these very bytes; under the file's name there may be others soon.
    kept = ("Cache-Control", f"private, max-age={min(age, ttl // 2 - 5)}" if age else revalidated(private=True))

    def deliver(environ: Mapping[str, Any], file: File) -> PreparedResponse | None:
        if environ["REQUEST_METHOD"] != "GET":
            return None
        headers = [("Location", addresses.of(file.path)), kept, ("X-Accel-Expires", "0")]
        headers += [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "0")]
        return PreparedResponse(b"", headers, status="302 Found")

    return deliver


def through_nginx(sign: Sign, ttl: int, *, location: str, cache_control: str) -> Deliver:
    """Let nginx fetch the file at the address in ``X-Store-URL``, and know it by its path below ``location``.

    Ranges and validators are nginx's then. The path has the digest of the bytes, so what it keeps is right for ever.
    """
    addresses = Addresses(sign, ttl)
    below = location.rstrip("/")

    def deliver(environ: Mapping[str, Any], file: File) -> PreparedResponse | None:
        if environ["REQUEST_METHOD"] != "GET":
            return None
        headers = [("Content-Type", "application/octet-stream"), ("Content-Length", "0")]
        headers += [("Cache-Control", cache_control), ("X-Content-Type-Options", "nosniff")]
        headers += unkept(cache_control).items()
        headers += [("X-Accel-Redirect", f"{below}/{quote(file.path)}"), (STORE_URL, addresses.of(file.path))]
        return PreparedResponse(b"", headers)

    return deliver
