"""Wheels whose archive is made to cost its reader much: members, names, sizes and directories around the limits."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from tests.make_archives import make_wheel

from .around import around

Chance = random.Random
MEMBERS, NAME_BYTES, DIRECTORY_BYTES = 20_000, 65_535, 16 << 20
ENTRY_BYTES = 46
MOST_BYTES = 96 << 20


@dataclass(frozen=True)
class Member:
    """A member as an archive holds it.

    ``descriptor`` is what follows the data where the sizes were not known before: the header does not say them then.
    """

    name: bytes
    data: bytes = b""
    size: int = 0
    crc: int = 0
    extra: bytes = b""
    comment: bytes = b""
    method: int = 8
    descriptor: bytes = b""


@dataclass(frozen=True)
class Archive:
    """Members, and what is before and behind them."""

    members: list[Member]
    before: bytes = b""
    comment: bytes = b""
    zip64: bool = False

    def to_bytes(self) -> bytes:
        """As no library would write it where a field says more than is true."""
        parts, entries, at = [self.before], [], len(self.before)
        for member in self.members:
            kind = (45, 0x808 if member.descriptor else 0x800, member.method, 0, 33)
            sizes, lengths = (member.crc, len(member.data), member.size), (len(member.name), len(member.extra))
            said = struct.pack("<5H3L2H", *kind, *sizes, *lengths)
            before = struct.pack("<5H3L2H", *kind, 0, 0, 0, *lengths) if member.descriptor else said
            local = b"PK\3\4" + before + member.name + member.extra + member.data + member.descriptor
            tail = struct.pack("<3H2L", len(member.comment), 0, 0, 0, at)
            entries.append(b"PK\1\2\x2d\0" + said + tail + member.name + member.extra + member.comment)
            parts.append(local)
            at += len(local)
        directory = b"".join(entries)
        count = len(self.members)
        end = [directory]
        if self.zip64 or count > 0xFFFE:
            sizes = (44, 45, 45, 0, 0, count, count, len(directory), at)
            end.append(struct.pack("<4sQ2H2L4Q", b"PK\6\6", *sizes))
            end.append(struct.pack("<4sLQL", b"PK\6\7", 0, at + len(directory), 1))
        few = min(count, 0xFFFF)
        end.append(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, few, few, len(directory), at, len(self.comment)))
        return b"".join([*parts, *end, self.comment])


def deflated(name: bytes, data: bytes) -> Member:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return Member(name, packer.compress(data) + packer.flush(), len(data), zlib.crc32(data))


def members_of(wheel: bytes) -> list[Member]:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return [deflated(name.encode(), archive.read(name)) for name in archive.namelist()]


EMPTY = deflated(b"x", b"")


def many_members(chance: Chance, archive: Archive) -> Archive:
    """Many members with nothing in them."""
    number = around(chance, MEMBERS, most=120_000)
    return replace(archive, members=[replace(EMPTY, name=b"f%d" % at) for at in range(number)] + archive.members)


def zip64(chance: Chance, archive: Archive) -> Archive:
    """A directory of zip64, also where none is needed."""
    number = around(chance, chance.choice((10, 65_535)), most=150_000)
    more = [replace(EMPTY, name=b"f%d" % at) for at in range(number)]
    return replace(archive, members=archive.members + more, zip64=True)


def long_names(chance: Chance, archive: Archive) -> Archive:
    """Names, extra fields and comments as long as their 16 bits allow."""
    length = min(NAME_BYTES, around(chance, chance.choice((1000, NAME_BYTES))))
    part = chance.choice(("name", "extra", "comment"))
    long = replace(EMPTY, **{part: chance.choice((b"a", b"/", b"\xff", b"\xc3\xa9", b"\x75\x70\4\0")) * (length // 4)})
    number = min(around(chance, 300), MOST_BYTES // (2 * length))
    more = [replace(long, name=b"%d" % at + (long.name if part == "name" else b"x")) for at in range(number)]
    return replace(archive, members=more + archive.members)


def surrounded(chance: Chance, archive: Archive) -> Archive:
    """Bytes before the archive, and a comment behind it."""
    before = chance.choice((b"", b"#!/bin/sh\n", archive.to_bytes(), b"PK\3\4" * around(chance, 100_000, most=1 << 20)))
    comment = chance.choice((b"", b"PK\5\6", b"PK\6\7", archive.to_bytes(), b"c")) * chance.choice((1, 1, 1000))
    return replace(archive, before=before, comment=comment[:65_535])


def duplicates(chance: Chance, archive: Archive) -> Archive:
    """One name many times, that of the metadata too."""
    name = chance.choice([EMPTY.name, *(member.name for member in archive.members)])
    return replace(archive, members=archive.members + [replace(EMPTY, name=name)] * around(chance, 1_000, most=60_000))


def deep_names(chance: Chance, archive: Archive) -> Archive:
    """Folders inside each other."""
    depth = min(around(chance, chance.choice((50, 20_000))), NAME_BYTES // 2 - 8)
    more = [replace(EMPTY, name=b"a/" * depth + b"%d" % at) for at in range(min(around(chance, 100), 400))]
    return replace(archive, members=more + archive.members)


def ratio(chance: Chance, archive: Archive) -> Archive:
    """A member that compresses to a thousandth: the metadata itself, or another one."""
    at = chance.randrange(len(archive.members))
    length = around(chance, chance.choice((512 << 10, 16 << 20)), most=MOST_BYTES)
    name = archive.members[at].name if chance.random() < 0.6 else b"data.bin"
    bomb = deflated(name, chance.choice((b"\0", b"A", b"\n", b"Name: bomb\n", b" \n")) * 1 + bytes(length))
    return replace(archive, members=[*archive.members[:at], bomb, *archive.members[at + 1 :]])


def overlapping(chance: Chance, archive: Archive) -> Archive:
    """Every entry says that it unpacks to much more than it has."""
    number = around(chance, 1_000, most=40_000)
    lying = replace(deflated(b"", bytes(1 << 20)), size=chance.choice((0, 1, 0xFFFFFFFE, 1 << 30)))
    return replace(archive, members=archive.members + [replace(lying, name=b"f%d" % at) for at in range(number)])


def described(chance: Chance, member: Member) -> Member:
    """The member as one writes it who streams: its sizes are behind it, in one of the forms that are about."""
    mark = chance.choice((b"PK\7\x08", b"PK\7\x08", b""))
    sizes = struct.pack(chance.choice(("<3L", "<3L", "<L2Q")), member.crc, len(member.data), member.size)
    return replace(member, descriptor=mark + sizes)


def streamed(chance: Chance, archive: Archive) -> Archive:
    """Members with their sizes behind them, among bytes that look like such an end."""
    number = around(chance, chance.choice((10, 1_000, MEMBERS)), most=60_000)
    text = chance.choice((b"", b"PK\7\x08", b"PK\7\x08" + bytes(12), b"PK\3\4")) * chance.choice((1, 20, 1_000))
    text = text[: MOST_BYTES // (2 * number)]
    plain = Member(b"", text, len(text), zlib.crc32(text), method=0)
    more = [described(chance, replace(chance.choice((EMPTY, plain)), name=b"s%d" % at)) for at in range(number)]
    return replace(archive, members=more + [described(chance, member) for member in archive.members])


def large_directory(chance: Chance, archive: Archive) -> Archive:
    """A directory around the most bytes that are read, of few entries or of many."""
    bytes_ = min(around(chance, DIRECTORY_BYTES), MOST_BYTES)
    each = chance.choice((160, 1_000, NAME_BYTES - ENTRY_BYTES - 8))
    part = chance.choice(("name", "extra", "comment"))
    long = replace(EMPTY, **{part: b"\xfe\xca" + struct.pack("<H", each - 4) + b"x" * (each - 4)})
    number = max(1, bytes_ // (ENTRY_BYTES + each + 5))
    more = [replace(long, name=b"%05d" % at + (long.name if part == "name" else b"")) for at in range(number)]
    return replace(archive, members=more + archive.members, zip64=chance.random() < 0.3)


EVIL: dict[str, Callable[[Chance, Archive], Archive]] = {
    "zip: many members": many_members,
    "zip: zip64": zip64,
    "zip: long names": long_names,
    "zip: bytes around it": surrounded,
    "zip: duplicates": duplicates,
    "zip: deep names": deep_names,
    "zip: ratio": ratio,
    "zip: lying sizes": overlapping,
    "zip: streamed members": streamed,
    "zip: large directory": large_directory,
}


def make(chance: Chance, project: str, evil: Callable[[Chance, Archive], Archive]) -> tuple[str, bytes]:
    """The name and the bytes of a wheel whose archive is evil."""
    name, wheel = make_wheel(project, "1.0")
    data = evil(chance, Archive(members_of(wheel))).to_bytes()
    return name, data[: -chance.randrange(1, 200)] if chance.random() < 0.05 else data


def kinds() -> Iterable[tuple[str, Callable[[Chance, str], tuple[str, bytes]]]]:
    """Each kind with the function that makes a package of it."""
    for name, evil in EVIL.items():
        yield name, lambda chance, project, evil=evil: make(chance, project, evil)
