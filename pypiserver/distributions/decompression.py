"""Unpacking compressed streams block by block: gzip, bzip2, xz, or none.

**Invariants:** this module reads the file and passes only bytes to the libraries, so that their exceptions are about
the bytes; it unpacks at most ``limit`` bytes, at most :data:`CHUNK` at a time; an xz dictionary takes at most 128 MiB;
a stream counts as read only after its end and its checksum.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol

from .archive_limits import BadArchive, foreign

CHUNK = 1 << 18
# Bytes of one read; a library copies the rest of them at the end of every stream.
BLOCK = 1 << 15
# `xz -9` needs 65 MiB; a header of 12 bytes can ask for 1.5 GiB.
XZ_MEMORY = 128 * 1024 * 1024
# pigz and pbzip2 write a stream for each block of 128 kB and more; an empty one takes 20 bytes.
MAX_STREAMS = 20_000
_CUT_OFF = "it is cut off, or was never whole"


class Decompressor(Protocol):
    """The common interface of the three libraries: see :class:`bz2.BZ2Decompressor`."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream and its checksum were read."""

    @property
    def needs_input(self) -> bool:
        """Whether it needs more input to give more output."""

    @property
    def unused_data(self) -> bytes:
        """The input after the end of the stream."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Up to ``max_length`` unpacked bytes of the input so far, including ``data``."""


class _Gzip:
    """zlib's object with the interface of the others."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        unpacked = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self.needs_input = len(unpacked) < max_length and not self._stream.unconsumed_tail
        return unpacked


class _Plain:
    """No compression: the stream ends with the file."""

    eof = False
    unused_data = b""

    def __init__(self) -> None:
        self._left = b""
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int) -> bytes:
        data = self._left + data
        self._left = data[max_length:]
        self.needs_input = not self._left
        return data[:max_length]


FORMATS: tuple[tuple[bytes, Callable[[], Decompressor]], ...] = (
    (b"\x1f\x8b", _Gzip),
    (b"BZh", lambda: bz2.BZ2Decompressor()),  # looked up when called
    (b"\xfd7zXZ", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)),
)


class Unpacked:
    """The unpacked bytes of a file, read sequentially.

    ``position`` counts them. ``joint`` is where the last stream but the first began: Python's libraries read streams
    that follow each other as one, others end with the first. ``is_followed`` tells that anything follows a stream.
    """

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self.position = 0
        self.joint = -1
        self.is_followed = False
        self._file = file
        self._limit = limit
        self._made = 0
        self._streams = 0
        self._chunk = b""
        self._at = 0
        file.seek(0)
        self._packed = file.read(BLOCK)
        self._magic, self._maker = next((each for each in FORMATS if self._packed.startswith(each[0])), (b"", _Plain))
        self._stream: Decompressor | None = None
        self._begin()

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end; raises BadArchive for a damaged or truncated stream."""
        end = self._at + size
        if end <= len(self._chunk):
            data = self._chunk[self._at : end]
            self._at = end
            self.position += size
            return data
        parts = []
        while size and (self._at < len(self._chunk) or self._next()):
            parts.append(self._chunk[self._at : self._at + size])
            self._at += len(parts[-1])
            size -= len(parts[-1])
        data = b"".join(parts)
        self.position += len(data)
        return data

    def skip(self, size: int) -> int:
        """Skip up to ``size`` bytes; the number of bytes skipped."""
        left = size
        while left and (self._at < len(self._chunk) or self._next()):
            step = min(left, len(self._chunk) - self._at)
            self._at += step
            left -= step
        self.position += size - left
        return size - left

    def _next(self) -> bool:
        """Unpack the next chunk, False at the end of the last stream."""
        self._chunk, self._at = b"", 0
        while self._stream is not None and not self._chunk:
            if self._stream.eof:
                self._follow(self._stream.unused_data)
                continue
            if self._stream.needs_input and not self._packed:
                self._packed = self._file.read(BLOCK)
                if not self._packed:
                    return self._ended()
            packed, self._packed = (self._packed, b"") if self._stream.needs_input else (b"", self._packed)
            with foreign("stream", "it cannot be unpacked"):
                self._chunk = self._stream.decompress(packed, CHUNK)
            self._made += len(self._chunk)
            if self._made > self._limit:
                raise BadArchive("too-large", "it unpacks to more than a package can have", "unsafe")
        return bool(self._chunk)

    def _ended(self) -> bool:
        if self._magic:
            raise BadArchive("truncated", _CUT_OFF)
        self._stream = None
        return False

    def _follow(self, rest: bytes) -> None:
        """After the end of a stream: begin another one, or accept padding and bytes that no reader reads."""
        is_padded = False
        self._packed = rest + self._packed or self._file.read(BLOCK)
        self.is_followed = self.is_followed or bool(self._packed)
        while not self._packed.startswith(self._magic):
            is_padded = is_padded or self._packed.startswith(b"\0")
            self._packed = self._packed.lstrip(b"\0")
            more = self._file.read(BLOCK) if len(self._packed) < len(self._magic) else b""
            self._packed += more
            if not more and not self._packed.startswith(self._magic):
                self._stream = None
                return
        if is_padded:
            raise BadArchive(
                "second-stream", "it has a second stream after its end, which not every reader reads", "unsafe"
            )
        self.joint = self._made
        self._begin()

    def _begin(self) -> None:
        self._streams += 1
        if self._streams > MAX_STREAMS:
            raise BadArchive(
                "too-many-streams", f"it has more than {MAX_STREAMS} streams, one after the other", "unsafe"
            )
        with foreign("stream", "it cannot be unpacked"):
            self._stream = self._maker()
