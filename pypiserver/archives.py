"""Walking archives that nobody vouches for: zip and tar, read member by member, never extracted.

The rules to keep: every count, size and ratio has a limit; the end of a zip is read directly, because ``zipfile``
makes an object of every member (3 s for 100,000 wheels instead of 0.8 s); what is odd is left to ``zipfile``; a fault
is a BadArchive with words that fit after "is refused: ".
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import posixpath
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from typing import BinaryIO

MAX_METADATA = 8 * 1024 * 1024
MAX_DIRECTORY = 64 * 1024 * 1024
MAX_MEMBERS = 200_000
MAX_RATIO = 200
MAX_UNPACKED = 64 * 1024**3
# Smaller archives are no bombs, whatever their ratio: a file of zeros compresses a thousandfold.
RATIO_FROM = 128 * 1024 * 1024
MAX_SAID = 10
# No path is longer.
MAX_LINK = 4096
# PKG-INFO is among the first members of an sdist; so many unpacked bytes are read to find it.
MAX_TAR_READ = 512 * 1024 * 1024
_TAIL = 65_536 + 22
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8

Fault = tuple[str, str]


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
    except _ZIP_ERRORS as error:
        raise BadArchive(f"its metadata cannot be unpacked ({error})") from error


_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
    struct.error,
)
_TAR_ERRORS = (tarfile.TarError, zlib.error, EOFError, ValueError, OSError, struct.error)


def zip_members(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """Every member of a zip archive; raises BadArchive."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except _ZIP_ERRORS as error:
        raise BadArchive(f"it is no zip archive that can be read ({error})") from error
    if len(members) > MAX_MEMBERS:
        raise BadArchive(f"it has {len(members)} members, more than {MAX_MEMBERS}")
    return members


def zip_faults(members: list[zipfile.ZipInfo]) -> list[Fault]:
    """What makes a zip archive dangerous to unpack: doubled names, ways out of its folder, too much in it."""
    names = Counter(member.filename for member in members)
    faults = [("corrupt", f"it has the member {name!r} twice") for name, count in names.items() if count > 1]
    faults += [("unsafe", f"its member {name!r} leads out of its folder") for name in names if _leads_out(name)]
    packed = sum(member.compress_size for member in members)
    unpacked = sum(member.file_size for member in members)
    if unpacked > MAX_UNPACKED or (unpacked > RATIO_FROM and unpacked > MAX_RATIO * max(packed, 1)):
        faults.append(("unsafe", f"its {packed} bytes say they unpack to {unpacked}, which no package does"))
    return faults


def _leads_out(path: str) -> bool:
    plain = path.replace("\\", "/")
    return plain.startswith("/") or ".." in plain.split("/") or ":" in plain.split("/")[0] or "\0" in path


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


def _open_tar(file: BinaryIO, limit: int) -> tarfile.TarFile:
    """A tar archive as a stream of at most ``limit`` unpacked bytes."""
    import bz2
    import gzip
    import lzma

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


def _sane_size(file: BinaryIO) -> int:
    """The most bytes an archive of this size unpacks to unless it is a bomb."""
    return max(RATIO_FROM, MAX_RATIO * file.seek(0, io.SEEK_END))


def read_tar_member(file: BinaryIO, is_wanted: Callable[[str], bool]) -> bytes | None:
    """The bytes of the first member that is wanted, None without one; raises BadArchive."""
    try:
        with _open_tar(file, min(MAX_TAR_READ, _sane_size(file))) as archive:
            for number, member in enumerate(archive):
                if number > MAX_MEMBERS:
                    raise BadArchive(f"it has more than {MAX_MEMBERS} members")
                if member.isreg() and is_wanted(member.name):
                    return _tar_member_bytes(archive, member)
    except _TAR_ERRORS as error:
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


def audit_tar(file: BinaryIO) -> list[Fault]:
    """Every fault of a tar archive as (kind, sentence)."""
    faults: list[Fault] = []
    try:
        with _open_tar(file, min(MAX_UNPACKED, _sane_size(file))) as archive:
            for number, member in enumerate(archive):
                if number > MAX_MEMBERS:
                    raise BadArchive(f"it has more than {MAX_MEMBERS} members")
                faults += _tar_member_faults(member)
    except BadArchive as error:
        faults.append(("unsafe", str(error)))
    except _TAR_ERRORS as error:
        faults.append(("corrupt", f"it is no tar archive that can be read ({error})"))
    return faults


def _tar_member_faults(member: tarfile.TarInfo) -> list[Fault]:
    faults: list[Fault] = []
    if _leads_out(member.name):
        faults.append(("unsafe", f"its member {member.name!r} leads out of its folder"))
    if not member.name.isprintable():
        faults.append(("unsafe", f"its member {member.name!r} has control characters in its name"))
    if member.issym() or member.islnk():
        base = posixpath.dirname(member.name) if member.issym() else ""
        if _leads_out(posixpath.normpath(posixpath.join(base, member.linkname))):
            faults.append(("unsafe", f"its link {member.name!r} leads out of its folder"))
    elif member.isdev():
        faults.append(("unsafe", f"its member {member.name!r} is a device"))
    return faults


def audit_zip(file: BinaryIO, *, check_record: bool) -> list[Fault]:
    """Every fault of a zip archive's members as (kind, sentence): names, links, checksums, and a wheel's RECORD."""
    members = zip_members(file)
    faults: list[Fault] = []
    hashes: dict[str, tuple[str, int]] = {}
    record: bytes | None = None
    try:
        with zipfile.ZipFile(file) as archive:
            for member in members:
                if not member.filename.isprintable():
                    faults.append(("unsafe", f"its member {member.filename!r} has control characters in its name"))
                if _is_link(member) and _link_leads_out(member.filename, archive.read(member)):
                    faults.append(("unsafe", f"its link {member.filename!r} leads out of its folder"))
                digest, size = _digest_member(archive, member)
                hashes[member.filename] = (digest, size)
                if member.filename.endswith(".dist-info/RECORD") and size <= MAX_METADATA:
                    record = archive.read(member)
    except BadArchive as error:
        return [*faults, ("unsafe", str(error))]
    except _ZIP_ERRORS as error:
        return [*faults, ("corrupt", f"it cannot be unpacked ({error})")]
    if check_record and record is not None:
        faults += _few(_record_faults(record, hashes))
    return faults


def _few(faults: list[Fault]) -> list[Fault]:
    """The first of many: one wrong RECORD has a fault for every member."""
    more = len(faults) - MAX_SAID
    return (
        faults
        if more <= 0
        else [*faults[:MAX_SAID], ("corrupt", f"its RECORD disagrees with it in {more} more places")]
    )


def _is_link(member: zipfile.ZipInfo) -> bool:
    """Whether Unix unpackers would make a link of it; what such a member holds is the link's target."""
    return (member.external_attr >> 16) & 0o170000 == 0o120000 and member.file_size <= MAX_LINK


def _link_leads_out(path: str, target: bytes) -> bool:
    return _leads_out(posixpath.normpath(posixpath.join(posixpath.dirname(path), target.decode("utf-8", "replace"))))


def _digest_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with archive.open(member) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
            if size > max(RATIO_FROM, MAX_RATIO * member.compress_size):
                raise BadArchive("it unpacks to more than a package can have")
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode(), size


def _record_faults(record: bytes, hashes: dict[str, tuple[str, int]]) -> list[Fault]:
    """Where a wheel's RECORD (PEP 376, PEP 427) and its members disagree; only sha256 rows can be compared."""
    faults: list[Fault] = []
    listed: set[str] = set()
    try:
        rows = list(csv.reader(io.StringIO(record.decode("utf-8", "replace"))))
    except csv.Error as error:
        return [("corrupt", f"its RECORD cannot be read ({error})")]
    for row in rows:
        if not row:
            continue
        path, digest = row[0], row[1] if len(row) > 1 else ""
        listed.add(path)
        if path not in hashes:
            faults.append(("corrupt", f"its RECORD lists {path!r}, which is not in it"))
        elif digest.startswith("sha256=") and digest.removeprefix("sha256=") != hashes[path][0]:
            faults.append(("corrupt", f"its member {path!r} has another hash than its RECORD says"))
    for path in hashes:
        if path not in listed and not path.endswith(("/", "/RECORD", "/RECORD.jws", "/RECORD.p7s")):
            faults.append(("corrupt", f"its RECORD does not list {path!r}"))
    return faults
