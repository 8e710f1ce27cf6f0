"""The directory at the end of a zip archive (APPNOTE 4.3.12 to 4.3.16), in the form that all readers agree on.

zipfile creates an object for every member before a caller can count them, and looks for the directory in other places
than other readers. **Invariants:** the end record, its zip64 form and the directory follow each other without a gap; an
ambiguous record is a BadArchive; counts and lengths are checked before objects are created; a member costs one tuple.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import BinaryIO, NamedTuple

from .archive_limits import MAX_MEMBERS, MAX_NAME, BadArchive, parts_of, said

# 100,000 members of 160 bytes each; in memory it takes up to ten times as much.
MAX_DIRECTORY = 16 * 1024 * 1024
UTF_8, STREAMED, ENCRYPTED = 0x800, 0x8, 0x1
FULL = 0xFFFFFFFF
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
# The end record and its comment, which has 65,535 bytes at most.
ZIP_TAIL = 65_535 + _END.size
_NOT_WHOLE = "it is not a complete zip archive: "
_NOT_ASCII = re.compile(rb"[\x80-\xff]+"), re.compile(r"[^\x00-\x7f]+")
# Extra fields (APPNOTE 4.5, 4.6.9): 64-bit sizes, and Info-ZIP's name in Unicode.
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075


class ZipMember(NamedTuple):
    """One entry of the directory; ``raw`` is the name's bytes, ``name`` the text that zipfile decodes from them.

    ``head`` is the header before the member as most tools write it: without its mark, as it is in the directory.
    """

    name: str
    raw: bytes
    flags: int
    method: int
    crc: int
    packed: int
    unpacked: int
    offset: int
    head: bytes


class ZipDirectory(NamedTuple):
    """Where the directory is (``start`` in the file, ``prefix`` bytes before the archive), and what it says.

    ``is_plain`` tells that there is nothing in it but the entries, as most build tools write it.
    """

    start: int
    prefix: int
    members: int
    entries: bytes
    is_plain: bool


def find_directory(file: BinaryIO) -> ZipDirectory:
    """The directory of a zip archive, found by its end record; its entries are not read.

    Raises BadArchive when it is not where the end of the file says, as in a file that is cut off, or when another
    reader might find another one.
    """
    size = file.seek(0, io.SEEK_END)
    length = min(size, ZIP_TAIL)
    file.seek(size - length)
    tail = file.read(length)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise BadArchive("truncated", _NOT_WHOLE + "its directory is missing at the end")
    _, *numbers, comment = _END.unpack_from(tail, at)
    behind = at + _END.size + comment
    if behind > len(tail):
        raise BadArchive("truncated", _NOT_WHOLE + "the comment at its end is truncated")
    # Copies from block devices are padded with NULs; pip and uv accept these, and uv accepts nothing else.
    if tail[behind:].strip(b"\0"):
        raise BadArchive("bytes-after", "it has other bytes after its end, which not every reader accepts")
    _refuse_other_end(tail, at, behind)
    is_plain = not comment and behind == len(tail)
    end = size - len(tail) + at
    large = _large_end(file, end, numbers)
    return _directory(file, large or numbers, end - (_LOCATOR.size + _END64.size if large else 0), is_plain)


def _refuse_other_end(tail: bytes, last: int, behind: int) -> None:
    """Refuse an earlier end record whose comment reaches the end of the file: other readers find that one."""
    at = tail.find(b"PK\x05\x06")
    while 0 <= at < last:
        if len(tail) - at >= _END.size and behind <= at + _END.size + _END.unpack_from(tail, at)[-1] <= len(tail):
            raise BadArchive("two-ends", "it has two end records, so readers use different directories", "unsafe")
        at = tail.find(b"PK\x05\x06", at + 1)


def _large_end(file: BinaryIO, end: int, numbers: list[int]) -> list[int] | None:
    """The values of the zip64 end record, which zipfile always reads and others only when they need it."""
    if end < _LOCATOR.size:
        return None
    file.seek(end - _LOCATOR.size)
    mark, disk, at, disks = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if mark != b"PK\x06\x07":
        return None
    start = end - _LOCATOR.size - _END64.size
    file.seek(max(start, 0))
    mark, size, _, _, *large = _END64.unpack(file.read(_END64.size).ljust(_END64.size))
    if start < 0 or mark != b"PK\x06\x06" or size != _END64.size - 12 or disk or disks > 1 or at > start:
        raise BadArchive("zip64-end", "its zip64 end record is not where readers look for it", "unsafe")
    small = [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, FULL, FULL]
    if any(one not in (other, most) for one, other, most in zip(numbers, large, small, strict=True)):
        raise BadArchive("two-ends", "its two end records disagree", "unsafe")
    return [*large, at - start]


def _directory(file: BinaryIO, numbers: list[int], end: int, is_plain: bool) -> ZipDirectory:
    disk, first, here, count, length, offset, *shift = numbers
    if disk or first or here != count:
        raise BadArchive("multi-part", "it is one of several parts of an archive")
    if length > MAX_DIRECTORY or count > MAX_MEMBERS:
        raise BadArchive(
            "directory-too-large", f"its directory is larger than that of any package ({count} members, {length} bytes)"
        )
    start = end - length
    prefix = start - offset
    if start < 0 or prefix < 0 or (shift and -shift[0] != prefix):
        raise BadArchive("directory-damaged", _NOT_WHOLE + "its directory is not where its end says")
    file.seek(start)
    entries = file.read(length)
    if len(entries) != length or (count and not entries.startswith(b"PK\x01\x02")):
        raise BadArchive("directory-damaged", _NOT_WHOLE + "its directory is damaged")
    return ZipDirectory(start, prefix, count, entries, is_plain and not shift and not prefix)


def read_directory(file: BinaryIO) -> tuple[ZipDirectory, list[ZipMember]]:
    """The directory and every member in it; raises BadArchive."""
    directory = find_directory(file)
    _, prefix, _, entries, is_plain = directory
    at = 0
    members: list[ZipMember] = []
    while at < len(entries):
        if len(entries) - at < _ENTRY.size or len(members) >= directory.members:
            raise BadArchive("directory-damaged", _NOT_WHOLE + "its directory is truncated, or longer than it says")
        (mark, _, _, flags, method, _, _, crc, packed, unpacked, name_length, extra_length, comment, disk, _, _,
         offset) = _ENTRY.unpack_from(entries, at)  # fmt: skip
        begin = at + _ENTRY.size
        at = begin + name_length + extra_length + comment
        if mark != b"PK\x01\x02" or at > len(entries) or disk:
            raise BadArchive("directory-damaged", _NOT_WHOLE + "its directory is damaged")
        raw = entries[begin : begin + name_length]
        name = decoded(raw, flags)
        if extra_length or FULL in (packed, unpacked, offset):
            extra = extra_fields(entries[begin + name_length : begin + name_length + extra_length])
            unpacked, packed, offset = large_sizes(extra, [unpacked, packed, offset])
            check_unicode_path(extra, raw, name)
        if extra_length or comment or flags or not name.isascii():
            is_plain = False
        head = entries[begin - 40 : begin - 14] + raw
        members.append(ZipMember(name, raw, flags, method, crc, packed, unpacked, offset + prefix, head))
    if len(members) != directory.members:
        raise BadArchive(
            "directory-damaged", _NOT_WHOLE + f"its directory has {len(members)} members and says {directory.members}"
        )
    return ZipDirectory(directory.start, prefix, len(members), b"", is_plain), members


def decoded(raw: bytes, flags: int) -> str:
    """A member's name as zipfile decodes it; raises BadArchive for a name that no file can have."""
    if not raw or len(raw) > MAX_NAME or b"\0" in raw:
        raise BadArchive("invalid-name", "a name in it is empty, longer than any path, or contains a NUL", "unsafe")
    if raw.isascii():
        return str(raw, "ascii")
    try:
        return raw.decode("utf-8" if flags & UTF_8 else "cp437")
    except UnicodeDecodeError:
        raise BadArchive("invalid-name", "a name in it is marked as UTF-8 but is not") from None


def extra_fields(extra: bytes) -> dict[int, bytes]:
    """The extra fields of a member by their number; raises BadArchive for ambiguous ones (APPNOTE 4.5)."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        number, length = struct.unpack_from("<2H", extra, at)
        if at + 4 + length > len(extra):
            raise BadArchive("extra-truncated", "an extra field in it is truncated")
        if number in fields and number in (_ZIP64, _UNICODE_PATH):
            raise BadArchive("extra-twice", "a member of it has its sizes or its name twice", "unsafe")
        fields[number] = extra[at + 4 : at + 4 + length]
        at += 4 + length
    return fields


def large_sizes(fields: dict[int, bytes], small: list[int]) -> list[int]:
    """These numbers, with those that do not fit into 32 bits from the zip64 field, which must not contradict others."""
    data = fields.get(_ZIP64, b"")
    large = list(struct.unpack_from(f"<{min(len(data) // 8, 3)}Q", data))
    try:
        sizes = [large.pop(0) if number == FULL else number for number in small]
    except IndexError:
        raise BadArchive("sizes-missing", "a member of it lacks its 64-bit sizes") from None
    if any(number not in sizes for number in large):
        raise BadArchive("two-sizes", "a member of it has two sizes", "unsafe")
    return sizes


def check_unicode_path(fields: dict[int, bytes], raw: bytes, name: str) -> None:
    """Check Info-ZIP's Unicode name of a member, which newer readers use: only non-ASCII characters may differ."""
    field = fields.get(_UNICODE_PATH)
    if field is None:
        return
    other = field[5:].decode("utf-8", "replace")
    in_bytes, in_text = _NOT_ASCII
    is_alike = in_text.sub("?", other).encode("ascii") == in_bytes.sub(b"?", raw)
    hides = other != name and any("-info" in part for part in parts_of(other))
    if len(field) < 5 or not is_alike or hides or (field[1:5] != struct.pack("<L", zlib.crc32(raw)) and other != name):
        raise BadArchive("two-names", f"its member {said(name)} has another name for some readers", "unsafe")
