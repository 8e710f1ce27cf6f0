"""Shared parts of reading archives: the limits, the one exception, the border to libraries, and normalized paths.

An archive comes from outside, so no number in it can be trusted. **Invariants:** every count, size and ratio has a
limit, checked before a library creates objects from it; a fault is a BadArchive whose reason fits after "is refused: ";
any exception of a library about bytes of an archive becomes such a fault (:class:`foreign`), a failure of storage does
not.
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO, NamedTuple

from ..errors import Damage, PypiServerError

MAX_METADATA = 8 * 1024 * 1024
# The largest known sdist (ansible 9) has 52,814 members, the largest wheel 18,093.
MAX_MEMBERS = 100_000
# Bytes; no path is longer (PATH_MAX).
MAX_NAME = 4096
# Folders within folders; real archives have some twenty.
MAX_DEPTH = 128
MAX_UNPACKED = 64 * 1024**3
MAX_RATIO = 200
# Bytes. Smaller content is never a bomb: a file of zeros compresses a thousandfold.
RATIO_FROM = 128 * 1024 * 1024
_SAID = 120


class ArchiveFault(NamedTuple):
    """One fault of an archive.

    ``rule`` is one short word that names the broken rule and stays when the sentence changes; ``reason`` says it with
    details but without the file name; ``kind`` is ``corrupt``, ``unsafe`` (made to deceive or to harm), or
    ``mislabelled``.
    """

    rule: str
    reason: str
    kind: Damage = "corrupt"


class BadArchive(Exception):  # noqa: N818 - the standard library's BadZipFile is called so too
    """The archive cannot be read, or is refused, because of ``fault``."""

    def __init__(self, rule: str, reason: str, kind: Damage = "corrupt") -> None:
        super().__init__(rule, reason, kind)
        self.fault = ArchiveFault(rule, reason, kind)

    def __str__(self) -> str:
        return self.fault.reason


class foreign:  # noqa: N801 - reads as a clause: with foreign("stream", "it cannot be unpacked")
    """The border to libraries: every exception in the block becomes a BadArchive of this rule.

    This includes RecursionError and MemoryError, which the archive causes. Failures of storage (an OSError with an
    errno, or one that ``source`` raised) pass, because the archive may be good; so do the types in ``passing``.
    """

    def __init__(
        self, rule: str, reason: str, source: Source | None = None, passing: tuple[type[Exception], ...] = ()
    ) -> None:
        self._rule = rule
        self._reason = reason
        self._source = source
        self._passing = (BadArchive, PypiServerError, *passing)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, self._passing):
            return
        if self._source is not None and self._source.error is not None:
            raise self._source.error
        if isinstance(error, OSError) and error.errno is not None:
            return
        said = " ".join(str(error)[:_SAID].split()) or type(error).__name__
        raise BadArchive(self._rule, f"{self._reason} ({said})") from error


class Source(io.RawIOBase):
    """A file for use by a library; ``error`` keeps what storage raised, because libraries swallow exceptions."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self.error: Exception | None = None

    def readable(self) -> bool:
        """See :class:`io.IOBase`."""
        return True

    def seekable(self) -> bool:
        """See :class:`io.IOBase`."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position, in bytes."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position in the file, in bytes."""
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        """Up to ``size`` bytes, or the rest for None and -1; raises what storage raises, and keeps it in ``error``."""
        try:
            return self._file.read(-1 if size is None else size)
        except (OSError, PypiServerError) as error:
            self.error = error
            raise

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as possible; the number of bytes read."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def sane_size(packed: int) -> int:
    """The most bytes that ``packed`` bytes may unpack to; more is a decompression bomb."""
    return min(MAX_UNPACKED, max(RATIO_FROM, MAX_RATIO * packed))


def said(name: str) -> str:
    """A member's name, quoted and shortened for a message."""
    return repr(name if len(name) <= _SAID else name[:_SAID] + "...")


def parts_of(name: str) -> list[str]:
    """The components that a path can have on any system, in lower case: without '.', '..', '\\' and repeated '/'.

    Windows drops dots and spaces at the end of a name, and Windows and macOS ignore case. Raises BadArchive for a path
    with more than ``MAX_DEPTH`` folders.
    """
    parts: list[str] = []
    plain = name.replace("\\", "/")
    if plain.count("/") > MAX_DEPTH:
        raise BadArchive("too-deep", f"a member of it is more than {MAX_DEPTH} folders deep", "unsafe")
    for part in plain.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part.rstrip(" .").casefold())
    return parts
