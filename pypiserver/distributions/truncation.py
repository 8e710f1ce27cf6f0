"""Detecting from its bytes whether a file is complete or truncated.

A zip archive has its directory at the end, a compressed stream its checksum, so the server need not watch a new file
for a second to know that it is complete. **Invariants:** None means that the bytes do not tell; reading is bounded.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import sys
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from .archive_limits import BadArchive, Source, foreign
from .decompression import CHUNK, FORMATS, Unpacked
from .filename import SIDECARS, FilenameParts
from .zip_directory import find_directory, read_directory

# Bytes. Unpacking a larger stream takes longer than waiting.
MAX_UNPACKED = 32 * 1024 * 1024
# At most this many holes are checked. A header with its name and fields is no longer than a block (bytes).
MAX_HOLES = 1000
BLOCK = 4096
_ZIP_ENDINGS = (".whl", ".egg", ".zip")
# The control files that downloaders keep next to an incomplete file: aria2; axel.
UNFINISHED = (".aria2", ".st")
# A change of any of these is a change of the file they belong to.
COMPANIONS = (*SIDECARS, *UNFINISHED)


def is_whole(file: BinaryIO, dist: FilenameParts) -> bool | None:
    """Whether an open file has its end; None when its bytes do not tell (an installer, a plain tar)."""
    file.seek(0)
    if dist.filename.lower().endswith(_ZIP_ENDINGS):
        try:
            find_directory(file)
        except BadArchive:
            return False
        return True
    return _is_whole_stream(file)


def refuse_unwritten(file: io.FileIO, size: int, dist: FilenameParts) -> None:
    """Raise BadArchive when a part of a zip archive was never written, as by a downloader that fetches pieces.

    Such a file has its directory; only a hole in the file system shows the gap. A sparse copy has holes too, so the
    members in holes are read. ``size`` is the file's size in bytes.
    """
    if not hasattr(os, "SEEK_HOLE") or not dist.filename.lower().endswith(_ZIP_ENDINGS):
        return
    holes = list(itertools.islice(_holes(file.fileno(), size), MAX_HOLES))
    if not holes:
        return
    _, members = read_directory(file)
    source = Source(file)
    with foreign("unwritten", "a part of it was never written", source), zipfile.ZipFile(source) as archive:
        infos = archive.infolist()
        for member, info in zip(members, infos, strict=True):
            if any(start < member.offset + member.packed + BLOCK and member.offset < end for start, end in holes):
                with archive.open(info) as stream:
                    while stream.read(CHUNK):
                        pass


def _holes(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The (start, end) of each hole of the file, in bytes, if the file system reports them."""
    at = 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_HOLE)
            if start >= size:
                return
            at = min(size, os.lseek(descriptor, start, os.SEEK_DATA))
        except OSError as error:
            if error.errno != errno.ENXIO:
                return
            at = size
        yield start, at


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
    # Bytes after the end may be padding, or the beginning of a second stream.
    return None if stream.is_followed else True
