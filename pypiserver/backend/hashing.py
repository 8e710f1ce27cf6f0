"""Hashing bytes while they are written, for uploads to a folder and to a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, BinaryIO

# Bytes read at a time.
BLOCK = 1 << 18


class HashingWriter:
    """Base of staged files: counts the bytes (``size``) and hashes them by each of the named algorithms."""

    def __init__(self, digests: Sequence[str]) -> None:
        self._hashes = {name: new_hash(name) for name in digests}
        # None until the subclass has opened the file.
        self._file: BinaryIO | None = None
        self.size = 0

    def _opened(self) -> BinaryIO:
        assert self._file is not None, "open() comes first"  # noqa: S101 - a bug of ours, not of a client
        return self._file

    def _take(self, data: bytes) -> int:
        """Hash and count bytes that were written; gives their number."""
        for each in self._hashes.values():
            each.update(data)
        self.size += len(data)
        return len(data)

    def digest(self, name: str) -> bytes:
        """The digest of what was written, by one of the constructor's algorithms."""
        digest: bytes = self._hashes[name].digest()
        return digest

    def hexdigest(self, name: str) -> str:
        """The same digest as lower-case hex."""
        return self.digest(name).hex()


def update_from(digest: Any, stream: BinaryIO) -> Any:
    """The hash object ``digest``, updated with the rest of the stream."""
    while block := stream.read(BLOCK):
        digest.update(block)
    return digest


def sha256_of_stream(stream: BinaryIO) -> str:
    """The digest of the rest of a stream as lower-case hex; closes the stream. Raises OSError."""
    with stream:
        hexdigest: str = update_from(hashlib.sha256(), stream).hexdigest()
    return hexdigest


def new_hash(name: str) -> Any:
    """A hash object by the name of upload forms, such as ``blake2b-256``, or by hashlib's name."""
    if name == "blake2b-256":
        return hashlib.blake2b(digest_size=32)
    return hashlib.new(name, usedforsecurity=False)
