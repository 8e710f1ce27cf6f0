"""Whether a file that may still be copied is whole, told from its own bytes.

Every format of ours that can be asked marks its end: a zip archive has its directory there, a compressed stream its
checksum. So a file need not be watched for a second to know that nothing is missing.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from . import archives
from .distfile import DistFile

BLOCK = 16 * 1024
# A stream that unpacks to more is not worth unpacking to learn it a second earlier.
MAX_UNPACKED = 32 * 1024 * 1024

_ZIP_ENDINGS = (".whl", ".egg", ".zip")
_STREAMS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31),
    b"BZ": bz2.BZ2Decompressor,
    b"\xfd7": lzma.LZMADecompressor,
}
_BROKEN = (zlib.error, lzma.LZMAError, EOFError, ValueError, OSError)


def is_whole(file: BinaryIO, dist: DistFile) -> bool | None:
    """Whether the end of an open file is there; None when its bytes do not tell (an installer, a plain tar)."""
    file.seek(0)
    if dist.filename.lower().endswith(_ZIP_ENDINGS):
        try:
            archives.zip_directory(file)
        except archives.BadArchive:
            return False
        return True
    return _is_whole_stream(file)


def _is_whole_stream(file: BinaryIO) -> bool | None:
    block = file.read(BLOCK)
    maker = _STREAMS.get(block[:2])
    if maker is None:
        return None
    stream, unpacked = maker(), 0
    try:
        while block and not stream.eof:
            room = MAX_UNPACKED - unpacked
            unpacked += len(stream.decompress(block, room))
            if unpacked >= MAX_UNPACKED:
                return None
            block = file.read(BLOCK)
    except _BROKEN:
        return False
    if not stream.eof:
        return False
    # What stands behind the end may be padding, or the beginning of a second stream.
    return None if block or stream.unused_data else True
