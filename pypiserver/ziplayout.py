"""Whether a zip archive says the same to whoever reads its directory and to whoever reads it from the front.

pip reads the directory at the end, other installers the headers before each member: where the two differ, what is
checked is not what is installed. The rules to keep: every member has one header, which agrees with its entry; members
share no bytes, and none is hidden between them.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from typing import BinaryIO

_LOCAL = struct.Struct("<4s5H3L2H")
_MARK = b"PK\x03\x04"
_UTF_8, _SIZES_BEHIND = 0x800, 0x8
# Sizes and checksum behind a member, with and without a mark, in 32 and in 64 bits.
_MOST_BEHIND = 24
_MOST_READ = 65_536


def layout_faults(file: BinaryIO, members: Sequence[zipfile.ZipInfo]) -> list[str]:
    """Where the headers before the members and the directory disagree, one sentence for each kind of fault."""
    ordered = sorted(members, key=lambda member: member.header_offset)
    ends = [member.header_offset for member in ordered[1:]]
    faults: dict[str, str] = {}
    for member, following in zip(ordered, [*ends, None], strict=True):
        file.seek(member.header_offset)
        head = file.read(_LOCAL.size)
        if len(head) != _LOCAL.size or not head.startswith(_MARK):
            faults.setdefault("missing", f"its member {member.filename!r} is not where its directory says")
            continue
        flags, packed, unpacked, name_length, extra_length = _parts(head)
        name = file.read(name_length).decode("utf-8" if flags & _UTF_8 else "cp437", "replace")
        if name != member.orig_filename:
            faults.setdefault("name", f"its member {member.filename!r} is called {name!r} in front of its bytes")
        sizes = (member.compress_size, member.file_size)
        if not flags & _SIZES_BEHIND and 0xFFFFFFFF not in (packed, unpacked) and (packed, unpacked) != sizes:
            faults.setdefault("size", f"its member {member.filename!r} has two sizes")
        end = member.header_offset + _LOCAL.size + name_length + extra_length + member.compress_size
        if following is not None and end > following:
            faults.setdefault("shared", "members of it share their bytes")
        elif following is not None and following - end > _MOST_BEHIND and _hides_a_member(file, end, following):
            faults.setdefault("hidden", "it hides a member that is not in its directory")
    return list(faults.values())


def _parts(head: bytes) -> tuple[int, int, int, int, int]:
    fields = _LOCAL.unpack(head)
    return fields[2], fields[7], fields[8], fields[9], fields[10]


def _hides_a_member(file: BinaryIO, start: int, end: int) -> bool:
    file.seek(start)
    return _MARK in file.read(min(end - start, _MOST_READ))
