"""Walking the headers of a tar archive (POSIX ustar and pax, GNU long names), each once, in order.

tarfile creates objects for every header, parses pax records before it knows their number, and stops silently at an
invalid header where other readers continue. **Invariants:** a header costs 512 bytes and a bounded extension; a header
that known readers interpret differently is a BadArchive; a member's bytes are skipped unless they are wanted.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .archive_limits import MAX_MEMBERS, MAX_METADATA, MAX_NAME, BadArchive, said
from .decompression import Unpacked

BLOCK = 512
MAX_EXTENSION = 64 * 1024
MAX_RECORDS = 100
# Of all headers together: about ten for each of the most members.
MAX_ALL_RECORDS = 1_000_000
# git archive writes one; tarfile applies all of them to every following member.
MAX_GLOBALS = 100
# Extension headers before one member: a global one, a pax one, a long name and a long link, and some to spare.
MAX_IN_A_ROW = 8
REGULAR, LINKS, DEVICES, FOLDER = b"0\0" + b"7", b"12", b"346", b"5"
_ZEROS = bytes(BLOCK)
_EXTENSIONS = b"xgLK"
# Types without bytes: tarfile skips none, other readers skip as many as the header says.
_NO_BYTES = b"123456"
# Sparse files (GNU, old and new), Solaris' pax headers, parts of other volumes: no build tool writes them.
_ODD = b"SXMVN"
_OCTAL = re.compile(rb"[ ]*([0-7]*)[ \0]*")
_LENGTH = re.compile(rb"([1-9][0-9]{0,5}) ")
_SIGNED = struct.Struct("148b8x356b")
_NUMBERS = (slice(100, 108), slice(108, 116), slice(116, 124), slice(136, 148), slice(329, 337), slice(337, 345))
_NO_TAR = "it is not a readable tar archive"
_CUT_OFF = "it is cut off, or was never whole"


class TarMember(NamedTuple):
    """One member: its path and its link's target as they are, its type (one byte), its size.

    ``headers`` are the blocks that say so, extensions included.
    """

    name: str
    kind: bytes
    size: int
    link: str
    headers: bytes


class _Budget:
    """The number of records and bytes that the pax headers of one archive may still have."""

    def __init__(self) -> None:
        self._records = MAX_ALL_RECORDS
        self._globals = MAX_GLOBALS

    def take(self, records: int, kind: bytes) -> None:
        self._records -= records
        self._globals -= kind == b"g"
        if self._records < 0 or self._globals < 0:
            raise BadArchive("pax-too-large", "its pax headers are larger than those of any package", "unsafe")


def walk_tar(stream: Unpacked, is_wanted: Callable[[TarMember], bool]) -> Iterator[tuple[TarMember, bytes | None]]:
    """Every member, with its bytes if it is wanted (at most 8 MiB); raises BadArchive.

    The stream is read to its end: nothing may be hidden there, and its checksum is behind all.
    """
    count, budget = 0, _Budget()
    while (member := _next_member(stream, budget)) is not None:
        count += 1
        if count > MAX_MEMBERS:
            raise BadArchive("too-many-members", f"it has more than {MAX_MEMBERS} members", "unsafe")
        data: bytes | None = None
        padded = -(-member.size // BLOCK) * BLOCK
        if is_wanted(member):
            if member.size > MAX_METADATA:
                raise BadArchive("metadata-too-large", "its metadata is larger than 8 MiB")
            data = stream.read(member.size)
            padded -= len(data)
        if stream.skip(padded) != padded:
            raise BadArchive("truncated", _CUT_OFF)
        yield member, data
    if not stream.position:
        raise BadArchive("not-tar", f"{_NO_TAR} (it is empty)")
    _check_end(stream)


def _next_member(stream: Unpacked, budget: _Budget) -> TarMember | None:
    """The next member with what its extension headers say, None at the end of the archive."""
    headers: list[bytes] = []
    pax: dict[bytes, bytes] = {}
    long: dict[bytes, bytes] = {}
    for _ in range(MAX_IN_A_ROW + 1):
        at = stream.position
        block = stream.read(BLOCK)
        if at == 0 and 0 < len(block) < BLOCK:
            raise BadArchive("not-tar", f"{_NO_TAR} (it is shorter than a header)")
        if block == _ZEROS or not block.strip(b"\0"):
            if headers:
                raise BadArchive("truncated", _CUT_OFF)
            return None
        if at == stream.joint:
            raise BadArchive(
                "second-stream", "it has a second stream after its end, which not every reader reads", "unsafe"
            )
        _check_header(block)
        headers.append(block)
        kind, size = block[156:157], _size(block)
        if kind not in _EXTENSIONS:
            return _member(block, size, (pax, long), b"".join(headers))
        data, padding = _extension(stream, size)
        headers += (data, padding)
        records = _records(data) if kind in b"gx" else {}
        budget.take(len(records), kind)
        if kind == b"g":
            _check_global(records)
        elif kind == b"x" and not pax:
            pax = records or {b"": b""}
        elif kind in b"LK" and kind not in long:
            long[kind] = data.partition(b"\0")[0]
        else:
            raise BadArchive("two-names", "a member of it has two names, or two headers that may name it", "unsafe")
    raise BadArchive(
        "too-many-headers", f"it has more than {MAX_IN_A_ROW} extension headers before one member", "unsafe"
    )


def _check_header(block: bytes) -> None:
    if len(block) < BLOCK:
        raise BadArchive("truncated", _CUT_OFF)
    if not is_header(block):
        raise BadArchive("not-tar", f"{_NO_TAR} (a header's checksum is wrong)")
    # tarfile takes a header with an invalid number for the end of the archive.
    if not (block[100:124] + block[136:148] + block[329:345]).strip(b"01234567\0"):
        return
    for place in _NUMBERS:
        field = block[place]
        if field[0] not in (0o200, 0o377) and not _OCTAL.fullmatch(field.partition(b"\0")[0]):
            raise BadArchive("not-tar", f"{_NO_TAR} (a header has an invalid number)")


def is_header(block: bytes) -> bool:
    """Whether a block has the checksum of a tar header, which some programs compute from signed bytes."""
    match = _OCTAL.fullmatch(block[148:156].partition(b"\0")[0])
    if len(block) < BLOCK or match is None or not match[1]:
        return False
    wanted = int(match[1], 8)
    # The lower half of Adler-32 is a sum of bytes, modulo 65521: 2 us less for each header than sum().
    total = (zlib.adler32(block[:256]) & 0xFFFF) + (zlib.adler32(block[256:]) & 0xFFFF) - 2
    return wanted == 256 + total - sum(block[148:156]) or wanted == 256 + sum(_SIGNED.unpack(block))


def _size(block: bytes) -> int:
    field = block[124:136]
    if field[0] == 0o200:
        size = int.from_bytes(field[1:], "big")
    elif match := _OCTAL.fullmatch(field):
        size = int(match[1] or b"0", 8)
    else:
        raise BadArchive("invalid-size", "a member of it has an invalid or negative size", "unsafe")
    if size >= 1 << 40:
        raise BadArchive("member-too-large", "a member of it is larger than any package", "unsafe")
    return size


def _extension(stream: Unpacked, size: int) -> tuple[bytes, bytes]:
    if size > MAX_EXTENSION:
        raise BadArchive(
            "header-too-large", f"an extension header of it is larger than {MAX_EXTENSION} bytes", "unsafe"
        )
    data, padding = stream.read(size), stream.read(-size % BLOCK)
    if len(data) + len(padding) != size + -size % BLOCK:
        raise BadArchive("truncated", _CUT_OFF)
    if padding.strip(b"\0"):
        # tarfile continues into the padding, others do not.
        raise BadArchive("header-padding", "an extension header of it is longer for some readers", "unsafe")
    return data, padding


def _records(data: bytes) -> dict[bytes, bytes]:
    """The records of a pax header (POSIX pax, "Extended Header"): "LENGTH KEY=VALUE\\n", the length of all of it."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        match = _LENGTH.match(data, at)
        end = at + int(match[1]) if match else at
        key, equals, value = data[match.end() : end - 1].partition(b"=") if match else (b"", b"", b"")
        if not key or not equals or end > len(data) or data[end - 1 : end] != b"\n" or key in records:
            raise BadArchive("pax-invalid", "a pax header of it is invalid, or has a key twice", "unsafe")
        if len(records) >= MAX_RECORDS:
            raise BadArchive("pax-too-large", f"a pax header of it has more than {MAX_RECORDS} records", "unsafe")
        if key.startswith(b"GNU.sparse."):
            raise BadArchive("sparse", "it has a sparse file, which readers interpret differently", "unsafe")
        records[key] = value
        at = end
    if records.get(b"hdrcharset", b"BINARY") not in (b"BINARY", b"ISO-IR 10646 2000 UTF-8"):
        raise BadArchive("pax-charset", "a pax header of it is in an unsupported character set")
    return records


def _check_global(records: dict[bytes, bytes]) -> None:
    """Refuse a global header that names members; others, like git archive's comment, are allowed."""
    if records.keys() & {b"path", b"linkpath", b"size"}:
        raise BadArchive("pax-global", "a global pax header of it names all members that follow", "unsafe")


def _member(
    block: bytes, size: int, extensions: tuple[dict[bytes, bytes], dict[bytes, bytes]], headers: bytes
) -> TarMember:
    pax, long = extensions
    kind = block[156:157]
    if kind in _ODD:
        raise BadArchive(
            "sparse", "it has a sparse file or a part of another volume, which not every reader reads", "unsafe"
        )
    name, prefix = _text(block[:100]), _text(block[345:500])
    if prefix:
        if block[257:263] != b"ustar\0":
            raise BadArchive(
                "two-names", f"its member {said(_decode(name))} is in another folder for some readers", "unsafe"
            )
        name = prefix + b"/" + name
    path = _one_of(name, pax.get(b"path"), long.get(b"L"))
    link = _one_of(_text(block[157:257]), pax.get(b"linkpath"), long.get(b"K"))
    if not path or len(path) > MAX_NAME or len(link) > MAX_NAME or b"\0" in path + link:
        raise BadArchive("invalid-name", "a name in it is empty, longer than any path, or contains a NUL", "unsafe")
    if pax.get(b"size", b"%d" % size) != b"%d" % size:
        raise BadArchive("two-sizes", f"its member {said(_decode(path))} has two sizes", "unsafe")
    if size and (kind in _NO_BYTES or (kind == b"\0" and name.endswith(b"/"))):
        raise BadArchive(
            "not-a-file-with-bytes", f"its member {said(_decode(path))} is not a file but has bytes", "unsafe"
        )
    return TarMember(
        _decode(path), FOLDER if kind == b"\0" and name.endswith(b"/") else kind, size, _decode(link), headers
    )


def _one_of(short: bytes, by_pax: bytes | None, by_gnu: bytes | None) -> bytes:
    if by_pax is not None and by_gnu is not None and by_pax != by_gnu:
        raise BadArchive("two-names", "a member of it has two names", "unsafe")
    if by_pax is not None:
        return by_pax
    return short if by_gnu is None else by_gnu


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _check_end(stream: Unpacked) -> None:
    """Refuse members after the end, which only some readers find; padding is allowed."""
    while block := stream.read(BLOCK):
        if block != _ZEROS and is_header(block):
            raise BadArchive("hidden-member", "it hides a member after its end", "unsafe")
