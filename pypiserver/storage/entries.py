"""What a scan gives: files by root and path, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Entry(NamedTuple):
    """A regular file: the number of its root, its path there with ``/`` between the parts, and its identity."""

    root: int
    path: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan saw: files, and what was left out as (root, path, reason)."""

    entries: list[Entry] = field(default_factory=list)
    skipped: list[tuple[int, str, str]] = field(default_factory=list)


def sidecar(path: str, suffix: str) -> str:
    """The path of what stands beside a file."""
    return path + suffix
