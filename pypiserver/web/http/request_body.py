"""A request's body, read once and never beyond its limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import BadRequest, ContentTooLarge


class Body:
    """The body of the request in ``environ``, at most ``max_bytes`` long.

    Its length comes from CONTENT_LENGTH, or from the server where the server says that it ends the input itself
    (chunked bodies). Raises BadRequest for a length that is not a number, ContentTooLarge for one over the limit.
    """

    def __init__(self, environ: Mapping[str, Any], max_bytes: int) -> None:
        self._stream = environ["wsgi.input"]
        self._max_bytes = max_bytes
        self._left = max_bytes
        self._is_counted = True
        # Whether a read has started.
        self.is_begun = False
        length = str(environ.get("CONTENT_LENGTH") or "")
        if length:
            # int() would accept '+1', ' 1' and '1_0' too (RFC 9110 section 8.6 allows digits alone).
            if not (length.isascii() and length.isdigit() and len(length) < 20):
                raise BadRequest("The Content-Length of the request is no number.")
            self._left = int(length)
            if self._left > max_bytes:
                raise self._too_large()
        elif environ.get("wsgi.input_terminated") and environ.get("HTTP_TRANSFER_ENCODING"):
            self._is_counted = False
        else:
            self._left = 0

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none at the end; raises BadRequest when the body ends before its length."""
        if self._left <= 0 and self._is_counted:
            return b""
        wanted = min(size, self._left) if self._is_counted else size
        self.is_begun = True
        try:
            data: bytes = self._stream.read(wanted)
        except (OSError, EOFError) as error:
            raise BadRequest("The connection ended in the middle of the request.") from error
        if not data and self._is_counted:
            raise BadRequest("The body of the request ended early.")
        self._left -= len(data)
        if self._left < 0:
            raise self._too_large()
        return data

    def _too_large(self) -> ContentTooLarge:
        return ContentTooLarge(f"The request has more than {self._max_bytes} bytes, the most that is taken here.")
