"""The reading half of the catalog.

**Invariants:** a query is one statement, or a few whose results need not be from one moment; failures (``FAILURES``)
leave this module unchanged, and the caller decides how to recover.
"""

from __future__ import annotations

import time
import zlib
from typing import Any, NamedTuple

from packaging.utils import NormalizedName

from ..distributions.core_metadata import MAX_DESCRIPTION, CoreMetadata, described, packed, parse_metadata, unpacked
from ..distributions.filename import FilenameParts, folded
from ..errors import Unavailable
from ..model import ACTIVE, File, Indexed, ProjectStatus, last_serial
from . import schema
from .database import Connection, Cursor, Database
from .errors import CatalogIncomplete, CatalogReplaced
from .file_pages import FileList
from .leader_lock import LeaderLock
from .postgres.serial_cache import CoalescedQuery
from .postgres.session import ANSWER_SECONDS
from .project_list import ProjectList
from .rows import FileFault, Fingerprint, NameOwner, as_file
from .sqlite.change_counter import ChangeCounter

# A writer that is killed after its commit signals nothing: a serial is then outdated for at most this many seconds.
SIGNAL_SECONDS = 0.25


class _Seen(NamedTuple):
    """The serial as this process last read it, the signal's value just before, and until when it may be used."""

    signal: ChangeCounter | None
    value: bytes | None
    until: float
    serial: int


class ProjectState(NamedTuple):
    """The catalog's row of a project; ``changed_ns`` is when the newest of its files changed (ns since the epoch)."""

    serial: int
    status: ProjectStatus
    changed_ns: int


class CatalogQueries:
    """Queries of the catalog behind ``connections``; every method may raise one of ``FAILURES``."""

    def __init__(self, connections: Database) -> None:
        self.connections = connections
        self.listing = ProjectList(connections)
        self.file_list = FileList(connections)
        self._seen: _Seen | None = None
        # The generation of the connections, and the last serial that was read with them.
        self._last = (-1, 0)
        self._shared = CoalescedQuery(self._ask_serial, seconds=connections.believed, patience=ANSWER_SECONDS)

    def serial(self) -> int:
        """The number of the last change by any process.

        Costs one read of a shared file (see :mod:`change_counter`) unless something changed since this process last
        asked. Without such a file, it may be the serial that this process read a moment ago (see :mod:`serial_cache`).
        """
        connections = self.connections
        if connections.believed:
            return self._shared.ask()
        signal, seen, now = connections.signal, self._seen, time.monotonic()
        value = signal.value() if signal is not None else None
        if (
            seen is not None
            and value is not None
            and seen.signal is signal
            and seen.value == value
            and now < seen.until
        ):
            return seen.serial
        serial = self._ask_serial()
        # The signal was read before the query: a change between the two is noticed next time.
        self._seen = _Seen(signal, value, now + SIGNAL_SECONDS, serial)
        return serial

    def leader_lock(self) -> LeaderLock:
        """The lock by which all processes that share the catalog agree on one scanner (see :class:`Database`)."""
        return self.connections.leader_lock()

    def close(self) -> None:
        """Close the connections, and release the signal, which keeps its file open."""
        self.connections.close()
        self._seen = None

    def _ask_serial(self) -> int:
        # Read first: another thread may store a later serial than this query finds.
        generation, last = self.connections.generation, self._last
        rows = self._all(schema.SELECT_SERIAL_AND_EPOCH)
        serial, epoch = rows[0] if rows else (0, "")
        self._refuse_other(epoch)
        if generation == self.connections.generation:
            if last[0] == generation and serial < last[1] and self.connections.is_disposable:
                raise CatalogReplaced("it went back to an earlier state")
            self._last = (generation, int(serial))
        return int(serial)

    def is_absent(self, *, project: str = "", filename: str = "") -> bool:
        """Whether there is no row, visible or hidden, of this project (normalized name), or of this file name.

        Raises CatalogReplaced and CatalogIncomplete when the catalog cannot tell, and Unavailable when a folder cannot
        be read, because the project or file may be in it.
        """
        statement = schema.SELECT_ABSENCE_OF_FILE if filename else schema.SELECT_ABSENCE_OF_PROJECT
        epoch, is_complete, is_part_unread, is_here = self._all(statement, name=filename or project)[0]
        self._refuse_other(epoch)
        if not is_complete:
            raise CatalogIncomplete("it is being filled")
        if is_part_unread and not is_here and (project or filename):
            raise Unavailable(
                "Some folders cannot be read, so what is not known may be here: the server's log says which.",
                public=True,
            )
        return not is_here

    def refuse_incomplete(self) -> None:
        """Raise CatalogReplaced or CatalogIncomplete when rows that were just read may be only a part of all."""
        self.is_absent(project="")

    def _refuse_other(self, epoch: str) -> None:
        if epoch != self.connections.epoch:
            raise CatalogReplaced("another one is in its place")
        self._refuse_deleted()

    def _refuse_deleted(self) -> None:
        if self.connections.is_deleted():
            raise CatalogReplaced("it was deleted or replaced")

    def refuse_changed(self) -> None:
        """Raise CatalogReplaced when another program changed the catalog to another schema, or to other folders.

        Without this check, processes that have it open would continue, while others could not open it.
        """
        with self.connections.reading() as connection:
            self.connections.refuse_changed(connection)

    def settle(self) -> None:
        """Return when no process uses an older serial than can be read now; every change waits like this already."""
        self.connections.settle()

    def states(self) -> tuple[set[int], set[int]]:
        """The hash of each row's (root, path, size, mtime_ns, inode, sidecars, ctime_ns), and the roots with a row.

        Hashes, because a million rows as tuples take 400 MB; a collision is too unlikely to matter.
        """
        states: set[int] = set()
        roots: set[int] = set()
        with self.connections.reading() as connection, connection.stream(schema.SELECT_SNAPSHOT) as rows:
            for row in rows:
                states.add(hash(row))
                roots.add(row[0])
        return states, roots

    def keys_of(self, states: set[int]) -> list[tuple[int, str]]:
        """(root, path) of the rows that have one of these states."""
        with self.connections.reading() as connection, connection.stream(schema.SELECT_SNAPSHOT) as rows:
            return [row[:2] for row in rows if hash(row) in states]

    def folders(self) -> dict[tuple[int, str], tuple[int, int]]:
        """Modification time (ns) and inode of each folder, by root and path, as the last scan found it."""
        return {row[:2]: row[2:] for row in self._all(schema.SELECT_FOLDERS)}

    def token(self) -> str:
        """The name of the open catalog, the same in every process that has it open; opens the catalog if needed."""
        self._ask_serial()
        return self.connections.token()

    def was_scanned(self) -> bool:
        """Whether any scan has completed: a catalog that is being filled has no folders yet."""
        return bool(self._all(schema.SELECT_ANY_FOLDER))

    def has_files_below(self, root: int, path: str) -> bool:
        """Whether there is a row of a file in this folder, or in one below it."""
        return bool(self._all(schema.SELECT_ANY_BELOW, root=root, path=path))

    def projects(self) -> list[Indexed]:
        """Every project with a visible file, by normalized name; raises as :meth:`refuse_incomplete` does."""
        rows = self._all(schema.SELECT_PROJECTS)
        projects = [Indexed(NormalizedName(name), display, last_serial(changed)) for name, display, changed in rows]
        # A project that is missing from this list counts as absent too. A complete catalog never becomes incomplete.
        self.refuse_incomplete()
        return projects

    def project_state(self, name: str) -> ProjectState:
        """A project's serial (0 when it was never seen), status and last change."""
        rows = self._all(schema.SELECT_PROJECT, name=name)
        if not rows:
            return ProjectState(0, ACTIVE, 0)
        serial, status, reason, changed_ns = rows[0]
        return ProjectState(serial, ProjectStatus(status, reason) if status else ACTIVE, changed_ns)

    def statuses(self) -> dict[str, ProjectStatus]:
        """Every project status other than active."""
        return {name: ProjectStatus(status, reason) for name, status, reason in self._all(schema.SELECT_STATUSES)}

    def files_of(self, name: str) -> list[File]:
        """The visible files of a project; ``sha256`` is '' for those that are not digested yet.

        Includes files of other projects that may turn out to belong to this one, and so must be digested too.
        Raises CatalogReplaced when these may be the files of an earlier state.
        """
        rows = self._all(schema.SELECT_FILES_OF, name=name)
        self._refuse_deleted()
        return [as_file(row) for row in rows]

    def file(self, filename: str) -> File | None:
        """The visible file of that name, None when there is none."""
        rows = self._all(schema.SELECT_FILE, filename=filename)
        return as_file(rows[0]) if rows else None

    def rows_of(self, name: str) -> list[File]:
        """Every file of a project in any root, hidden and faulty ones too."""
        return [as_file(row) for row in self._all(schema.SELECT_ROWS_OF, name=name)]

    def alike(self, dist: FilenameParts) -> list[str]:
        """Names of files of its project that differ from its own only in case and in ``-``, ``_`` and ``.``."""
        with self.connections.reading() as connection:
            return [filename for (filename,) in select_alike(connection, dist).fetchall()]

    def faults_of(self, name: str) -> list[FileFault]:
        """The faults of a project's files that cannot be listed."""
        return [FileFault(*row) for row in self._all(schema.SELECT_FAULTS, name=name)]

    def files(self) -> list[File]:
        """Every visible file, by path."""
        return [as_file(row) for row in self._all(schema.SELECT_FILES)]

    def paths(self, root: int, after: str, limit: int) -> list[tuple[str, int, int, str]]:
        """Path, size (bytes), modification time (ns) and link digest of visible files of a root, by path.

        Gives up to ``limit`` files whose paths sort after ``after``.
        """
        return self._all(schema.SELECT_PATHS, root=root, after=after, limit=limit)

    def pending(self, limit: int) -> list[File]:
        """Up to ``limit`` files that are not digested yet, or whose project only their metadata can tell."""
        return [as_file(row) for row in self._all(schema.SELECT_PENDING, limit=limit)]

    def pending_of(self, name: str) -> list[File]:
        """The pending files of a project, and those that may turn out to belong to it."""
        return [as_file(row) for row in self._all(schema.SELECT_PENDING_OF, name=name)]

    def pending_count(self) -> int:
        """The number of files that are pending."""
        return int(self._all(schema.SELECT_PENDING_COUNT)[0][0])

    def metadata(self, file: File) -> bytes | None:
        """The core metadata of a digested file, exactly as in the archive; None for a file without any."""
        rows = self._all(schema.SELECT_METADATA, root=file.root, path=file.path)
        return zlib.decompress(rows[0][0]) if rows else None

    def core_metadata(self, file: File) -> CoreMetadata | None:
        """A file's core metadata, as it was parsed when the file was digested; None for a file without any."""
        rows = self._all(schema.SELECT_CORE, root=file.root, path=file.path, sha256=file.sha256)
        if not rows:
            return None
        core, body = rows[0]
        # An older version, which did not store the parsed metadata, may have digested the file.
        said = unpacked(core or packed(parse_metadata(zlib.decompress(body))))
        if said.body_at < 0:
            return said
        raw = zlib.decompressobj().decompress(body, said.body_at + MAX_DESCRIPTION)
        return described(said, raw[said.body_at :])

    def counts(self) -> tuple[int, int]:
        """The numbers of visible files, and of projects with one."""
        files, projects = self._all(schema.SELECT_COUNTS)[0]
        return int(files), int(projects)

    def root_counts(self) -> dict[int, int]:
        """The number of files by root, hidden and faulty ones too."""
        return dict(self._all(schema.SELECT_ROOT_COUNTS))

    def unread_roots(self) -> set[int]:
        """The roots in which a folder could not be read."""
        return {root for (root,) in self._all(schema.SELECT_UNREAD_ROOTS)}

    def claimant(self, filename: str) -> NameOwner | None:
        """The owner of a name, where names are exclusive (in a bucket); None when the name is free."""
        rows = self._all(schema.SELECT_CLAIM, filename=filename)
        return NameOwner(*rows[0]) if rows else None

    def fault_counts(self) -> dict[int, int]:
        """The number of files by root that cannot be listed."""
        return dict(self._all(schema.SELECT_FAULT_COUNTS))

    def fault(self, root: int, path: str, row: Fingerprint) -> FileFault | None:
        """The fault of exactly the file in ``row``, None when it has none or the row is of another file by now."""
        values = {"root": root, "path": path, "size": row.size, "mtime_ns": row.mtime_ns, "inode": row.inode}
        return next((FileFault(*each) for each in self._all(schema.SELECT_FAULT, **values)), None)

    def row(self, root: int, path: str) -> Fingerprint | None:
        """The fingerprint in a file's row, None without a row."""
        rows = self._all(schema.SELECT_ROW, root=root, path=path)
        return Fingerprint(*rows[0]) if rows else None

    def shadowed(self) -> list[tuple[int, str, File]]:
        """(root, path) of every faultless file that another one of its name hides, with the file that hides it."""
        rows = [(root, path, self.file(filename)) for root, path, filename in self._all(schema.SELECT_SHADOWED)]
        return [(root, path, winner) for root, path, winner in rows if winner is not None]

    def _all(self, statement: str, **parameters: object) -> list[Any]:
        with self.connections.reading() as connection:
            return connection.execute(statement, parameters).fetchall()


def select_alike(connection: Connection, dist: FilenameParts) -> Cursor:
    """The query of :meth:`CatalogQueries.alike` on a given connection, such as one in a transaction."""
    values = {"name": dist.project, "filename": dist.filename, "folded": folded(dist.filename)}
    return connection.execute(schema.SELECT_ALIKE, values)
