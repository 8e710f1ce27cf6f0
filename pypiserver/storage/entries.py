"""What a scan gives: files by root and path, and what was left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

_MOST = 2**63 - 1
# Why a name is skipped that is no text.
ODD_NAME = "its name has control characters, or is not UTF-8"


def _nothing() -> None:
    """Nobody waits for a word."""


class Entry(NamedTuple):
    """A regular file: the number of its root, its path there with ``/`` between the parts, and its identity."""

    root: int
    path: str
    size: int
    mtime_ns: int
    inode: int


def entry_of(root: int, path: str, status: os.stat_result) -> Entry:
    """The entry of a file that was looked at.

    Its numbers fit 64 bits with a sign, as catalogs want them: times end in the year 2262, and a file system that
    numbers inodes with all 64 bits loses one of them.
    """
    mtime_ns = status.st_mtime_ns
    if not -_MOST <= mtime_ns <= _MOST:
        mtime_ns = _MOST if mtime_ns > 0 else -_MOST
    return Entry(root, path, status.st_size, mtime_ns, status.st_ino & _MOST)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan saw: files, what was left out as (root, path, reason), and the folders that were read.

    A folder is (root, path, mtime_ns, inode), as it was just before its entries were read. ``get_on`` is called as long
    work gets on.
    """

    entries: list[Entry] = field(default_factory=list)
    skipped: list[tuple[int, str, str]] = field(default_factory=list)
    folders: list[tuple[int, str, int, int]] = field(default_factory=list)
    get_on: Callable[[], object] = _nothing


def sidecar(path: str, suffix: str) -> str:
    """The path of what stands beside a file."""
    return path + suffix
