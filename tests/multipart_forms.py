"""Whole forms read in one call, as no server gets them."""

from __future__ import annotations

from typing import Any

from pypiserver.web.http.multipart import Reader, multipart, read_form


def parse_multipart(stream: Reader, boundary: bytes, **options: Any) -> dict[str, list[str]]:
    """Read a whole form from ``stream``; ``options`` are those of ``multipart``."""
    return read_form(stream, multipart(boundary, **options))
