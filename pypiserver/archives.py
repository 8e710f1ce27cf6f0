"""Walking archives that nobody vouches for: zip and tar, read member by member, never extracted.

The rules to keep: every count, size and ratio has a limit; the end of a zip is read directly, because ``zipfile``
makes an object of every member (3 s for 100,000 wheels instead of 0.8 s); what is odd is left to ``zipfile``; a fault
is a BadArchive with words that fit after "is refused: ".
"""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO

MAX_METADATA = 8 * 1024 * 1024
MAX_DIRECTORY = 64 * 1024 * 1024
MAX_MEMBERS = 200_000
MAX_RATIO = 200
# Smaller archives are no bombs, whatever their ratio: a file of zeros compresses a thousandfold.
RATIO_FROM = 128 * 1024 * 1024
# PKG-INFO is among the first members of an sdist; so many unpacked bytes are read to find it.
MAX_TAR_READ = 512 * 1024 * 1024
_TAIL = 65_536 + 22
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8


class BadArchive(Exception):  # noqa: N818 - the standard library's BadZipFile is called so too
    """The archive cannot be read, or must not be; the words name no file."""


def zip_directory(file: BinaryIO) -> tuple[bytes, int]:
    """The central directory of a zip archive and its number of members.

    Raises BadArchive when it is not where the end of the file says, as in a file that is cut off.
    """
    size = file.seek(0, io.SEEK_END)
    length = min(size, _TAIL)
    file.seek(size - length)
    tail = file.read(length)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise BadArchive("it is no whole zip archive: its directory is missing at the end")
    _, disk, _, _, count, length, offset, comment = _END.unpack_from(tail, at)
    end = size - len(tail) + at
    if 0xFFFF in (disk, count) or 0xFFFFFFFF in (length, offset):
        return _large_directory(file)
    if length > MAX_DIRECTORY or count > MAX_MEMBERS:
        raise BadArchive(f"its directory is larger than any sane one ({count} members, {length} bytes)")
    # Some bytes may stand before an archive (an installer's stub), but none between its directory and its end.
    start = end - length
    if start < offset or len(tail) - at - _END.size != comment:
        raise BadArchive("it is no whole zip archive: its directory is not where its end says")
    file.seek(start)
    directory = file.read(length)
    if len(directory) != length or (count and not directory.startswith(b"PK\x01\x02")):
        raise BadArchive("it is no whole zip archive: its directory is damaged")
    return directory, count


def _large_directory(file: BinaryIO) -> tuple[bytes, int]:
    """Archives over 4 GiB or 65,535 members (zip64) are rare enough for the standard library."""
    return b"", len(zip_members(file))


def read_zip_member(file: BinaryIO, is_wanted: Callable[[str], bool], *, required: str = "") -> bytes | None:
    """The bytes of the one member that is wanted; None when there is none, or BadArchive if it is ``required``."""
    directory, count = zip_directory(file)
    if not directory and count:
        return _read_by_zipfile(file, is_wanted, required)
    found: list[tuple[int, int, int, int, int]] = []
    at = 0
    for _ in range(count):
        if len(directory) - at < _ENTRY.size:
            raise BadArchive("it is no whole zip archive: its directory is cut off")
        entry = _ENTRY.unpack_from(directory, at)
        name_length, extra_length, comment_length = entry[10:13]
        name = directory[at + _ENTRY.size : at + _ENTRY.size + name_length]
        if is_wanted(name.decode("utf-8", "replace")):
            found.append((entry[3], entry[4], entry[8], entry[9], entry[16]))
        at += _ENTRY.size + name_length + extra_length + comment_length
    if len(found) > 1:
        raise BadArchive("it has more than one metadata member")
    if not found:
        if required:
            raise BadArchive(f"it has no {required}")
        return None
    flags, method, packed, unpacked, offset = found[0]
    if flags & 1 or method not in (_STORED, _DEFLATED) or 0xFFFFFFFF in (packed, unpacked, offset):
        return _read_by_zipfile(file, is_wanted, required)
    if unpacked > MAX_METADATA or packed > MAX_METADATA:
        raise BadArchive("its metadata is larger than 8 MiB")
    data = _member_bytes(file, offset, packed)
    if data is None:
        # Something stands before the archive, so offsets are off by its length: zipfile knows how.
        return _read_by_zipfile(file, is_wanted, required)
    return _unpacked(data, method, unpacked)


def _member_bytes(file: BinaryIO, offset: int, packed: int) -> bytes | None:
    file.seek(offset)
    header = file.read(_LOCAL.size)
    if len(header) != _LOCAL.size or not header.startswith(b"PK\x03\x04"):
        return None
    name_length, extra_length = _LOCAL.unpack(header)[9:11]
    file.seek(offset + _LOCAL.size + name_length + extra_length)
    data = file.read(packed)
    if len(data) != packed:
        raise BadArchive("it is no whole zip archive: a member is cut off")
    return data


def _unpacked(data: bytes, method: int, size: int) -> bytes:
    if method == _DEFLATED:
        try:
            data = zlib.decompressobj(-15).decompress(data, MAX_METADATA + 1)
        except zlib.error as error:
            raise BadArchive(f"its metadata cannot be unpacked ({error})") from error
    if len(data) != size:
        raise BadArchive("its metadata has another size than its directory says")
    return data


def _read_by_zipfile(file: BinaryIO, is_wanted: Callable[[str], bool], required: str) -> bytes | None:
    wanted = [member for member in zip_members(file) if is_wanted(member.filename)]
    if len(wanted) > 1:
        raise BadArchive("it has more than one metadata member")
    if not wanted:
        if required:
            raise BadArchive(f"it has no {required}")
        return None
    if wanted[0].file_size > MAX_METADATA:
        raise BadArchive("its metadata is larger than 8 MiB")
    try:
        with zipfile.ZipFile(file) as archive, archive.open(wanted[0]) as member:
            return member.read(MAX_METADATA + 1)
    except ZIP_ERRORS as error:
        raise BadArchive(f"its metadata cannot be unpacked ({error})") from error


ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
    struct.error,
)
TAR_ERRORS = (tarfile.TarError, zlib.error, EOFError, ValueError, OSError, struct.error)


def zip_members(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """Every member of a zip archive; raises BadArchive."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except ZIP_ERRORS as error:
        raise BadArchive(f"it is no zip archive that can be read ({error})") from error
    if len(members) > MAX_MEMBERS:
        raise BadArchive(f"it has {len(members)} members, more than {MAX_MEMBERS}")
    return members


def sane_size(packed: int) -> int:
    """The most bytes that so many packed ones unpack to unless they are a bomb."""
    return max(RATIO_FROM, MAX_RATIO * packed)


class _Bounded(io.RawIOBase):
    """A reader that stops being patient after ``limit`` bytes: what unpacks for ever is a bomb."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise BadArchive("it unpacks to more than a package can have")
        buffer[: len(data)] = data
        return len(data)


def open_tar(file: BinaryIO, most: int) -> tarfile.TarFile:
    """A tar archive as a stream of at most ``most`` unpacked bytes, and no more than is sane for its size."""
    import bz2
    import gzip
    import lzma

    limit = min(most, sane_size(file.seek(0, io.SEEK_END)))
    file.seek(0)
    magic = file.read(6)
    file.seek(0)
    openers: list[tuple[bytes, Callable[[BinaryIO], object]]] = [
        (b"\x1f\x8b", lambda raw: gzip.GzipFile(fileobj=raw)),
        (b"BZh", bz2.BZ2File),
        (b"\xfd7zXZ", lzma.LZMAFile),
    ]
    for prefix, opener in openers:
        if magic.startswith(prefix):
            stream: BinaryIO = opener(file)  # type: ignore[assignment]
            return tarfile.open(fileobj=_Bounded(stream, limit), mode="r|")
    return tarfile.open(fileobj=_Bounded(file, limit), mode="r|")


def read_tar_member(file: BinaryIO, is_wanted: Callable[[str], bool]) -> bytes | None:
    """The bytes of the first member that is wanted, None without one; raises BadArchive."""
    try:
        with open_tar(file, MAX_TAR_READ) as archive:
            for number, member in enumerate(archive):
                if number > MAX_MEMBERS:
                    raise BadArchive(f"it has more than {MAX_MEMBERS} members")
                if member.isreg() and is_wanted(member.name):
                    return _tar_member_bytes(archive, member)
    except TAR_ERRORS as error:
        raise BadArchive(f"it is no tar archive that can be read ({error})") from error
    return None


def _tar_member_bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MAX_METADATA:
        raise BadArchive("its metadata is larger than 8 MiB")
    stream = archive.extractfile(member)
    data = stream.read() if stream is not None else b""
    if len(data) != member.size:
        raise BadArchive("it is cut off in the middle of its metadata")
    return data
