"""How the bytes of a file in a bucket reach a client without passing through us: by redirect, or through nginx.

**Invariants:** only a GET is offloaded, because a signature is for one method; HEAD is answered from the catalog. A
signed URL stays the same for half of its life, in every process and machine: clients and proxies cache content by its
URL. So all URLs change at times that depend on the clock alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from ...backend.backend import Sign
from ...bounded_cache import BoundedCache, weight
from ..http.prepared_response import PreparedResponse
from ..http.responses import revalidated, unkept

# Gets a path in the store; returns the response that makes a bucket or proxy send the file, None where we are to.
Deliver = Callable[[Mapping[str, Any], str], PreparedResponse | None]
# Bytes of signed URLs cached in each process; one takes about 1,000 with its path.
ADDRESS_BYTES = 8 << 20
# The URL where nginx fetches the file; nginx does not pass this header to clients.
STORE_URL = "X-Store-URL"


class Addresses:
    """Signed URLs that live for ``ttl`` seconds, each given out for the first half of its life.

    ``clock`` returns seconds since the epoch. URLs are cached, because signing one takes 80 microseconds, and because
    some stores sign for the present moment only.
    """

    def __init__(self, sign: Sign, ttl: int, *, clock: Callable[[], float] = time.time) -> None:
        self._sign = sign
        self._ttl = ttl
        self._clock = clock
        self._known: BoundedCache[str, tuple[int, str]] = BoundedCache(ADDRESS_BYTES)

    def of(self, path: str) -> str:
        """The signed URL of a file, valid for at least half of ``ttl``; raises Unavailable."""
        half = self._ttl // 2
        since = int(self._clock()) // half * half
        known = self._known.get(path)
        if known is None or known[0] != since:
            known = (since, self._sign(path, self._ttl, since))
            self._known.put(path, known, size=weight(known))
        return known[1]


def redirecting(sign: Sign, ttl: int, *, age: int | None = None) -> Deliver:
    """Redirect clients to the bucket; they may cache a redirect for ``age`` seconds, but less than half of ``ttl``."""
    addresses = Addresses(sign, ttl)
    # The URL belongs to exactly these bytes; the file's name may soon have others.
    kept = ("Cache-Control", f"private, max-age={min(age, ttl // 2 - 5)}" if age else revalidated(private=True))

    def deliver(environ: Mapping[str, Any], path: str) -> PreparedResponse | None:
        if environ["REQUEST_METHOD"] != "GET":
            return None
        headers = [("Location", addresses.of(path)), kept, ("X-Accel-Expires", "0")]
        headers += [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "0")]
        return PreparedResponse(b"", headers, status="302 Found")

    return deliver


def through_nginx(sign: Sign, ttl: int, *, location: str, cache_control: str) -> Deliver:
    """Let nginx fetch the file at the URL in ``X-Store-URL``, and cache it by its path below ``location``.

    nginx then handles ranges and validators. The path contains the digest of the bytes, so a cached file never expires.
    """
    addresses = Addresses(sign, ttl)
    below = location.rstrip("/")

    def deliver(environ: Mapping[str, Any], path: str) -> PreparedResponse | None:
        if environ["REQUEST_METHOD"] != "GET":
            return None
        headers = [("Content-Type", "application/octet-stream"), ("Content-Length", "0")]
        headers += [("Cache-Control", cache_control), ("X-Content-Type-Options", "nosniff")]
        headers += unkept(cache_control).items()
        headers += [("X-Accel-Redirect", f"{below}/{quote(path)}"), (STORE_URL, addresses.of(path))]
        return PreparedResponse(b"", headers)

    return deliver
