"""Removes the content coding of a body (RFC 9110 section 8.4.1), a piece at a time.

urllib3 does that too, but does not return while a piece has no output, so a body that never has any is never left, and
it takes one that ends too early for a whole one.

**Invariants:** no piece of output is larger than the limit; a body that is cut, or has anything after its end, is an
error.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

CODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
_GZIP = zlib.MAX_WBITS | 16
_ZLIB, _BARE = zlib.MAX_WBITS, -zlib.MAX_WBITS


class Decoder:
    """Of one body, whose coding is one of CODINGS and not the identity; raises ValueError for what is not coded so."""

    def __init__(self, coding: str, limit: int) -> None:
        self._is_gzip = coding.endswith("gzip")
        self._limit = limit
        self._inner = zlib.decompressobj(_GZIP if self._is_gzip else _ZLIB)
        self._has_begun = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The output for the next bytes, in pieces that are not empty."""
        while data:
            if self._inner.eof:
                if not self._is_gzip:
                    raise ValueError("something after the end of the compressed data")
                self._inner = zlib.decompressobj(_GZIP)  # of several, one after the other (RFC 1952)
            piece = self._decompressed(data)
            data = self._inner.unconsumed_tail or self._inner.unused_data
            if piece:
                yield piece

    def finish(self) -> None:
        """The body ends here."""
        if self._has_begun and not self._inner.eof:
            raise ValueError("the compressed data were cut")

    def _decompressed(self, data: bytes) -> bytes:
        is_first, self._has_begun = not self._has_begun, True
        try:
            return self._inner.decompress(data, self._limit)
        except zlib.error as error:
            if not is_first or self._is_gzip:
                raise ValueError(str(error)) from error
            # Some servers leave the wrapper out.
            self._inner = zlib.decompressobj(_BARE)
        try:
            return self._inner.decompress(data, self._limit)
        except zlib.error as error:
            raise ValueError(str(error)) from error
