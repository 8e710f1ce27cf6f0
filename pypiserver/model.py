"""The values that the layers pass to each other: a file, a project, a project's status.

**Invariants:** they hold facts from the catalog, never a path of the file system; they are immutable, so threads share
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from packaging.utils import NormalizedName

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def utc(nanoseconds: int) -> datetime:
    """The time in UTC, from nanoseconds since the epoch (1970), cut to microseconds."""
    # fromtimestamp() refuses times before 1970 on Windows.
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


class Identity(NamedTuple):
    """The attributes by which a scan recognizes an unchanged file; another file at its path differs in one of them.

    ``size`` is bytes; times are nanoseconds since the epoch. ``ctime_ns`` is the time of the last change of data or
    attributes, so that a copy with the old size and modification time differs. 0 is an inode or time that the file
    system makes up, or that a catalog of an earlier version lacks; it matches any value.
    """

    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int

    def is_same(self, other: Identity) -> bool:
        """Whether both may be of one unchanged file."""
        return self[:2] == other[:2] and all(
            ours == theirs or (min(ours, theirs) == 0 and max(ours, theirs) > 0)
            for ours, theirs in zip(self[2:], other[2:], strict=True)
        )


@dataclass(frozen=True, slots=True)
class File:
    """One distribution file that is visible in the index.

    Sizes are bytes, ``mtime_ns`` nanoseconds since the epoch (the upload time, UTC), digests lower-case hex.
    ``path`` is the file's place below ``/packages/``: its path relative to its root, with ``/`` between the parts.
    ``yanked`` is None, or the reason (maybe empty) why the file was yanked (PEP 592). ``metadata_sha256`` is set
    exactly when the metadata can be served at ``<url>.metadata`` (PEP 658). ``link_digest`` is the digest by
    ``--hash-algo`` for the link's fragment, as ``algorithm=hex``, or empty when the fragment is switched off.
    """

    filename: str
    project: NormalizedName
    name: str
    version: str
    kind: str
    path: str
    root: int
    size: int
    mtime_ns: int
    inode: int
    sha256: str
    link_digest: str = ""
    requires_python: str | None = None
    metadata_sha256: str | None = None
    yanked: str | None = None
    has_signature: bool = False
    has_provenance: bool = False
    ctime_ns: int = 0

    @property
    def identity(self) -> Identity:
        """The attributes by which a scan recognizes this file."""
        return Identity(self.size, self.mtime_ns, self.inode, self.ctime_ns)

    @property
    def uploaded_at(self) -> datetime:
        """The upload time: the file's modification time in UTC, whole microseconds."""
        return utc(self.mtime_ns)


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """A project's status marker (PEP 792): ``active``, ``archived``, ``deprecated`` or ``quarantined``."""

    status: str
    reason: str = ""


def last_serial(changed_ns: int) -> int:
    """The serial that mirrors see for a change at this time (nanoseconds since the epoch): its seconds.

    It comes from storage and not from a counter, so it survives a rebuild of the catalog. It is from 1 to 2**31 - 1,
    because XML-RPC has integers of 31 bits and mirrors take 0 for none.
    """
    return min(max(changed_ns // 1_000_000_000, 1), 2**31 - 1)


@dataclass(frozen=True, slots=True)
class Project:
    """A project with its visible files, sorted by version, then file name.

    ``versions`` has every version once, lowest first. ``serial`` is the catalog's serial of the project's last
    change, ``last_serial`` the one of its files (see :func:`last_serial`). ``name`` is in normal form (PEP 503);
    ``display_name`` is the spelling of its newest file.
    """

    name: NormalizedName
    display_name: str
    files: tuple[File, ...]
    versions: tuple[str, ...]
    status: ProjectStatus
    serial: int
    last_serial: int


# A project as the index lists it: its name, its display name, and the ``last_serial`` of Project. A plain tuple, as the
# database gives it: 100,000 objects of a class of ours take as long as everything else of the list.
Indexed = tuple[NormalizedName, str, int]


@dataclass(frozen=True, slots=True)
class Listed:
    """A project as a row of a list: ``version`` is its newest release, ``summary`` that release's summary on one line.

    ``upload`` is the version of the last upload, at ``uploaded_at`` (UTC); ``files`` is their number, ``size`` their
    total size in bytes, ``yanked`` the number of yanked ones. ``status`` is '' for an active project (PEP 792).
    """

    project: NormalizedName
    name: str
    version: str
    upload: str
    uploaded_at: datetime
    files: int
    size: int
    yanked: int
    summary: str
    status: str


@dataclass(frozen=True, slots=True)
class Search:
    """A request for a page of the list of projects: those that ``text`` finds, or all for ''.

    ``sort`` is ``name``, ``date`` or ``size``, reversed with a leading ``-``; any other value means by relevance.
    ``show`` is '' (all), ``yanked`` (with a yanked file) or ``marked`` (with a status). ``needs`` is a project in
    normal form on which the newest release of each depends, '' for any.
    """

    text: str = ""
    sort: str = ""
    show: str = ""
    needs: str = ""
    limit: int = 50
    offset: int = 0


ACTIVE = ProjectStatus("active")
