"""``pypi-server copy``: packages from a folder or bucket to another, with upload times and what stands beside them.

The rules to keep: nothing that stands at the destination is ever changed; bytes are hashed while they are read, and
held against what the source knows of them; a file is at the destination with all that belongs to it, or not at all, so
a run that was interrupted is begun again and goes on.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from ..backend.digester import BLOCK
from ..distributions.filename import DistFile
from ..errors import InvalidDistribution, PypiServerError, Unavailable

# Each of them waits for the network most of the time.
AT_ONCE = 8
BATCH = 64


@dataclass(frozen=True, slots=True)
class Item:
    """A file at the source: how people call it there, and where it would stand in a folder.

    ``uploaded_ns`` is in nanoseconds since the epoch; ``sha256`` is what the source knows, '' when it knows nothing.
    ``beside`` gives what stands beside it by suffix, ``open`` its bytes.
    """

    path: str
    place: str
    dist: DistFile
    size: int
    uploaded_ns: int
    sha256: str
    beside: Callable[[], Mapping[str, bytes]]
    open: Callable[[], BinaryIO]


class Source(Protocol):
    """Where files come from."""

    def items(self, skip: Callable[[str, str], None]) -> Iterator[Item]:
        """Every file that would be served; ``skip`` is told of what would not be, and why."""

    def statuses(self) -> Mapping[str, str]:
        """The text of each project's status."""


class Destination(Protocol):
    """Where files go."""

    def prepare(self) -> None:
        """See what is there."""

    def is_there(self, item: Item) -> bool:
        """Whether the very file is there; raises Conflict when another one has its name."""

    def store(self, item: Item) -> None:
        """Take the file; raises InvalidDistribution for one that would not be served."""

    def set_status(self, project: str, text: str) -> None:
        """Set a project's status, unless it has one."""


@dataclass(slots=True)
class Report:
    """How many files were copied, and how many were there already; what was left out, as (path, why)."""

    copied: int = 0
    already: int = 0
    bytes: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


def copy(source: Source, destination: Destination, *, progress: Callable[[int, int], None]) -> Report:
    """Copy what is not there yet; ``progress`` is told how many files are done, and 0, as nobody knows how many are.

    Raises Unavailable when one of the two does not answer: what was copied until then stays.
    """
    report = Report()
    destination.prepare()
    names: dict[str, str] = {}
    with ThreadPoolExecutor(AT_ONCE, "pypiserver-copy") as pool:
        for batch in _batches(source.items(lambda path, why: report.left_out.append((path, why)))):
            chosen = []
            for item in batch:
                first = names.setdefault(item.dist.filename, item.path)
                if first == item.path:
                    chosen.append(item)
                else:
                    report.left_out.append((item.path, f"a file of this name comes first: {first}"))
            for item, outcome in zip(chosen, pool.map(lambda each: _copy(each, destination), chosen), strict=True):
                _note(report, item, outcome)
                progress(report.copied + report.already + len(report.left_out), 0)
    for project, text in source.statuses().items():
        destination.set_status(project, text)
    return report


def _copy(item: Item, destination: Destination) -> bool | PypiServerError:
    """True when the file was copied, False when it was there, or why it is left out; raises Unavailable."""
    try:
        if destination.is_there(item):
            return False
        destination.store(item)
    except Unavailable:
        raise
    except OSError as error:
        words = f"{item.path} could not be copied: {error}. Begin again; what was copied stays."
        raise Unavailable(words) from error
    except PypiServerError as error:
        return error
    return True


def _note(report: Report, item: Item, outcome: bool | PypiServerError) -> None:
    if isinstance(outcome, PypiServerError):
        report.left_out.append((item.path, str(outcome)))
    elif outcome:
        report.copied += 1
        report.bytes += item.size
    else:
        report.already += 1


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


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, BATCH)):
        yield batch
