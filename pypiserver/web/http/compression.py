"""The content codings pages are sent in: gzip, and zstd where Python (3.14) or an installed package brings it."""

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
    """The body as one zstd frame (RFC 8878); None where nothing can make one."""
    compress = _zstd()
    return None if compress is None else compress(body)


def gzip_compress(body: bytes) -> bytes:
    """The body in gzip (RFC 1952), the same bytes each time."""
    return gzip.compress(body, 6, mtime=0)


def compressed(body: bytes, accept_encoding: str | None) -> tuple[bytes, str]:
    """The body as a client wants it who sends this Accept-Encoding, and the name of its coding, '' for none."""
    codings = ("gzip", "zstd") if _zstd() else ("gzip",)
    coding = accepts_encoding(accept_encoding, codings) or ""
    if coding == "gzip":
        return gzip_compress(body), coding
    return (zstd_compress(body) or body, coding) if coding else (body, "")
