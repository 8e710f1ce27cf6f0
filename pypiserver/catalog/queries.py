"""The catalog's answers: every question is one statement, or a few that need not agree.

Failures leave this module as they are (``failures.FAILURES``); who asked decides how to go on.
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

# A writer that is killed after its commit has told nobody: so old may an answer then be.
SIGNAL_SECONDS = 0.25


class _Seen(NamedTuple):
    """The serial as this process last read it, the signal just before, and until when that is believed."""

    signal: ChangeCounter | None
    value: bytes | None
    until: float
    serial: int


class ProjectState(NamedTuple):
    """What the catalog says of a project itself; ``changed_ns`` is when the newest of its files was changed."""

    serial: int
    status: ProjectStatus
    changed_ns: int


class CatalogQueries:
    """The reading half of the catalog that ``connections`` lead to."""

    def __init__(self, connections: Database) -> None:
        self.connections = connections
        self.listing = ProjectList(connections)
        self.file_list = FileList(connections)
        self._seen: _Seen | None = None
        # The generation of the connections, and the serial that was read last with them.
        self._last = (-1, 0)
        self._shared = CoalescedQuery(self._ask_serial, seconds=connections.believed, patience=ANSWER_SECONDS)

    def serial(self) -> int:
        """The number of the last change, by any process.

        Costs a look at shared memory (see :mod:`change_counter`) unless something changed since this process last
        asked. Where there is none it is what this process read a moment ago (see :mod:`serial_cache`).
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
        # Read before the question: what changes between the two is noticed next time.
        self._seen = _Seen(signal, value, now + SIGNAL_SECONDS, serial)
        return serial

    def leader_lock(self) -> LeaderLock:
        """The lock by which all who share the catalog agree on one scanner (see :class:`Database`)."""
        return self.connections.leader_lock()

    def close(self) -> None:
        """Close the connections, and forget what would keep shared memory open."""
        self.connections.close()
        self._seen = None

    def _ask_serial(self) -> int:
        # Read first: another thread may note a later one than we find.
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
        """Whether there is no row at all, hidden or not, of this project in normal form, or of this file name.

        Raises CatalogReplaced and CatalogIncomplete when that cannot be told, and Unavailable when a folder cannot be
        read, as it may be there.
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
        """Raise CatalogReplaced or CatalogIncomplete when what was just read may be a part of what is here."""
        self.is_absent(project="")

    def _refuse_other(self, epoch: str) -> None:
        if epoch != self.connections.epoch:
            raise CatalogReplaced("another one is in its place")
        self._refuse_deleted()

    def _refuse_deleted(self) -> None:
        if self.connections.is_deleted():
            raise CatalogReplaced("it was deleted or replaced")

    def refuse_changed(self) -> None:
        """Raise CatalogReplaced when another program has made the catalog one of another schema, or of other folders.

        Who has it open would go on, and whoever opens it now could not.
        """
        with self.connections.reading() as connection:
            self.connections.refuse_changed(connection)

    def settle(self) -> None:
        """Return when no process answers from before what can be read now; every change has done this already."""
        self.connections.settle()

    def states(self) -> tuple[set[int], set[int]]:
        """The hash of each row's (root, path, size, mtime_ns, inode, sidecars, ctime_ns), and the roots there are.

        Numbers, because a million rows as tuples fill 400 MB; that two rows have one number need not be expected.
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
        """Modification time and inode of each folder, as the last scan found it."""
        return {row[:2]: row[2:] for row in self._all(schema.SELECT_FOLDERS)}

    def token(self) -> str:
        """The name of the catalog that is open, the same in every process that has it open; opens it if need be."""
        self._ask_serial()
        return self.connections.token()

    def was_scanned(self) -> bool:
        """Whether a scan ever came to its end: a catalog that is being filled has no folders yet."""
        return bool(self._all(schema.SELECT_ANY_FOLDER))

    def has_files_below(self, root: int, path: str) -> bool:
        """Whether any file has a row that is in this folder, or in one below it."""
        return bool(self._all(schema.SELECT_ANY_BELOW, root=root, path=path))

    def projects(self) -> list[Indexed]:
        """Every project with a visible file, sorted by its normal form; raises as :meth:`is_absent`."""
        rows = self._all(schema.SELECT_PROJECTS)
        projects = [Indexed(NormalizedName(name), display, last_serial(changed)) for name, display, changed in rows]
        # A project that is not in it is absent as much as one that is asked for. No catalog becomes incomplete again.
        self.refuse_incomplete()
        return projects

    def project_state(self, name: str) -> ProjectState:
        """The project's serial (0 when it was never seen), status and last change."""
        rows = self._all(schema.SELECT_PROJECT, name=name)
        if not rows:
            return ProjectState(0, ACTIVE, 0)
        serial, status, reason, changed_ns = rows[0]
        return ProjectState(serial, ProjectStatus(status, reason) if status else ACTIVE, changed_ns)

    def statuses(self) -> dict[str, ProjectStatus]:
        """Every project status other than active."""
        return {name: ProjectStatus(status, reason) for name, status, reason in self._all(schema.SELECT_STATUSES)}

    def files_of(self, name: str) -> list[File]:
        """The visible files of a project; ``sha256`` is empty on those not yet digested.

        With files of other projects that may turn out to be of this one, which are to be digested as well.
        Raises CatalogReplaced when these may be the files of an earlier state.
        """
        rows = self._all(schema.SELECT_FILES_OF, name=name)
        self._refuse_deleted()
        return [as_file(row) for row in rows]

    def file(self, filename: str) -> File | None:
        """The visible file of that name."""
        rows = self._all(schema.SELECT_FILE, filename=filename)
        return as_file(rows[0]) if rows else None

    def rows_of(self, name: str) -> list[File]:
        """Every file of a project in any folder, hidden and faulty ones too."""
        return [as_file(row) for row in self._all(schema.SELECT_ROWS_OF, name=name)]

    def alike(self, dist: FilenameParts) -> list[str]:
        """The names of files of its project that differ from its own in case and in ``-``, ``_`` and ``.`` alone."""
        with self.connections.reading() as connection:
            return [filename for (filename,) in select_alike(connection, dist).fetchall()]

    def faults_of(self, name: str) -> list[FileFault]:
        """What is wrong with every file of a project that is not fit to be listed."""
        return [FileFault(*row) for row in self._all(schema.SELECT_FAULTS, name=name)]

    def files(self) -> list[File]:
        """Every visible file, by path."""
        return [as_file(row) for row in self._all(schema.SELECT_FILES)]

    def paths(self, root: int, after: str, limit: int) -> list[tuple[str, int, int, str]]:
        """Path, size, modification time and link digest of up to ``limit`` visible files of a folder, by path, after a
        path."""
        return self._all(schema.SELECT_PATHS, root=root, after=after, limit=limit)

    def pending(self, limit: int) -> list[File]:
        """Up to ``limit`` files that wait to be digested."""
        return [as_file(row) for row in self._all(schema.SELECT_PENDING, limit=limit)]

    def pending_of(self, name: str) -> list[File]:
        """The files of a project that wait to be digested, and those that may turn out to be of it."""
        return [as_file(row) for row in self._all(schema.SELECT_PENDING_OF, name=name)]

    def pending_count(self) -> int:
        """How many files wait to be digested."""
        return int(self._all(schema.SELECT_PENDING_COUNT)[0][0])

    def metadata(self, file: File) -> bytes | None:
        """The core metadata of a digested file, as it stands in the archive."""
        rows = self._all(schema.SELECT_METADATA, root=file.root, path=file.path)
        return zlib.decompress(rows[0][0]) if rows else None

    def core_metadata(self, file: File) -> CoreMetadata | None:
        """What a file's metadata says, as it was parsed when the file was digested; None for a file without any."""
        rows = self._all(schema.SELECT_CORE, root=file.root, path=file.path, sha256=file.sha256)
        if not rows:
            return None
        core, body = rows[0]
        # A version of us that kept nothing of it may have digested the file.
        said = unpacked(core or packed(parse_metadata(zlib.decompress(body))))
        if said.body_at < 0:
            return said
        raw = zlib.decompressobj().decompress(body, said.body_at + MAX_DESCRIPTION)
        return described(said, raw[said.body_at :])

    def counts(self) -> tuple[int, int]:
        """How many files and how many projects are visible."""
        files, projects = self._all(schema.SELECT_COUNTS)[0]
        return int(files), int(projects)

    def root_counts(self) -> dict[int, int]:
        """How many files each root has, hidden and faulty ones too."""
        return dict(self._all(schema.SELECT_ROOT_COUNTS))

    def unread_roots(self) -> set[int]:
        """The roots in which a folder could not be read."""
        return {root for (root,) in self._all(schema.SELECT_UNREAD_ROOTS)}

    def claimant(self, filename: str) -> NameOwner | None:
        """The file that has a name where names are exclusive."""
        rows = self._all(schema.SELECT_CLAIM, filename=filename)
        return NameOwner(*rows[0]) if rows else None

    def fault_counts(self) -> dict[int, int]:
        """How many files each root has that are not fit to be listed."""
        return dict(self._all(schema.SELECT_FAULT_COUNTS))

    def fault(self, root: int, path: str, row: Fingerprint) -> FileFault | None:
        """What is wrong with the file of that very row, None when nothing is or another one stands there."""
        values = {"root": root, "path": path, "size": row.size, "mtime_ns": row.mtime_ns, "inode": row.inode}
        return next((FileFault(*each) for each in self._all(schema.SELECT_FAULT, **values)), None)

    def row(self, root: int, path: str) -> Fingerprint | None:
        """One file row's identity."""
        rows = self._all(schema.SELECT_ROW, root=root, path=path)
        return Fingerprint(*rows[0]) if rows else None

    def shadowed(self) -> list[tuple[int, str, File]]:
        """(root, path) of every sound file that is hidden by another of its name, with the one that hides it."""
        rows = [(root, path, self.file(filename)) for root, path, filename in self._all(schema.SELECT_SHADOWED)]
        return [(root, path, winner) for root, path, winner in rows if winner is not None]

    def _all(self, statement: str, **parameters: object) -> list[Any]:
        with self.connections.reading() as connection:
            return connection.execute(statement, parameters).fetchall()


def select_alike(connection: Connection, dist: FilenameParts) -> Cursor:
    """The rows of :meth:`CatalogQueries.alike`, within a transaction that has begun."""
    values = {"name": dist.project, "filename": dist.filename, "folded": folded(dist.filename)}
    return connection.execute(schema.SELECT_ALIKE, values)
