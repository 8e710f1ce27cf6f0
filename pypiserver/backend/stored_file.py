"""The result of a scan: files by root and path, and what was left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..model import Identity
from .mounts import DEVICES, Devices

_MOST = 2**63 - 1
# Among the folders of a scan: the inode of a folder that cannot be read and may contain anything.
UNREAD = -2
# Why a name is skipped that is not printable text.
ODD_NAME = "its name has control characters or line separators, or is not UTF-8"


def _nothing() -> None:
    """Report no progress; the default of ``get_on``."""


class StoredFile(NamedTuple):
    """A regular file: the number of its root, its path there with ``/`` between the parts, and its identity.

    Sizes are in bytes, times in nanoseconds since the epoch; 0 is an inode or change time that cannot be trusted.
    """

    root: int
    path: str
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int = 0

    @property
    def identity(self) -> Identity:
        """Size, times and inode, by which the file is recognized."""
        return Identity(*self[2:])


def entry_of(root: int, path: str, status: os.stat_result, *, devices: Devices = DEVICES) -> StoredFile:
    """The stored file for a status; a number that its file system does not keep is 0 (see :mod:`backend.mounts`).

    Numbers fit into signed 64 bits, as catalogs need them: times end in the year 2262, and inodes of 64 bits lose the
    highest one.
    """
    mtime_ns, ctime_ns, inode = status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _MOST
    if not -_MOST <= mtime_ns <= _MOST:
        mtime_ns = _MOST if mtime_ns > 0 else -_MOST
    if status.st_dev not in devices.plain:
        kept = devices.believed(status.st_dev)
        inode, ctime_ns = inode if kept.inodes else 0, ctime_ns if kept.ctimes else 0
    return StoredFile(root, path, status.st_size, mtime_ns, inode, ctime_ns & _MOST)


def folder_identity(status: os.stat_result, *, devices: Devices = DEVICES) -> tuple[int, int]:
    """Device and inode of a folder; the inode is 0 where inodes do not last."""
    is_kept = status.st_dev in devices.plain or devices.believed(status.st_dev).inodes
    return status.st_dev, status.st_ino & _MOST if is_kept else 0


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan saw: files, what was left out as (root, path, reason), and the folders that were read.

    A folder is (root, path, mtime_ns, inode), as it was just before its entries were read. The inode is UNREAD for a
    folder that cannot be read, and for ``path/`` when something in the folder ``path`` cannot be. ``mounts`` are the
    folders on another device than their parent, with device and inode. ``get_on`` is called while long work progresses.
    """

    entries: list[StoredFile] = field(default_factory=list)
    skipped: list[tuple[int, str, str]] = field(default_factory=list)
    folders: list[tuple[int, str, int, int]] = field(default_factory=list)
    mounts: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    get_on: Callable[[], object] = _nothing

    def note_unread(self, root: int, path: str, shown: str, reason: str) -> None:
        """Note what cannot be read and may contain files.

        ``path`` is the folder itself, or its parent followed by ``/``; ``shown`` and ``reason`` go to ``skipped``.
        """
        self.skipped.append((root, shown, reason))
        if not self.folders or self.folders[-1] != (root, path, -1, UNREAD):
            self.folders.append((root, path, -1, UNREAD))


class Held(NamedTuple):
    """How many files a root or bucket has, None where that is unknown; ``is_all`` is False when a part is unread."""

    place: Path | str
    files: int | None
    is_all: bool = True


def reason_of(text: str) -> bytes:
    """A reason as its sidecar contains it."""
    return f"{text}\n".encode() if text else b""


def sidecar(path: str, suffix: str) -> str:
    """The path of a file's sidecar."""
    return path + suffix


def shown(path: str) -> str:
    """A path that is safe in a log: bytes that are not UTF-8, and characters that cannot be printed, as escapes."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
