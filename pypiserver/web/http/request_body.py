"""A request's body, read once and never beyond its limit.

**Invariants:** a body is never longer than its length, nor than its limit; where the server receives it (see
:mod:`...deferred`), nothing is read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...deferred import IS_PUSHED, RECEIVED, Receiver, WantsBody
from ...errors import BadRequest, ContentTooLarge, PypiServerError

BLOCK = 64 * 1024


class Body:
    """The body of the request in ``environ``, at most ``max_bytes`` long.

    Its length comes from CONTENT_LENGTH, or from the server where the server says that it ends the input itself
    (chunked bodies). Raises BadRequest for a length that is not a number, ContentTooLarge for one over the limit.
    """

    def __init__(self, environ: Mapping[str, Any], max_bytes: int) -> None:
        self._environ = environ
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

    def read_all(self, most: int) -> bytes:
        """The whole body where it is no longer than ``most`` bytes, otherwise some bytes more than that."""
        received = self._environ.get(RECEIVED)
        if isinstance(received, Gathered):
            return received.content()
        if self.is_pushed:
            raise self.wanted_by(Gathered(most))
        data = bytearray()
        while len(data) <= most and (block := self.read(BLOCK)):
            data += block
        return bytes(data)

    @property
    def is_pushed(self) -> bool:
        """Whether the server hands the body on; what must not be read here then."""
        return bool(self._environ.get(IS_PUSHED))

    def wanted_by(self, receiver: Receiver) -> WantsBody:
        """What to raise for the body to be handed to ``receiver``."""
        return WantsBody(receiver, self._left if self._is_counted else self._max_bytes)

    def _too_large(self) -> ContentTooLarge:
        return ContentTooLarge(f"The request has more than {self._max_bytes} bytes, the most that is taken here.")


class Gathered:
    """Receives a body of up to ``most`` bytes into memory; of a longer one some bytes more than that."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = bytearray()
        self._fault: PypiServerError | None = None

    def take(self, data: bytes, /) -> bool:
        """Keep the next block."""
        self._data += data
        return len(self._data) <= self._most

    def end(self, fault: PypiServerError | None, /) -> None:
        """Nothing more will come."""
        self._fault = fault

    def content(self) -> bytes:
        """What was received; raises what was wrong with it."""
        if self._fault is not None:
            raise self._fault
        return bytes(self._data)

    def discard(self) -> None:
        """Forget it."""
        self._data.clear()
