"""The source and the destination of ``pypi-server copy``, as protocols.

**Invariants:** bytes are hashed while they are read, and compared with the size and digest that the source has on
record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ..distributions.filename import FilenameParts
from ..errors import InvalidDistribution
from .hashing import BLOCK


@dataclass(frozen=True, slots=True)
class Item:
    """A file at the source.

    ``path`` is its name for people; ``place`` is the path it would have in a folder. ``size`` is in bytes,
    ``uploaded_ns`` in nanoseconds since the epoch; ``sha256`` is the digest that the source has on record, '' when it
    has none. ``sidecars`` gives its sidecars by suffix, ``open`` its bytes.
    """

    path: str
    place: str
    dist: FilenameParts
    size: int
    uploaded_ns: int
    sha256: str
    sidecars: Callable[[], Mapping[str, bytes]]
    open: Callable[[], BinaryIO]


class Endpoint(Protocol):
    """A folder or a bucket, as a source (the first two methods) or a destination (the others)."""

    def items(self, skip: Callable[[str, str], None]) -> Iterator[Item]:
        """Every file that would be served; ``skip`` is called with each path that would not be, and the reason."""

    def statuses(self) -> Mapping[str, str]:
        """The text of each project's status file, by project."""

    def prepare(self) -> None:
        """Read what the destination contains, before anything is stored."""

    def is_there(self, item: Item) -> bool:
        """Whether the destination has this file, with these bytes; raises Conflict when another file has its name."""

    def store(self, item: Item) -> None:
        """Store the file; raises InvalidDistribution for one that would not be served."""

    def set_status(self, project: str, text: str) -> None:
        """Set a project's status, unless it has one."""


def take(item: Item, write: Callable[[bytes], object]) -> str:
    """Pass the bytes of a file to ``write``, and give their sha256.

    Raises InvalidDistribution when size or digest differ from those that the source has on record.
    """
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
