"""Archives that are no plain ones, made byte by byte: those that readers take in two ways, bombs, and harmless ones.

Each is a file name and the function that makes the bytes. In an AMBIGUOUS one some reader finds the summary "evil".
"""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.make_archives import core_metadata, make_egg, make_sdist, make_wheel

WHEEL, SDIST, ZIP_SDIST = "foo-1.0-py3-none-any.whl", "foo-1.0.tar.gz", "foo-1.0.zip"
INFO = "foo-1.0.dist-info"
GOOD, EVIL = core_metadata("foo", "1.0", summary="good"), core_metadata("foo", "1.0", summary="evil")
BLOCK = 512
Shapes = dict[str, tuple[str, Callable[[], bytes]]]


@dataclass(frozen=True)
class Entry:
    """A member of a zip archive; what is None is as it should be."""

    name: str
    data: bytes = b""
    local_name: str | None = None
    extra: bytes = b""
    local_extra: bytes | None = None
    comment: bytes = b""
    is_streamed: bool = False
    is_listed: bool = True
    packed: bytes | None = None
    local_crc: int | None = None

    @property
    def is_marked(self) -> bool:
        """Whether the name is said to be UTF-8."""
        return not self.name.isascii() and not any("\ud800" <= each <= "\udfff" for each in self.name)


def zipped(
    entries: Sequence[Entry], *, before: bytes = b"", count: int | None = None, end: bytes | None = None,
    comment: bytes = b"", after: bytes = b"", shift: int = 0,
) -> bytes:  # fmt: skip
    """A zip archive; ``end`` stands between directory and end record, ``shift`` is added to every offset."""
    body, directory, listed = bytearray(before), bytearray(), 0
    for entry in entries:
        packed = deflated(entry.data) if entry.packed is None else entry.packed
        crc, flags = zlib.crc32(entry.data), (8 if entry.is_streamed else 0) | (0x800 if entry.is_marked else 0)
        sizes = (crc, len(packed), len(entry.data))
        offset, name = len(body) + shift, entry.name.encode("utf-8", "surrogateescape")
        local_name = entry.local_name.encode() if entry.local_name else name
        local = (0, 0, 0) if entry.is_streamed else (entry.local_crc or crc, *sizes[1:])
        extra = entry.extra if entry.local_extra is None else entry.local_extra
        body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, 8, 0, 33, *local, len(local_name), len(extra))
        body += local_name + extra + packed
        if entry.is_streamed:
            body += struct.pack("<4s3L", b"PK\7\x08", *sizes)
        if entry.is_listed:
            listed += 1
            lengths = (len(name), len(entry.extra), len(entry.comment))
            directory += struct.pack(
                "<4s6H3L5H2L", b"PK\1\2", 20, 20, flags, 8, 0, 33, *sizes, *lengths, 0, 0, 0, offset
            )
            directory += name + entry.extra + entry.comment
    count = listed if count is None else count
    start = len(body) + shift
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), start, len(comment))
    return bytes(body + directory + (end or b"") + tail + comment + after)


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


def wheel_entries(*more: Entry, info: str = INFO, without: str = "") -> list[Entry]:
    """What a wheel has, with a RECORD that is true for nothing."""
    record = f"foo.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n".encode()
    tags = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members = {"foo.py": b"x = 1\n", f"{info}/METADATA": GOOD, f"{info}/WHEEL": tags, f"{info}/RECORD": record}
    return [*[Entry(name, data) for name, data in members.items() if name != without], *more]


def large_end(count: int, length: int, start: int, at: int) -> bytes:
    """A zip64 end record, which is at ``at``, and its locator."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)


def with_large_end(data: bytes, *, is_needed: bool = False) -> bytes:
    """The same archive with a zip64 end record, which small ones do not need."""
    at = data.rindex(b"PK\5\6")
    count, length, start = struct.unpack_from("<H2L", data, at + 10)
    tail = data[at:]
    if is_needed:
        tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:at] + large_end(count, length, start, at) + tail


def other_directory_in_a_comment() -> bytes:
    """The last entry's comment is another directory and a zip64 end record, which zipfile looks for before the end."""
    evil = [Entry(each.name, EVIL if each.name.endswith("METADATA") else each.data) for each in wheel_entries()]
    first = zipped(evil)
    start, end = first.index(b"PK\1\2"), first.rindex(b"PK\5\6")
    directory, body, data = first[start:end], first[:start], b""
    for _ in range(2):
        # Once to see where it comes to be.
        at = data.rfind(directory)
        entries = wheel_entries()
        comment = directory + large_end(4, len(directory), at % (1 << 32), at % (1 << 32) + len(directory))
        entries[-1] = Entry(entries[-1].name, entries[-1].data, comment=comment)
        data = zipped(entries, before=body)
    return data


def two_ends() -> bytes:
    """An end record whose comment is another archive."""
    evil = [Entry(each.name, EVIL if each.name.endswith("METADATA") else each.data) for each in wheel_entries()]
    first = zipped(wheel_entries())
    second = zipped(evil, shift=len(first))
    return zipped(wheel_entries(), comment=second)


def ends_early() -> bytes:
    """A member whose packed bytes continue behind the end of its stream: with another member."""
    hidden = zipped([Entry(f"{INFO}/METADATA", EVIL)])
    hidden = hidden[: hidden.index(b"PK\1\2")]
    data = b"y = 2\n"
    behind = struct.pack("<4s3L", b"PK\7\x08", zlib.crc32(data), len(deflated(data)), len(data))
    return zipped(wheel_entries(Entry("bar.py", data, is_streamed=True, packed=deflated(data) + behind + hidden)))


def unpacks_much(size: int, said: int) -> bytes:
    """A member that may end early, so that it has to be unpacked; the directory says that it has ``said`` bytes."""
    mark = b"PK\7\x08"
    packed = struct.pack("<B2H", 0, len(mark), 0xFFFF ^ len(mark)) + mark + deflated(bytes(size - len(mark)))
    return zipped(wheel_entries(Entry("bar", bytes(said), is_streamed=True, packed=packed)))


def unicode_path(name: str, other: str) -> bytes:
    data = struct.pack("<BL", 1, zlib.crc32(name.encode())) + other.encode()
    return struct.pack("<2H", 0x7075, len(data)) + data


def hidden(where: str) -> bytes:
    evil = zipped([Entry(f"{INFO}/METADATA", EVIL)])
    evil = evil[: evil.index(b"PK\1\2")]
    if where == "before":
        return zipped(wheel_entries(), before=evil)
    return zipped([*wheel_entries(), Entry(f"{INFO}/METADATA", EVIL, is_listed=False)])


def wheel(*more: Entry, **options: str) -> Callable[[], bytes]:
    return lambda: zipped(wheel_entries(*more, **options))


def zip_sdist(*more: Entry) -> Callable[[], bytes]:
    return lambda: zipped([Entry("foo-1.0/PKG-INFO", GOOD), *more])


def large_sizes(*sizes: int) -> bytes:
    return struct.pack(f"<2H{len(sizes)}Q", 1, 8 * len(sizes), *sizes)


AMBIGUOUS_WHEELS: Shapes = {
    "bytes before the archive": (WHEEL, lambda: zipped(wheel_entries(), before=b"#!/bin/sh\n")),
    "bytes before the archive, not counted": (WHEEL, lambda: b"#!/bin/sh\n" + zipped(wheel_entries())),
    "another directory in a comment": (WHEEL, other_directory_in_a_comment),
    "two ends": (WHEEL, two_ends),
    "two end records that disagree": (WHEEL, lambda: zipped(wheel_entries(), end=large_end(3, 1, 2, 3))),
    "a count that is too small": (WHEEL, lambda: zipped(wheel_entries(), count=3)),
    "a count that is too large": (WHEEL, lambda: zipped(wheel_entries(), count=5)),
    "a member before the first": (WHEEL, lambda: hidden("before")),
    "a member behind the last": (WHEEL, lambda: hidden("behind")),
    "a member in a member": (WHEEL, ends_early),
    "another name in Unicode": (
        WHEEL, wheel(Entry("METADATA.txt", EVIL, extra=unicode_path("METADATA.txt", f"{INFO}/METADATA")))
    ),
    "another name in Unicode in front": (
        WHEEL, wheel(Entry("a.txt", EVIL, local_extra=unicode_path("a.txt", f"{INFO}/METADATA")))
    ),
    "another name in front": (WHEEL, wheel(Entry("METADATA.txt", EVIL, local_name=f"{INFO}/METADATA"))),
    "another checksum in front": (WHEEL, wheel(Entry("a.txt", EVIL, local_crc=1))),
    "sizes twice": (WHEEL, wheel(Entry("a", b"", extra=large_sizes(1) + large_sizes(2)))),
    "other sizes in 64 bits": (WHEEL, wheel(Entry("a", b"a", extra=large_sizes(7, 8)))),
    "an extra field that is cut off": (WHEEL, wheel(Entry("a", b"a", extra=b"\1\0\xff\0"))),
    "a NUL in a name": (WHEEL, wheel(Entry(f"{INFO}/METADATA\0.txt", EVIL))),
    **{
        f"metadata as {name}": (WHEEL, wheel(Entry(name, EVIL)))
        for name in (
            f"{INFO}//METADATA", f"{INFO}/./METADATA", f"./{INFO}/METADATA", f"{INFO}\\METADATA", f"{INFO}/metadata",
            f"{INFO}/METADATA.", "FOO-1.0.dist-info/METADATA", f"{INFO}/x/../METADATA", f"{INFO}./METADATA",
            f"foo-1.0.data/purelib/{INFO}/METADATA", "foo-1.0.data/data/lib/Foo-1.0.dist-info/METADATA",
            "foo-2.0.dist-info/METADATA", "bar-1.0.dist-info/METADATA",
        )
    },
    "a folder of another name": (WHEEL, wheel(info="bar-1.0.dist-info")),
    "a member twice": (WHEEL, wheel(Entry("foo.py", b"other"))),
    "a member twice in two spellings": (WHEEL, wheel(Entry(".//foo.py", b"other"))),
    "metadata twice": (WHEEL, wheel(Entry(f"{INFO}/METADATA", EVIL))),
    "two PKG-INFO in a zip": (ZIP_SDIST, zip_sdist(Entry("a/PKG-INFO", EVIL))),
    "two PKG-INFO of one name in a zip": (ZIP_SDIST, zip_sdist(Entry("foo-1.0/PKG-INFO", EVIL))),
}  # fmt: skip


@functools.lru_cache(4096)
def header(name: str, size: int = 0, kind: bytes = b"0", **fields: bytes) -> bytes:
    """A ustar header; ``fields`` replace what stands at size (``digits``), mode, magic, prefix or link."""
    block = bytearray(BLOCK)

    def put(at: int, length: int, data: bytes) -> None:
        block[at : at + length] = data[:length].ljust(length, b"\0")

    put(0, 100, name.encode("utf-8", "surrogateescape"))
    for at in (100, 108, 116):
        put(at, 8, b"0000644\0")
    put(124, 12, fields.get("digits", b"%011o\0" % size))
    put(136, 12, b"%011o\0" % 1)
    put(156, 1, kind)
    put(157, 100, fields.get("link", b""))
    put(257, 8, fields.get("magic", b"ustar\x0000"))
    put(345, 155, fields.get("prefix", b""))
    if "mode" in fields:
        put(100, 8, fields["mode"])
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def member(name: str, data: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    return header(name, len(data), kind, **fields) + padded(data)


def pax(kind: bytes = b"x", **records: str) -> bytes:
    return member("pax", b"".join(record(name.replace("__", "."), value) for name, value in records.items()), kind)


def record(name: str, value: str) -> bytes:
    text = f" {name}={value}\n".encode()
    length = len(text) + len(str(len(text) + 2))
    return str(length).encode() + text if len(str(length)) + len(text) == length else b"%d" % (length + 1) + text


def long_name(name: str, kind: bytes = b"L") -> bytes:
    return member("././@LongLink", name.encode() + b"\0", kind)


PKG_INFO, EVIL_INFO = member("foo-1.0/PKG-INFO", GOOD), member("foo-1.0/PKG-INFO", EVIL)
END = bytes(2 * BLOCK)


def sdist(*blocks: bytes, end: bytes = END) -> Callable[[], bytes]:
    return lambda: gzip.compress(member("foo-1.0/setup.py", b"1") + b"".join(blocks) + end, 6, mtime=0)


def link(name: str, target: str, kind: bytes = b"2") -> bytes:
    return header(name, 0, kind, link=target.encode())


def streams(*parts: bytes) -> Callable[[], bytes]:
    return lambda: b"".join(gzip.compress(part, mtime=0) for part in parts)


def zip_behind() -> bytes:
    data = sdist(PKG_INFO)()
    return data + zipped([Entry("foo-1.0/PKG-INFO", EVIL)], shift=len(data))


AMBIGUOUS_SDISTS: Shapes = {
    "two PKG-INFO": (SDIST, sdist(PKG_INFO, EVIL_INFO)),
    "another top folder first": (SDIST, sdist(member("aaa/PKG-INFO", EVIL), PKG_INFO)),
    "the same with ./": (SDIST, sdist(PKG_INFO, member("./foo-1.0/PKG-INFO", EVIL))),
    "the same with //": (SDIST, sdist(PKG_INFO, member("foo-1.0//PKG-INFO", EVIL))),
    "PKG-INFO in lower case": (SDIST, sdist(PKG_INFO, member("foo-1.0/pkg-info", EVIL))),
    "PKG-INFO with a backslash": (SDIST, sdist(PKG_INFO, member("foo-1.0\\PKG-INFO", EVIL))),
    "PKG-INFO by a detour": (SDIST, sdist(PKG_INFO, member("foo-1.0/x/../PKG-INFO", EVIL))),
    "PKG-INFO is a link": (SDIST, sdist(member("foo-1.0/evil", EVIL), link("foo-1.0/PKG-INFO", "evil"))),
    "PKG-INFO by a linked folder": (
        SDIST, sdist(PKG_INFO, link("foo-1.0/a", "."), member("foo-1.0/a/PKG-INFO", EVIL))
    ),
    "PKG-INFO by a hard link": (
        SDIST,
        sdist(PKG_INFO, link("foo-1.0/a", "foo-1.0/PKG-INFO", b"1"), member("foo-1.0/a", EVIL)),
    ),
    "PKG-INFO of an unknown type": (SDIST, sdist(PKG_INFO, member("foo-1.0/PKG-INFO", EVIL, b"9"))),
    "a pax path in the padding": (
        SDIST,
        sdist(header("pax", 11, b"x") + padded(b"11 a=bcdef\n" + record("path", "foo-1.0/PKG-INFO"))
              + member("foo-1.0/a", EVIL), PKG_INFO),
    ),
    "two names": (SDIST, sdist(pax(path="foo-1.0/PKG-INFO"), long_name("foo-1.0/a"), member("a", EVIL))),
    "two pax headers": (SDIST, sdist(pax(path="foo-1.0/PKG-INFO"), pax(path="foo-1.0/a"), member("a", EVIL))),
    "a path twice": (
        SDIST,
        sdist(member("pax", record("path", "foo-1.0/a") + record("path", "foo-1.0/PKG-INFO"), b"x"), member("a", EVIL)),
    ),
    "a global path": (SDIST, sdist(pax(b"g", path="foo-1.0/PKG-INFO"), member("foo-1.0/a", EVIL))),
    "a sparse file by pax": (
        SDIST, sdist(pax(GNU__sparse__name="foo-1.0/PKG-INFO", GNU__sparse__major="1"), member("foo-1.0/a", EVIL))
    ),
    "a sparse file of old": (SDIST, sdist(member("foo-1.0/a", EVIL, b"S"))),
    "a prefix for some": (
        SDIST, sdist(member("PKG-INFO", EVIL, magic=b"ustar  \0", prefix=b"foo-1.0"))
    ),
    "two sizes": (SDIST, sdist(pax(size="0"), member("foo-1.0/a", EVIL_INFO), PKG_INFO)),
    "a folder with bytes": (SDIST, sdist(member("foo-1.0/a/", EVIL_INFO, b"5"), PKG_INFO)),
    "a link with bytes": (SDIST, sdist(member("foo-1.0/a", EVIL_INFO, b"1", link=b"foo-1.0/setup.py"), PKG_INFO)),
    "a negative size": (SDIST, sdist(header("foo-1.0/a", digits=b"\xff" * 12), PKG_INFO)),
    "a size in words": (SDIST, sdist(header("foo-1.0/a", digits=b"0o1_0"), PKG_INFO)),
    "a mode that is none": (SDIST, sdist(PKG_INFO, header("foo-1.0/a", mode=b"zzz"), EVIL_INFO)),
    "a checksum that is wrong": (SDIST, sdist(PKG_INFO, b"x" * BLOCK, EVIL_INFO)),
    "a member behind the end": (SDIST, sdist(PKG_INFO, END, EVIL_INFO)),
    "a member behind one block of zeros": (SDIST, sdist(PKG_INFO, bytes(BLOCK), EVIL_INFO)),
    "a member in a second stream": (SDIST, streams(PKG_INFO, EVIL_INFO + END)),
    "an empty stream first": (SDIST, streams(b"", EVIL_INFO + END)),
    "a second stream behind padding": (
        SDIST, lambda: gzip.compress(PKG_INFO, mtime=0) + bytes(99) + gzip.compress(EVIL_INFO + END, mtime=0)
    ),
    "a zip archive behind it": (SDIST, zip_behind),
}  # fmt: skip
AMBIGUOUS: Shapes = {**AMBIGUOUS_WHEELS, **AMBIGUOUS_SDISTS}


def many(kind: str, divisor: int = 1) -> Callable[[], bytes]:
    """Headers in great number, which compress to little; fewer of them where less is enough."""
    blocks: dict[str, tuple[int, Callable[[int], bytes]]] = {
        "long names": (60, lambda count: (long_name("a" * 1_000_000) + member("a")) * count),
        "records": (
            200_000,
            lambda count: member("pax", b"".join(record(f"k{n}", "v") for n in range(count)), b"x") + member("a"),
        ),
        "global headers": (
            20_000,
            lambda count: (member("g", b"".join(record(f"k{n}", "v") for n in range(99)), b"g") + member("a")) * count,
        ),
        "global headers that grow": (
            7_000,
            lambda count: b"".join(pax(b"g", **{f"k{n}": "v" * 9000}) + member("a") for n in range(count)),
        ),
        "members": (199_000, lambda count: header("foo-1.0/a") * count),
        "pax headers in a row": (2_000, lambda count: pax(comment="a") * count),
        "one long line": (100, lambda count: (member("pax", b"9" * 60_000, b"x") + member("a")) * count),
        "paths": (
            30_000,
            lambda count: b"".join(pax(path="foo-1.0/" + "a/" * 2_000 + str(n)) + member("a") for n in range(count)),
        ),
        "wide names": (20_000, lambda count: (long_name("foo-1.0/\U0001f600" + "a" * 4_000) + member("a")) * count),
    }
    count, make = blocks[kind]
    return lambda: gzip.compress(PKG_INFO + make(count // divisor) + END, mtime=0)


def many_members(count: int) -> bytes:
    """A directory of many entries over one member, with a zip64 end record."""
    directory = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0) + b"%06d" % number
        for number in range(count)
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return directory + large_end(count, len(directory), 0, len(directory)) + end


def greedy_xz() -> bytes:
    """A stream of a few bytes that asks for a dictionary of 1.5 GiB."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1536 * 1024 * 1024, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
    small = lzma.compress(PKG_INFO + END, filters=[{**filters[0], "dict_size": 1 << 20}])
    # The block header's size byte, flags, filter, its length, the dictionary; then its checksum.
    at = 12
    length = (small[at] + 1) * 4
    block = bytearray(small[at : at + length - 4])
    block[4] = 37  # 2.5 times 2^29 bytes would be 38
    return small[:at] + bytes(block) + struct.pack("<L", zlib.crc32(bytes(block))) + small[at + length :]


def torn(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


XZ = make_sdist("foo", "1.0", format=".tar.xz")[1]
BOMBS: Shapes = {
    **{f"many {kind}": (SDIST, many(kind)) for kind in (
        "long names", "records", "global headers", "global headers that grow", "members", "pax headers in a row",
        "one long line", "paths", "wide names",
    )},
    "many streams": (SDIST, lambda: gzip.compress(b"", mtime=0) * 300_000 + sdist(PKG_INFO)()),
    "many streams of bzip2": ("foo-1.0.tar.bz2", lambda: bz2.compress(b"") * 300_000 + bz2.compress(PKG_INFO + END)),
    "zeros in bzip2": ("foo-1.0.tar.bz2", lambda: bz2.compress(header("foo-1.0/a", 300 << 20) + bytes(300 << 20))),
    "zeros in xz": ("foo-1.0.tar.xz", lambda: lzma.compress(header("foo-1.0/a", 300 << 20) + bytes(300 << 20))),
    "a dictionary of xz": ("foo-1.0.tar.xz", greedy_xz),
    "a broken xz": ("foo-1.0.tar.xz", lambda: torn(XZ, len(XZ) // 2)),
    "a directory of many": (WHEEL, lambda: many_members(99_000)),
    "a directory of too many": (WHEEL, lambda: many_members(300_000)),
}  # fmt: skip


def streamed_wheel() -> bytes:
    """As zipfile writes to something that cannot seek: sizes behind the members, in 64 bits for one."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.data += bytes(data)  # type: ignore[call-overload]
            return len(data)  # type: ignore[arg-type]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in wheel_entries():
            with archive.open(entry.name, "w", force_zip64=entry.name.endswith(".py")) as stream:
                stream.write(entry.data)
    return pipe.data


def by_library(format: int, members: Mapping[str, bytes], **options: object) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", format=format, encoding="utf-8", **options) as archive:  # type: ignore[call-overload]
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(data), 1.5
                archive.addfile(info, io.BytesIO(data))
        return buffer.getvalue()

    return make


# Characters that the names of real members have, though they are not all printable.
ODD_NAMES = {
    "a no-break space": "a\u00a0b", "an ideographic space": "a\u3000b", "an emoji": "\U0001f40d",
    "the icon of a folder": "Icon\r", "a direction": "\u200fa\u202e", "a soft hyphen": "a\u00adb",
    "a colon": "notes: 1",
}  # fmt: skip
TREE = {"foo-1.0/PKG-INFO": GOOD, "foo-1.0/" + "long/" * 60 + "a": b"x", "foo-1.0/caf\xe9": b"y"}
# The pax headers of git archive and of a macOS tar, and what else real files have.
HARMLESS: Shapes = {
    "NULs behind a wheel": (WHEEL, lambda: zipped(wheel_entries(), after=bytes(4096))),
    "a zip64 end that is not needed": (WHEEL, lambda: with_large_end(zipped(wheel_entries()))),
    "a zip64 end that is used": (WHEEL, lambda: with_large_end(zipped(wheel_entries()), is_needed=True)),
    "sizes behind members": (WHEEL, streamed_wheel),
    "sizes behind one member": (WHEEL, wheel(Entry("a", b"a", is_streamed=True))),
    "folders in a wheel": (WHEEL, wheel(Entry("foo/"), Entry(f"{INFO}/"))),
    "a comment": (WHEEL, lambda: zipped(wheel_entries(), comment=b"made by hand")),
    "a name with a dot": ("Foo.Bar-1.0-py3-none-any.whl", lambda: make_wheel("Foo.Bar", "1.0")[1]),
    "vendored metadata": (WHEEL, wheel(Entry("foo/_vendor/bar-1.0.dist-info/METADATA", b"Name: bar\n"))),
    "data files": (WHEEL, wheel(Entry("foo-1.0.data/scripts/foo", b"#!python\n"))),
    "a zip sdist": (ZIP_SDIST, lambda: make_sdist("foo", "1.0", format=".zip")[1]),
    "an egg that is a script": ("foo-1.0-py3.6.egg", lambda: b"#!/bin/sh\nexec python\n" + make_egg("foo", "1.0")[1]),
    "an sdist below ./": (SDIST, lambda: gzip.compress(member("./foo-1.0/PKG-INFO", GOOD) + END, mtime=0)),
    "a folder in another spelling": (SDIST, lambda: gzip.compress(member("Foo-1.0/PKG-INFO", GOOD) + END, mtime=0)),
    "a zip64 end and NULs behind it": (ZIP_SDIST, lambda: with_large_end(zip_sdist()()) + bytes(512)),
    "a member twice with the same bytes": (WHEEL, wheel(Entry("foo.py", b"x = 1\n"))),
    "PKG-INFO twice in a zip": (ZIP_SDIST, zip_sdist(Entry("foo-1.0/PKG-INFO", GOOD))),
    **{
        f"a tar with {what} in a name": (SDIST, sdist(PKG_INFO, member(f"foo-1.0/{name}", b"1")))
        for what, name in ODD_NAMES.items()
    },
    "a tar with Latin-1 in a name": (SDIST, sdist(PKG_INFO, member("foo-1.0/caf\udce9", b"1"))),
    **{
        f"a zip with {what} in a name": (ZIP_SDIST, zip_sdist(Entry(f"foo-1.0/{name}")))
        for what, name in ODD_NAMES.items()
    },
    "a zip with Latin-1 in a name": (ZIP_SDIST, zip_sdist(Entry("foo-1.0/caf\udce9"))),
    **{f"a wheel with {what} in a name": (WHEEL, wheel(Entry(f"foo/{name}"))) for what, name in ODD_NAMES.items()},
    "PKG-INFO deeper down": (SDIST, sdist(PKG_INFO, member("foo-1.0/foo.egg-info/PKG-INFO", GOOD))),
    "PKG-INFO twice with the same bytes": (SDIST, sdist(PKG_INFO, PKG_INFO)),
    "a comment of git": (SDIST, lambda: gzip.compress(pax(b"g", comment="0" * 40) + PKG_INFO + END, mtime=0)),
    "forks of macOS": (SDIST, sdist(member("._foo-1.0", b"\0\5\x16\7"), PKG_INFO)),
    "a link inside": (SDIST, sdist(PKG_INFO, link("foo-1.0/a", "setup.py"))),
    "no blocks at the end": (SDIST, sdist(PKG_INFO, end=b"")),
    "one block at the end": (SDIST, sdist(PKG_INFO, end=bytes(BLOCK))),
    "padding behind gzip": (SDIST, lambda: sdist(PKG_INFO)() + bytes(512)),
    "blocks of gzip": (SDIST, lambda: streams(*cut(member("foo-1.0/a", b"a" * 5000) + PKG_INFO + END, 700))()),
    "blocks of bzip2": ("foo-1.0.tar.bz2", lambda: b"".join(map(bz2.compress, cut(PKG_INFO + END, 700)))),
    "pax": (SDIST, by_library(tarfile.PAX_FORMAT, TREE)),
    "GNU": (SDIST, by_library(tarfile.GNU_FORMAT, TREE)),
    "ustar": (SDIST, by_library(tarfile.USTAR_FORMAT, {name: data for name, data in TREE.items() if len(name) < 99})),
}  # fmt: skip


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
