"""Checks that a zip archive is the same for readers of its directory and for streaming readers.

pip reads the directory at the end, uv the header before each member as it arrives: if the two differ, the checked
content is not the installed one. **Invariants:** the archive begins with a member; every member has one header, which
agrees with its entry; members share no bytes, and none is hidden before, between or after them, or in one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import BinaryIO

from .archive_limits import MAX_METADATA, BadArchive, foreign, said, sane_size
from .zip_directory import (
    ENCRYPTED,
    FULL,
    STREAMED,
    UTF_8,
    ZipDirectory,
    ZipMember,
    check_unicode_path,
    extra_fields,
    large_sizes,
)

_LOCAL = struct.Struct("<4s5H3L2H")
_MARK, _ENTRY_MARK, _BEHIND_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
_BLOCK = 1 << 18
_STORED, _DEFLATED = 0, 8
_offset = attrgetter("offset")


def check_layout(
    file: BinaryIO, directory: ZipDirectory, members: Sequence[ZipMember], *, may_be_script: bool = False
) -> None:
    """Raise BadArchive if headers and directory disagree, or bytes between members look like a member.

    ``may_be_script`` allows a script before the archive, as eggs have it that install themselves.
    """
    ordered = sorted(members, key=_offset)
    is_bomb = sum(member.unpacked for member in members) > sane_size(sum(member.packed for member in members))
    end = ordered[0].offset if may_be_script and ordered else 0
    if end:
        _check_script(file, end)
    for member in ordered:
        if member.offset != end:
            _check_gap(file, end, member.offset)
        end = _check_member(file, member)
        if member.flags & STREAMED:
            end = _check_streamed(file, member, end, is_bomb)
    if end != directory.start:
        _check_gap(file, end, directory.start)


def _check_script(file: BinaryIO, end: int) -> None:
    file.seek(0)
    if file.read(2) != b"#!":
        raise BadArchive("bytes-before", "it has bytes before its first member", "unsafe")
    _check_gap(file, 2, end)


def _check_gap(file: BinaryIO, start: int, end: int) -> None:
    """Refuse bytes between members that look like a member; readers of the directory skip them."""
    if start > end:
        raise BadArchive("shared-bytes", "members of it share their bytes", "unsafe")
    if has_mark(file, start, end, (_MARK, _ENTRY_MARK)):
        raise BadArchive("hidden-member", "it hides a member that is not in its directory", "unsafe")
    if start == 0:
        raise BadArchive("bytes-before", "it has bytes before its first member", "unsafe")


def _check_member(file: BinaryIO, member: ZipMember) -> int:
    """Compare a member's header with its entry; the offset at which its bytes end."""
    file.seek(member.offset)
    head = file.read(_LOCAL.size + len(member.raw))
    if head[4:] == member.head and head[28:30] == b"\0\0" and head.startswith(_MARK) and member.packed < FULL:
        # Nearly all headers equal their entry in every bit, and have no extra fields.
        if member.method == _STORED and member.packed != member.unpacked:
            raise BadArchive("two-sizes", f"its member {said(member.name)} has two sizes", "unsafe")
        return member.offset + len(head) + member.packed
    if len(head) != _LOCAL.size + len(member.raw) or not head.startswith(_MARK):
        raise BadArchive("member-not-found", f"its member {said(member.name)} is not where its directory says")
    _, _, flags, method, _, _, crc, packed, unpacked, name_length, extra_length = _LOCAL.unpack_from(head)
    if name_length != len(member.raw) or head[_LOCAL.size :] != member.raw:
        raise BadArchive(
            "two-names", f"its member {said(member.name)} has another name in front of its bytes", "unsafe"
        )
    if extra_length:
        fields = extra_fields(file.read(extra_length))
        check_unicode_path(fields, member.raw, member.name)
        if FULL in (packed, unpacked):
            unpacked, packed = large_sizes(fields, [unpacked, packed])
    differs = flags ^ member.flags
    if method != member.method or differs & (ENCRYPTED | STREAMED) or (differs & UTF_8 and not member.name.isascii()):
        raise BadArchive("two-methods", f"its member {said(member.name)} is packed in two ways", "unsafe")
    known = (member.crc, member.packed, member.unpacked)
    here = (crc, packed, unpacked)
    is_known_later = flags & STREAMED and all(one in (0, other) for one, other in zip(here, known, strict=True))
    if here != known and not is_known_later:
        raise BadArchive("two-sizes", f"its member {said(member.name)} has two sizes or checksums", "unsafe")
    if method == _STORED and member.packed != member.unpacked:
        raise BadArchive("two-sizes", f"its member {said(member.name)} has two sizes", "unsafe")
    return member.offset + _LOCAL.size + int(name_length + extra_length) + member.packed


def _check_streamed(file: BinaryIO, member: ZipMember, end: int, is_bomb: bool) -> int:
    """Check a member whose sizes follow its bytes, as a streaming reader sees it; the offset at which it ends."""
    start = end - member.packed
    if has_mark(file, start, end, (_MARK, _ENTRY_MARK, _BEHIND_MARK)):
        if is_bomb:
            # Only unpacking it would tell.
            raise BadArchive("too-large", "it unpacks to more than a package can have", "unsafe")
        if not _ends_at(file, member, start):
            raise BadArchive("ends-early", f"its member {said(member.name)} ends early for some readers", "unsafe")
    file.seek(end)
    data = file.read(24)
    for size, form in ((24, "<LQQ"), (16, "<LLL"), (20, "<LQQ"), (12, "<LLL")):
        marked = size in (24, 16)
        if marked == data.startswith(_BEHIND_MARK) and len(data) >= size:
            numbers = struct.unpack_from(form, data, 4 if marked else 0)
            if numbers == (member.crc, member.packed, member.unpacked):
                return end + size
    if data.startswith(_BEHIND_MARK):
        raise BadArchive("two-sizes", f"its member {said(member.name)} has two sizes or checksums", "unsafe")
    return end


def _ends_at(file: BinaryIO, member: ZipMember, start: int) -> bool:
    """Whether a member's packed bytes are exactly one stream, which unpacks to no more bytes than it says."""
    if member.method != _DEFLATED:
        return False
    stream, left, unpacked = zlib.decompressobj(-15), member.packed, 0
    for block in _blocks(file, start, start + member.packed):
        if stream.eof:
            return False
        left -= len(block)
        with foreign("stream", "a member of it cannot be unpacked"):
            while block and not stream.eof:
                unpacked += len(stream.decompress(block, _BLOCK))
                if unpacked > member.unpacked:
                    return False
                block = stream.unconsumed_tail
    return stream.eof and not stream.unused_data and not left


def _blocks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end and (block := file.read(min(_BLOCK, end - start))):
        start += len(block)
        yield block


def has_mark(file: BinaryIO, start: int, end: int, marks: Sequence[bytes]) -> bool:
    """Whether one of these four-byte marks is in the given part of a file."""
    before = b""
    for block in _blocks(file, start, end):
        seen = before + block
        if any(mark in seen for mark in marks):
            return True
        before = seen[-3:]
    return False


def read_member(file: BinaryIO, member: ZipMember) -> bytes:
    """The unpacked bytes of a member that passed :func:`check_layout`; raises BadArchive."""
    if member.packed > MAX_METADATA or member.unpacked > MAX_METADATA:
        raise BadArchive("metadata-too-large", "its metadata is larger than 8 MiB")
    if member.flags & ENCRYPTED or member.method not in (_STORED, _DEFLATED):
        raise BadArchive("compression", "its metadata is encrypted, or has a compression that not every reader knows")
    file.seek(member.offset)
    head = file.read(_LOCAL.size)
    if len(head) != _LOCAL.size:
        raise BadArchive("changed", "it changed while it was read")
    file.seek(member.offset + _LOCAL.size + sum(_LOCAL.unpack(head)[9:11]))
    data = file.read(member.packed)
    if member.method == _DEFLATED:
        with foreign("stream", "its metadata cannot be unpacked"):
            stream = zlib.decompressobj(-15)
            data = stream.decompress(data, member.unpacked + 1)
            if stream.unused_data or stream.unconsumed_tail or not stream.eof:
                raise BadArchive("two-sizes", "its metadata has another size than its directory says", "unsafe")
    if len(data) != member.unpacked:
        raise BadArchive("two-sizes", "its metadata has another size than its directory says", "unsafe")
    if zlib.crc32(data) != member.crc:
        raise BadArchive("checksum", "its metadata has another checksum than its directory says")
    return data
