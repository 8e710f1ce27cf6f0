"""Source distributions whose archive is made to cost its reader much: headers, members and sizes around the limits."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
import tarfile
from collections.abc import Callable, Iterable

from tests.make_archives import core_metadata

from .around import around, size

Chance = random.Random
BLOCK = 512
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".tar.gz": lambda data: gzip.compress(data, 9, mtime=0),
    ".tar.bz2": bz2.compress,
    ".tar.xz": lambda data: lzma.compress(data, preset=1),
    ".tgz": lambda data: gzip.compress(data, 1, mtime=0),
}
HEADER_BYTES, KEYS, MEMBERS, IN_A_ROW = 64 << 10, 100, 100_000, 8
MOST_BYTES = 96 << 20


def header(name: str, length: int = 0, kind: bytes = b"0") -> bytes:
    """One block that announces ``length`` bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.type = length, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def entry(name: str, data: bytes, kind: bytes = b"0") -> bytes:
    return header(name, len(data), kind) + data + bytes(-len(data) % BLOCK)


def record(key: bytes, value: bytes) -> bytes:
    """A record of a pax header, which begins with its own length in decimal."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return str(length).encode() + rest


def long_names(chance: Chance, stem: str) -> bytes:
    """GNU headers with the name, or the target of a link, of the member behind them."""
    kind = chance.choice((b"L", b"K"))
    length = around(chance, HEADER_BYTES, most=MOST_BYTES)
    times = max(1, min(around(chance, 1000), MOST_BYTES // (length + 3 * BLOCK)))
    # One character that is not Latin makes text of four bytes for each.
    odd = "\U0001f600".encode() if length % 2 else b""
    one = entry("././@LongLink", b"a" * (length - len(odd)) + odd + b"\0", kind)
    return (one + header(f"{stem}/x")) * times if chance.random() < 0.7 else one * times + header(f"{stem}/x")


def pax_keys(chance: Chance, stem: str) -> bytes:
    """One pax header of many keys."""
    keys = around(chance, chance.choice((KEYS, 100_000)), most=min(400_000, MOST_BYTES // 16))
    records = b"".join(record(b"k%d" % number, b"v") for number in range(keys))
    return entry(f"{stem}/pax", records, chance.choice((b"x", b"g"))) + header(f"{stem}/x")


def pax_value(chance: Chance, stem: str) -> bytes:
    """One pax header with a long value, of a key that readers know or do not know."""
    key = chance.choice(
        (b"path", b"linkpath", b"comment", b"size", b"mtime", b"uname", b"GNU.sparse.map", b"hdrcharset")
    )
    value = chance.choice((b"a", b"9", b"1,", b"\xff")) * around(chance, HEADER_BYTES, most=8 << 20)
    return entry(f"{stem}/pax", record(key, value), chance.choice((b"x", b"g"))) + header(f"{stem}/x")


def pax_in_a_row(chance: Chance, stem: str) -> bytes:
    """Extension headers that follow each other with no member between them."""
    times = around(chance, chance.choice((IN_A_ROW, 2_000)), most=60_000)
    kind = chance.choice((b"x", b"g", b"L", b"K"))
    data = record(b"comment", b"c") if kind in b"xg" else b"n\0"
    return entry(f"{stem}/pax", data, kind) * times + header(f"{stem}/x")


def globals_between(chance: Chance, stem: str) -> bytes:
    """Global headers between members: what they say holds for all that follow."""
    records = b"".join(record(b"k%d" % number, b"v" * 100) for number in range(around(chance, KEYS, most=2_000)))
    return (entry("g", records, b"g") + header(f"{stem}/x")) * min(around(chance, 500), MOST_BYTES // len(records) + 1)


def empty_members(chance: Chance, stem: str) -> bytes:
    """Many members with nothing in them."""
    kind = chance.choice((b"0", b"5", b"2", b"7", b"\0", b"Z"))
    return header(f"{stem}/x", kind=kind) * around(chance, MEMBERS, most=199_000)


def sparse(chance: Chance, stem: str) -> bytes:
    """A map of holes that is longer than what it describes."""
    pairs = around(chance, chance.choice((100, 20_000)), most=300_000)
    if chance.random() < 0.5:
        keys = record(b"GNU.sparse.major", b"0") + record(b"GNU.sparse.size", b"9" * chance.choice((3, 12, 18)))
        return entry("pax", keys + record(b"GNU.sparse.map", b",".join([b"0,1"] * pairs)), b"x") + header(f"{stem}/x")
    block = bytearray(header(f"{stem}/x", kind=b"S"))
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more = struct.pack("12s12s", b"0" * 11, b"0" * 11) * 21 + b"\1" + bytes(7)
    return bytes(block) + more * min(pairs, 40_000) + more[:-8] + bytes(8)


def large_member(chance: Chance, stem: str) -> bytes:
    """A member of zeros, which compress to a thousandth."""
    name = chance.choice((f"{stem}/x", f"{stem}/PKG-INFO", f"{stem}/a/PKG-INFO"))
    length = around(chance, chance.choice((512 << 10, 16 << 20)), most=MOST_BYTES)
    return entry(name, chance.choice((b"\0", b"A", b"\n", b"Name: x\n ")) * 1 + bytes(length))


def lying_size(chance: Chance, stem: str) -> bytes:
    """A size that is not true: huge, negative or no number."""
    block = bytearray(header(f"{stem}/x"))
    said = (b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-0000000001\0", b"99999999999\0", bytes(12))
    block[124:136] = chance.choice(said)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) * around(chance, 20, most=20_000)


def deep_names(chance: Chance, stem: str) -> bytes:
    """Names of many folders inside each other."""
    name = f"{stem}/" + "a/" * around(chance, chance.choice((50, 5_000)), most=1 << 20)
    return entry("././@LongLink", name.encode() + b"\0", b"L") + header(f"{stem}/x", kind=chance.choice((b"0", b"5")))


EVIL: dict[str, Callable[[Chance, str], bytes]] = {
    "tar: long names": long_names,
    "tar: keys of a pax header": pax_keys,
    "tar: value of a pax header": pax_value,
    "tar: headers in a row": pax_in_a_row,
    "tar: global headers": globals_between,
    "tar: empty members": empty_members,
    "tar: sparse": sparse,
    "tar: large member": large_member,
    "tar: lying size": lying_size,
    "tar: deep names": deep_names,
}


def make(chance: Chance, project: str, evil: Callable[[Chance, str], bytes]) -> tuple[str, bytes]:
    """The name and the bytes of a source distribution with something evil before or behind its metadata."""
    stem = f"{project}-1.0"
    parts: list[bytes] = [entry(f"{stem}/PKG-INFO", core_metadata(project, "1.0", metadata_version="2.2"))]
    parts.insert(chance.randrange(2), evil(chance, stem))
    ending = chance.choices(list(COMPRESSORS), (6, 1, 1, 1))[0]
    return stem + ending, COMPRESSORS[ending](damaged(chance, b"".join(parts) + bytes(2 * BLOCK)))


def damaged(chance: Chance, data: bytes) -> bytes:
    """Sometimes cut off, as what was sent half is."""
    return data[: size(chance, 1, len(data))] if chance.random() < 0.05 else data


def kinds() -> Iterable[tuple[str, Callable[[Chance, str], tuple[str, bytes]]]]:
    """Each kind with the function that makes a package of it."""
    for name, evil in EVIL.items():
        yield name, lambda chance, project, evil=evil: make(chance, project, evil)
