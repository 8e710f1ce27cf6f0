"""The values that callers pass to the catalog and get from it, and the rows they become."""

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
    """What a scan compares: a file's identity, and the fingerprint of its sidecars as text.

    ``size`` is in bytes, times are in nanoseconds since the epoch; an inode or ctime of 0 is not known.
    """

    size: int
    mtime_ns: int
    inode: int
    sidecars: str
    ctime_ns: int = 0

    @property
    def identity(self) -> Identity:
        """Size, times and inode, by which the file is recognized."""
        return Identity(self.size, self.mtime_ns, self.inode, self.ctime_ns)


ANY_ROW = Fingerprint(-1, -1, -1, "")
# The inode of a row whose file is being replaced.
REPLACED = -1


class SeenFile(NamedTuple):
    """A distribution file seen in storage, with the contents of its sidecars.

    ``before`` is the row as it was read before the file was examined, None when there was none: if the row is another
    one by now, another process has examined the file later, and that row stays. ANY_ROW says that none can have.
    ``yanked`` is the reason of a yank, None when the file is not yanked.
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
    """A row whose file is missing, as it was when the scan began.

    ``is_replaced``: another file is in its place and not complete yet, or may appear in a moment. The row is then
    hidden and not deleted, so that its project still exists; ``held_at`` distinguishes this occasion from any other.
    """

    root: int
    path: str
    row: Fingerprint
    is_replaced: bool = False
    held_at: int = 0


@dataclass(frozen=True, slots=True)
class Digest:
    """The result of reading a file: digests and metadata, or the ``fault`` that keeps it from being listed.

    ``link_digest`` is ``<algorithm>=<hex>`` for the link fragment, or ''. ``core`` is the metadata that pages show, as
    :func:`core_metadata.packed` gives it. ``needs`` has the normalized names of dependencies, with a space between.
    ``name`` is the project's name as the metadata spells it, '' when it has none. ``project`` and ``version`` are set
    where only the metadata could tell where to split the file's name.
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
    """The fault of a file that is not listed: path, kind, and the ``reason``, a text that does not name the file."""

    path: str
    kind: FaultKind
    reason: str

    @property
    def filename(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_damage(self) -> bool:
        """Whether the fault is in the bytes of the file, so that reading it again cannot succeed."""
        return self.kind in DAMAGED

    @property
    def sentence(self) -> str:
        """The fault as a sentence for the log; it names the file if the file is damaged."""
        return refused(self.filename, self.reason) if self.is_damage else self.reason


class NameOwner(NamedTuple):
    """The file that owns a name, where names are exclusive (in a bucket)."""

    root: int
    path: str
    sha256: str


def beside_ns(fingerprint: str) -> int:
    """When a file's newest sidecar was changed (nanoseconds since the epoch), from the fingerprint of its sidecars.

    0 without sidecars, and where the fingerprint has no times, such as in a bucket.
    """
    times = (part.split(":")[2:3] for part in fingerprint.split(";"))
    return max((int(time) for each in times for time in each), default=0)


def file_row(found: SeenFile) -> dict[str, object]:
    """The parameters for the row of a seen file."""
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
    """All projects that a file may belong to, with a space around each; '' when its project is certain."""
    return f" {dist.project} {' '.join(dist.others)} " if dist.others else ""


def upsert_row(found: SeenFile) -> dict[str, object]:
    """The parameters for the row of a seen file, with the row before, which must not have changed meanwhile."""
    before = found.before or ANY_ROW
    return {**file_row(found), **{f"before_{name}": value for name, value in before._asdict().items()}}


def uploaded_row(found: SeenFile, digest: Digest) -> dict[str, object]:
    """The parameters for the row of an uploaded file with its digests."""
    values = _digest_values(digest)
    dist = found.dist
    return {
        **file_row(found), **values, "name": values["name"] or dist.name, "project": dist.project,
        "version": dist.version,
    }  # fmt: skip


def digest_row(file: File, digest: Digest) -> dict[str, object]:
    """The parameters that record a digest in the row of a file."""
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
        # The fastest level: with the default, compressing 100,000 descriptions takes longer than everything else.
        "body": None if digest.metadata is None else zlib.compress(digest.metadata, 1),
    }  # fmt: skip


def as_file(row: Sequence[Any]) -> File:
    """The file in a row with the columns ``schema.FILE_COLUMNS``."""
    return File(
        filename=row[0], project=NormalizedName(row[1]), name=row[2], version=row[3], kind=row[4], path=row[5],
        root=row[6], size=row[7], mtime_ns=row[8], inode=row[9], sha256=row[10], link_digest=row[11],
        requires_python=row[12], metadata_sha256=row[13], yanked=row[14], has_signature=bool(row[15]),
        has_provenance=bool(row[16]), ctime_ns=row[17],
    )  # fmt: skip
