"""What goes into the catalog and comes out of it: the values a caller hands over, and the rows they become."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from packaging.utils import NormalizedName

from ..distributions.filename import FilenameParts
from ..errors import DAMAGED, FaultKind, refused
from ..model import File, Identity


class Fingerprint(NamedTuple):
    """What a rescan compares: a file's identity and the fingerprint of its sidecars."""

    size: int
    mtime_ns: int
    inode: int
    sidecars: str
    ctime_ns: int = 0

    @property
    def identity(self) -> Identity:
        """By what the file is known again."""
        return Identity(self.size, self.mtime_ns, self.inode, self.ctime_ns)


ANY_ROW = Fingerprint(-1, -1, -1, "")
# The inode of a row whose file is being replaced.
REPLACED = -1


class SeenFile(NamedTuple):
    """A distribution file seen in storage, with what its sidecars say.

    ``before`` is the row that was read before the file was looked at, None when there was none: when it is another one
    by now, somebody looked later, and the row stays. ANY_ROW says that nobody can have.
    """

    root: int
    path: str
    row: Fingerprint
    dist: FilenameParts
    yanked: str | None = None
    has_signature: bool = False
    has_provenance: bool = False
    before: Fingerprint | None = ANY_ROW


@dataclass(frozen=True, slots=True)
class MissingFile:
    """A row whose file is no longer there, as it was when the scan began.

    ``is_replaced``: another file stands there that is not whole yet, or may come in a moment. The row is hidden then,
    and not deleted, so that its project is still known to be here; ``held_at`` tells this time from any other.
    """

    root: int
    path: str
    row: Fingerprint
    is_replaced: bool = False
    held_at: int = 0


@dataclass(frozen=True, slots=True)
class Digest:
    """What reading a file brought: digests, metadata, or the ``fault`` that keeps it from being listed, and its kind.

    ``core`` is what pages show of the metadata, as :func:`core_metadata.packed` gives it. ``name`` is the
    project's name as the metadata spells it, empty when it says none. ``project`` and ``version`` are set where only
    the metadata could tell where the file's name is to be cut.
    """

    sha256: str
    link_digest: str = ""
    metadata: bytes | None = None
    metadata_sha256: str | None = None
    core: bytes | None = None
    requires_python: str | None = None
    summary: str = ""
    keywords: str = ""
    needs: str = ""
    fault: str = ""
    fault_kind: FaultKind = ""
    name: str = ""
    project: str = ""
    version: str = ""


class FileFault(NamedTuple):
    """What is wrong with a file that is not listed: its path, the kind, and the ``reason``, which names no file."""

    path: str
    kind: FaultKind
    reason: str

    @property
    def filename(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_damage(self) -> bool:
        """Whether the bytes of the file are what is wrong with it, and no later look may find it mended."""
        return self.kind in DAMAGED

    @property
    def sentence(self) -> str:
        """What is wrong, with the name of a file whose bytes are; the log says it."""
        return refused(self.filename, self.reason) if self.is_damage else self.reason


class NameOwner(NamedTuple):
    """The file that has a name where names are exclusive."""

    root: int
    path: str
    sha256: str


def beside_ns(fingerprint: str) -> int:
    """When the newest of what stands beside a file was changed (nanoseconds since the epoch), by the row's fingerprint.

    0 when nothing does, and where the fingerprint does not tell, as in a bucket.
    """
    times = (part.split(":")[2:3] for part in fingerprint.split(";"))
    return max((int(time) for each in times for time in each), default=0)


def file_row(found: SeenFile) -> dict[str, object]:
    """The parameters that make a row of a file seen."""
    dist = found.dist
    return {
        "root": found.root, "path": found.path, **found.row._asdict(),
        "beside_ns": beside_ns(found.row.sidecars),
        "filename": dist.filename, "project": dist.project, "name": dist.name, "version": dist.version,
        "kind": dist.kind, "visible": 1, "yanked": found.yanked,
        "has_signature": int(found.has_signature), "has_provenance": int(found.has_provenance),
        "undecided": undecided(dist),
    }  # fmt: skip


def undecided(dist: FilenameParts) -> str:
    """All projects that the file may belong to, a blank around each; '' when that is certain."""
    return f" {dist.project} {' '.join(dist.others)} " if dist.others else ""


def upsert_row(found: SeenFile) -> dict[str, object]:
    """The same, with the row that must not have changed meanwhile."""
    before = found.before or ANY_ROW
    return {**file_row(found), **{f"before_{name}": value for name, value in before._asdict().items()}}


def uploaded_row(found: SeenFile, digest: Digest) -> dict[str, object]:
    """The parameters that make a row of a file seen, with what reading it brought."""
    values = _digest_values(digest)
    dist = found.dist
    return {
        **file_row(found), **values, "name": values["name"] or dist.name, "project": dist.project,
        "version": dist.version,
    }  # fmt: skip


def digest_row(file: File, digest: Digest) -> dict[str, object]:
    """The parameters that record what reading a file brought."""
    return {
        "root": file.root, "path": file.path, "size": file.size, "mtime_ns": file.mtime_ns, "inode": file.inode,
        "ctime_ns": file.ctime_ns, **_digest_values(digest),
    }  # fmt: skip


def _digest_values(digest: Digest) -> dict[str, object]:
    return {
        "sha256": digest.sha256, "link_digest": digest.link_digest, "requires_python": digest.requires_python,
        "metadata_sha256": digest.metadata_sha256, "summary": digest.summary, "keywords": digest.keywords,
        "needs": digest.needs,
        "fault": digest.fault, "fault_kind": digest.fault_kind, "name": digest.name, "core": digest.core,
        "project": digest.project, "version": digest.version,
        # The fastest level: with the default one, packing 100,000 descriptions takes longer than all the rest.
        "body": None if digest.metadata is None else zlib.compress(digest.metadata, 1),
    }  # fmt: skip


def as_file(row: Sequence[Any]) -> File:
    """The file of a row with ``schema.FILE_COLUMNS``."""
    return File(
        filename=row[0], project=NormalizedName(row[1]), name=row[2], version=row[3], kind=row[4], path=row[5],
        root=row[6], size=row[7], mtime_ns=row[8], inode=row[9], sha256=row[10], link_digest=row[11],
        requires_python=row[12], metadata_sha256=row[13], yanked=row[14], has_signature=bool(row[15]),
        has_provenance=bool(row[16]), ctime_ns=row[17],
    )  # fmt: skip
