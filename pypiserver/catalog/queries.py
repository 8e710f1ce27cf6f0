"""The reading half of the catalog.

**Invariants:** a query is one statement, or a few whose results need not be from one moment; failures (``FAILURES``)
leave this module unchanged, and the caller decides how to recover.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple

from ..distributions.core_metadata import MAX_DESCRIPTION, CoreMetadata, described, packed, parse_metadata, unpacked
from ..distributions.filename import FilenameParts
from ..distributions.filename_keys import folded
from ..model import ACTIVE, File, Indexed, ProjectStatus
from . import statements
from .admitted_names import AdmittedNames, ListedNames
from .database import Connection, Cursor, Database
from .file_pages import FileList, of_files, of_projects
from .name_filter import EVERYTHING, NameFilter
from .project_list import ProjectList
from .rows import FileFault, Fingerprint, NameOwner, as_file
from .state import CatalogState

# In the column of statuses: the name of a deleted project stays ours. It is no status of PEP 792, and never shown.
PRIVATE = "private"
NO_STATUS = ("", PRIVATE)


class ProjectState(NamedTuple):
    """The catalog's row of a project; ``changed_ns`` is when the newest of its files changed (ns since the epoch)."""

    serial: int
    status: ProjectStatus
    changed_ns: int


class CatalogQueries(CatalogState):
    """Queries of the catalog behind ``connections``; every method may raise one of ``FAILURES``."""

    def __init__(self, connections: Database) -> None:
        super().__init__(connections)
        self.listing = ProjectList(connections)
        self.file_list = FileList(connections)
        self._admitted = AdmittedNames(connections.in_set)

    def narrowed(self, names: NameFilter) -> NameFilter:
        """The filter as lists of this catalog should get it: that of many patterns as a set of names."""
        if not names.is_costly:
            return names
        catalog = self.connections.generation, self.connections.epoch
        return self._admitted.of(names, ListedNames(catalog, self.serial(), self._listed_names, self._changed_names))

    def _listed_names(self) -> Iterable[str]:
        return map(itemgetter(0), self._all(statements.SELECT_LISTED_NAMES))

    def _changed_names(self, serial: int) -> list[tuple[str, int]]:
        return self._all(statements.SELECT_CHANGED_NAMES, serial=serial)

    def states(self) -> tuple[set[int], set[int]]:
        """The hash of each row's (root, path, size, mtime_ns, inode, sidecars, ctime_ns), and the roots with a row.

        Hashes, because a million rows as tuples take 400 MB; a collision is too unlikely to matter.
        """
        states: set[int] = set()
        roots: set[int] = set()
        with self.connections.reading() as connection, connection.stream(statements.SELECT_SNAPSHOT) as rows:
            for row in rows:
                states.add(hash(row))
                roots.add(row[0])
        return states, roots

    def keys_of(self, states: set[int]) -> list[tuple[int, str]]:
        """(root, path) of the rows that have one of these states."""
        with self.connections.reading() as connection, connection.stream(statements.SELECT_SNAPSHOT) as rows:
            return [row[:2] for row in rows if hash(row) in states]

    def folders(self) -> dict[tuple[int, str], tuple[int, int]]:
        """Modification time (ns) and inode of each folder, by root and path, as the last scan found it."""
        return {row[:2]: row[2:] for row in self._all(statements.SELECT_FOLDERS)}

    def has_files_below(self, root: int, path: str) -> bool:
        """Whether there is a row of a file in this folder, or in one below it."""
        return bool(self._all(statements.SELECT_ANY_BELOW, root=root, path=path))

    def projects(self, names: NameFilter = EVERYTHING) -> list[Indexed]:
        """Every project with a visible file, by normalized name; raises as :meth:`refuse_incomplete` does."""
        rows = self._all(statements.SELECT_PROJECTS.format(names=of_projects(names, "name", is_scanned=True)))
        # A project that is missing from this list counts as absent too. A complete catalog never becomes incomplete.
        self.refuse_incomplete()
        return rows

    def project_state(self, name: str) -> ProjectState:
        """A project's serial (0 when it was never seen), status and last change."""
        rows = self._all(statements.SELECT_PROJECT, name=name)
        if not rows:
            return ProjectState(0, ACTIVE, 0)
        serial, status, reason, changed_ns = rows[0]
        return ProjectState(serial, ProjectStatus(status, reason) if status not in NO_STATUS else ACTIVE, changed_ns)

    def claim_of(self, name: str) -> str:
        """Why the name is ours though the project may have no file, '' if it is not."""
        rows = self._all(statements.SELECT_PROJECT, name=name)
        status, reason = rows[0][1:3] if rows else ("", "")
        return str(reason) or "it is reserved" if status == PRIVATE else f"it is {status}" if status else ""

    def statuses(self) -> dict[str, ProjectStatus]:
        """Every project status other than active, claims of deleted projects (``private``) included."""
        return {name: ProjectStatus(status, reason) for name, status, reason in self._all(statements.SELECT_STATUSES)}

    def files_of(self, name: str) -> list[File]:
        """The visible files of a project; ``sha256`` is '' for those that are not digested yet.

        Includes files of other projects that may turn out to belong to this one, and so must be digested too.
        Raises CatalogReplaced when these may be the files of an earlier state.
        """
        rows = self._all(statements.SELECT_FILES_OF, name=name)
        self._refuse_deleted()
        return [as_file(row) for row in rows]

    def file(self, filename: str) -> File | None:
        """The visible file of that name, None when there is none."""
        rows = self._all(statements.SELECT_FILE, filename=filename)
        return as_file(rows[0]) if rows else None

    def rows_of(self, name: str) -> list[File]:
        """Every file of a project in any root, hidden and faulty ones too."""
        return [as_file(row) for row in self._all(statements.SELECT_ROWS_OF, name=name)]

    def alike(self, dist: FilenameParts) -> list[str]:
        """Names of files of its project that differ from its own only in case and in ``-``, ``_`` and ``.``."""
        with self.connections.reading() as connection:
            return [filename for (filename,) in select_alike(connection, dist).fetchall()]

    def faults_of(self, name: str) -> list[FileFault]:
        """The faults of a project's files that cannot be listed."""
        return [FileFault(*row) for row in self._all(statements.SELECT_FAULTS, name=name)]

    def files(self) -> list[File]:
        """Every visible file, by path."""
        return [as_file(row) for row in self._all(statements.SELECT_FILES)]

    def paths(
        self, root: int, after: str, limit: int, names: NameFilter = EVERYTHING
    ) -> list[tuple[str, int, int, str]]:
        """Path, size (bytes), modification time (ns) and link digest of visible files of a root, by path.

        Gives up to ``limit`` files whose paths sort after ``after``.
        """
        return self._all(statements.SELECT_PATHS.format(names=of_files(names)), root=root, after=after, limit=limit)

    def pending(self, limit: int) -> list[File]:
        """Up to ``limit`` files that are not digested yet, or whose project only their metadata can tell."""
        return [as_file(row) for row in self._all(statements.SELECT_PENDING, limit=limit)]

    def pending_of(self, name: str) -> list[File]:
        """The pending files of a project, and those that may turn out to belong to it."""
        return [as_file(row) for row in self._all(statements.SELECT_PENDING_OF, name=name)]

    def pending_count(self) -> int:
        """The number of files that are pending."""
        return int(self._all(statements.SELECT_PENDING_COUNT)[0][0])

    def metadata(self, file: File) -> bytes | None:
        """The core metadata of a digested file, exactly as in the archive; None for a file without any."""
        rows = self._all(statements.SELECT_METADATA, root=file.root, path=file.path)
        return zlib.decompress(rows[0][0]) if rows else None

    def core_metadata(self, file: File) -> CoreMetadata | None:
        """A file's core metadata, as it was parsed when the file was digested; None for a file without any."""
        rows = self._all(statements.SELECT_CORE, root=file.root, path=file.path, sha256=file.sha256)
        if not rows:
            return None
        core, body = rows[0]
        # An older version, which did not store the parsed metadata, may have digested the file.
        said = unpacked(core or packed(parse_metadata(zlib.decompress(body))))
        if said.body_at < 0:
            return said
        raw = zlib.decompressobj().decompress(body, said.body_at + MAX_DESCRIPTION)
        return described(said, raw[said.body_at :])

    def counts(self, names: NameFilter = EVERYTHING) -> tuple[int, int]:
        """The numbers of visible files, and of projects with one."""
        files, projects = self._all(statements.SELECT_COUNTS.format(names=names.sql("name", is_scanned=True)))[0]
        if names.is_all():
            return int(files), int(projects)
        # A file that may be of a hidden project counts once its metadata says that it is not.
        rows = self._all(statements.SELECT_UNDECIDED_COUNTS.format(names=names.sql("p.name")))
        return int(files) - sum(count for count, _ in rows), int(projects) - sum(is_alone for _, is_alone in rows)

    def root_counts(self) -> dict[int, int]:
        """The number of files by root, hidden and faulty ones too."""
        return dict(self._all(statements.SELECT_ROOT_COUNTS))

    def unread_roots(self) -> set[int]:
        """The roots in which a folder could not be read."""
        return {root for (root,) in self._all(statements.SELECT_UNREAD_ROOTS)}

    def claimant(self, filename: str) -> NameOwner | None:
        """The owner of a name, where names are exclusive (in a bucket); None when the name is free."""
        rows = self._all(statements.SELECT_CLAIM, filename=filename)
        return NameOwner(*rows[0]) if rows else None

    def fault_counts(self) -> dict[int, int]:
        """The number of files by root that cannot be listed."""
        return dict(self._all(statements.SELECT_FAULT_COUNTS))

    def fault(self, root: int, path: str, row: Fingerprint) -> FileFault | None:
        """The fault of exactly the file in ``row``, None when it has none or the row is of another file by now."""
        values = {"root": root, "path": path, "size": row.size, "mtime_ns": row.mtime_ns, "inode": row.inode}
        return next((FileFault(*each) for each in self._all(statements.SELECT_FAULT, **values)), None)

    def row(self, root: int, path: str) -> Fingerprint | None:
        """The fingerprint in a file's row, None without a row."""
        rows = self._all(statements.SELECT_ROW, root=root, path=path)
        return Fingerprint(*rows[0]) if rows else None

    def shadowed(self) -> list[tuple[int, str, File]]:
        """(root, path) of every faultless file that another one of its name hides, with the file that hides it."""
        rows = [(root, path, self.file(filename)) for root, path, filename in self._all(statements.SELECT_SHADOWED)]
        return [(root, path, winner) for root, path, winner in rows if winner is not None]


def select_alike(connection: Connection, dist: FilenameParts) -> Cursor:
    """The query of :meth:`CatalogQueries.alike` on a given connection, such as one in a transaction."""
    values = {"name": dist.project, "filename": dist.filename, "folded": folded(dist.filename)}
    return connection.execute(statements.SELECT_ALIKE, values)
