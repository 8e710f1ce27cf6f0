"""The content codings pages are sent in besides gzip: zstd, where Python (3.14) or an installed package brings it."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable


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
