"""Whether a file that may still be copied is whole, told from its own bytes.

Every format of ours that can be asked marks its end: a zip archive has its directory there, a compressed stream its
checksum. So a file need not be watched for a second to know that nothing is missing.
"""

from __future__ import annotations

import sys
from typing import BinaryIO

from .archives import BadArchive
from .distfile import DistFile
from .unpacking import CHUNK, FORMATS, Unpacked
from .zipdirectory import find_directory

# A stream that unpacks to more is not worth unpacking to learn it a second earlier.
MAX_UNPACKED = 32 * 1024 * 1024
_ZIP_ENDINGS = (".whl", ".egg", ".zip")


def is_whole(file: BinaryIO, dist: DistFile) -> bool | None:
    """Whether the end of an open file is there; None when its bytes do not tell (an installer, a plain tar)."""
    file.seek(0)
    if dist.filename.lower().endswith(_ZIP_ENDINGS):
        try:
            find_directory(file)
        except BadArchive:
            return False
        return True
    return _is_whole_stream(file)


def _is_whole_stream(file: BinaryIO) -> bool | None:
    begin = file.read(8)
    magic = next((each for each, _ in FORMATS if begin and begin.startswith(each[: len(begin)])), None)
    if magic is None:
        return None
    if len(begin) < len(magic):
        return False
    try:
        stream = Unpacked(file, sys.maxsize)
        while stream.skip(CHUNK):
            if stream.position >= MAX_UNPACKED:
                return None
    except BadArchive:
        return False
    # What stands behind the end may be padding, or the beginning of a second stream.
    return None if stream.is_followed else True
