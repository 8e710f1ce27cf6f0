"""The faults that ``pypi-server check`` reports of a file, each kind with advice; one table for folders and buckets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ..distributions import metadata
from ..distributions.core_metadata import parse_metadata, valid_requires_python
from ..distributions.filename import FilenameParts


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a file (its folder, and its path there): the kind in one word, what is wrong, and what to do."""

    folder: str
    path: str
    kind: str
    message: str
    advice: str


ADVICE = {
    "skipped": "Rename it to what a build tool would call it, or move it out of the folder.",
    "duplicate": "Delete all but one of them.",
    "mislabelled": "Build it again, or give it the name its metadata says.",
    "corrupt": "Copy or build it again.",
    "unsafe": "Do not serve it; find out where it came from.",
    "version": "Rename or rebuild it with a version that PEP 440 allows; clients skip this one.",
    "requires-python": "Rebuild it with a valid Requires-Python; the server leaves this one out.",
    "catalog": "Delete the catalog {catalog}; the server builds it again.",
    "status": "Write archived, deprecated or quarantined on its first line, or delete it.",
    "unreadable": "Give the server's user the permission to read it, and look at the disk.",
    # Only in a bucket.
    "orphan": "It is not served: pypi-server gc deletes it, pypi-server reindex takes it in if its name is free.",
    "missing": "Put the object back, or let pypi-server reindex take it out of the catalog.",
    "altered": "Put the right object there, or delete it; clients refuse it.",
    "metadata": "Delete it if it is there, and run pypi-server reindex; the server reads the archive then.",
    "stray": "Delete it; pypi-server gc does that with the objects of a file that was removed.",
    "bucket-status": "Write archived, deprecated or quarantined on its first line, or delete it.",
}


def archive_faults(stream: BinaryIO, dist: FilenameParts, raw: bytes | None) -> Iterator[tuple[str, str]]:
    """Faults of an archive that the server does not look for, as (kind, what is wrong); ``raw`` is its metadata."""
    for fault in metadata.audit_archive(stream, dist):
        yield fault.kind, fault.reason
    core = parse_metadata(raw) if raw is not None else None
    if core is not None and core.requires_python and valid_requires_python(core.requires_python) is None:
        yield "requires-python", f"its Requires-Python {core.requires_python!r} cannot be parsed"
