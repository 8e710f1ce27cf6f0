"""The content codings of pages: gzip, and zstd where Python (3.14) or an installed package provides it."""

from __future__ import annotations

import functools
import gzip
import importlib
from collections.abc import Callable

from ...formats.simple import accepts_encoding


@functools.cache
def _zstd() -> Callable[[bytes], bytes] | None:
    for module in ("compression.zstd", "backports.zstd", "zstandard"):
        try:
            compress: Callable[[bytes], bytes] = importlib.import_module(module).compress
        except (ImportError, AttributeError):
            continue
        return compress
    return None


def zstd_compress(body: bytes) -> bytes | None:
    """The body as one zstd frame (RFC 8878); None when no zstd library is available."""
    compress = _zstd()
    return None if compress is None else compress(body)


def gzip_compress(body: bytes) -> bytes:
    """The body in gzip (RFC 1952); equal bodies give equal bytes."""
    return gzip.compress(body, 6, mtime=0)


def compressed(body: bytes, accept_encoding: str | None) -> tuple[bytes, str]:
    """The body in the best coding that this Accept-Encoding allows, and the name of that coding ('' for none)."""
    codings = ("gzip", "zstd") if _zstd() else ("gzip",)
    coding = accepts_encoding(accept_encoding, codings) or ""
    if coding == "gzip":
        return gzip_compress(body), coding
    return (zstd_compress(body) or body, coding) if coding else (body, "")
