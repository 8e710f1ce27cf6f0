"""What ``pypi-server copy`` asks of the place it copies from, and of the one it copies to.

Invariant: bytes are hashed while they are read, and held against what the source knows of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ..distributions.filename import FilenameParts
from ..errors import InvalidDistribution
from .hashing import BLOCK

# What people put beside a file; a bucket has more.
KEPT = (".asc", ".yanked", ".provenance")


@dataclass(frozen=True, slots=True)
class Item:
    """A file at the source: how people call it there, and where it would stand in a folder.

    ``uploaded_ns`` is in nanoseconds since the epoch; ``sha256`` is what the source knows, '' when it knows nothing.
    ``beside`` gives what stands beside it by suffix, ``open`` its bytes.
    """

    path: str
    place: str
    dist: FilenameParts
    size: int
    uploaded_ns: int
    sha256: str
    beside: Callable[[], Mapping[str, bytes]]
    open: Callable[[], BinaryIO]


class Endpoint(Protocol):
    """A folder or a bucket, as a source (the first two methods) or a destination (the others)."""

    def items(self, skip: Callable[[str, str], None]) -> Iterator[Item]:
        """Every file that would be served; ``skip`` is told of what would not be, and why."""

    def statuses(self) -> Mapping[str, str]:
        """The text of each project's status."""

    def prepare(self) -> None:
        """See what is there."""

    def is_there(self, item: Item) -> bool:
        """Whether the very file is there; raises Conflict when another one has its name."""

    def store(self, item: Item) -> None:
        """Take the file; raises InvalidDistribution for one that would not be served."""

    def set_status(self, project: str, text: str) -> None:
        """Set a project's status, unless it has one."""


def take(item: Item, write: Callable[[bytes], object]) -> str:
    """Read a file, hand its bytes on, and give their sha256; raises InvalidDistribution when it is not the source's."""
    sha256 = hashlib.sha256()
    size = 0
    with item.open() as stream:
        while block := stream.read(BLOCK):
            sha256.update(block)
            size += len(block)
            write(block)
    digest = sha256.hexdigest()
    if size != item.size or (item.sha256 and digest != item.sha256):
        raise InvalidDistribution(
            item.path, "its bytes are not those the source knows it by", kind="altered", ending="."
        )
    return digest
