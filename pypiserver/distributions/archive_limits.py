"""What reading archives has in common: the limits, the one error, the border to foreign code, and plain paths.

An archive comes from outside, so everything in it may be a lie. **Invariants:** every count, size and ratio has a limit
that is looked at before a library makes objects of it; a fault is a BadArchive with words that fit after "is refused:
"; whatever a library raises over bytes of an archive is such a fault (:class:`foreign`); a storage that fails is not.
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from ..errors import Damage, PypiServerError

MAX_METADATA = 8 * 1024 * 1024
# The largest real sdist we know (ansible 9) has 52,814 members, the largest wheel 18,093.
MAX_MEMBERS = 100_000
# No path is longer (PATH_MAX).
MAX_NAME = 4096
# Folders within folders; real archives have some twenty.
MAX_DEPTH = 128
MAX_UNPACKED = 64 * 1024**3
MAX_RATIO = 200
# Smaller archives are no bombs, whatever their ratio: a file of zeros compresses a thousandfold.
RATIO_FROM = 128 * 1024 * 1024
_SAID = 120


class BadArchive(Exception):  # noqa: N818 - the standard library's BadZipFile is called so too
    """The archive cannot be read, or must not be; the ``reason`` names no file.

    ``kind`` is ``corrupt``, ``unsafe`` for what looks made to deceive or to harm, or ``mislabelled``.
    """

    def __init__(self, reason: str, kind: Damage = "corrupt") -> None:
        super().__init__(reason, kind)
        self.reason = reason
        self.kind = kind

    def __str__(self) -> str:
        return self.reason


class foreign:  # noqa: N801 - reads as a clause: with foreign("it cannot be unpacked")
    """The border to code that is not ours: every exception in the block becomes a BadArchive.

    RecursionError and MemoryError too: it is the archive that asks for so much. What storage says (an OSError with a
    number, or one that ``source`` raised) passes, since the archive may be good. ``passing`` passes as well.
    """

    def __init__(self, fault: str, source: Source | None = None, passing: tuple[type[Exception], ...] = ()) -> None:
        self._fault = fault
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
        raise BadArchive(f"{self._fault} ({said})") from error


class Source(io.RawIOBase):
    """A file lent to foreign code, that remembers in ``error`` what storage raised: libraries swallow such things."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self.error: Exception | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, as the file does."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position in the file."""
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, or all that are left."""
        try:
            return self._file.read(-1 if size is None else size)
        except (OSError, PypiServerError) as error:
            self.error = error
            raise

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def sane_size(packed: int) -> int:
    """The most bytes that so many packed ones unpack to unless they are a bomb."""
    return min(MAX_UNPACKED, max(RATIO_FROM, MAX_RATIO * packed))


def said(name: str) -> str:
    """A member's name for a message: it may be long, and hold anything."""
    return repr(name if len(name) <= _SAID else name[:_SAID] + "...")


def parts_of(name: str) -> list[str]:
    """The folders and the name that a path ends up as on any system, in lower case: no '.', '..', '\\' or doubled '/'.

    Windows drops the dots and spaces at the end of a name, and neither Windows nor macOS tells upper from lower case.
    Raises BadArchive for a path that is deeper than any sane one.
    """
    parts: list[str] = []
    plain = name.replace("\\", "/")
    if plain.count("/") > MAX_DEPTH:
        raise BadArchive(f"a member of it is more than {MAX_DEPTH} folders deep", "unsafe")
    for part in plain.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part.rstrip(" .").casefold())
    return parts
