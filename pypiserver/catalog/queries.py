"""The catalog's questions and answers.

The rules to keep: a write is one transaction that raises the serial and stamps the projects it touched; a row is
changed only while it still describes the file that was looked at (size, mtime_ns, inode); failures of SQLite leave
this module as they are, and ``sync`` decides how to go on.
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from packaging.utils import NormalizedName

from ..distfile import DistFile
from ..model import ACTIVE, File, ProjectStatus
from . import listing, schema
from .connections import CACHE, Connections
from .signal import Signal

# A first scan writes every index of the catalog: a small page cache would write most pages several times.
BULK = 5000
BULK_CACHE = -65536
# A writer that is killed after its commit has told nobody: so old may an answer then be.
SIGNAL_SECONDS = 0.25


class Row(NamedTuple):
    """What a rescan compares: a file's identity and the fingerprint of its sidecars."""

    size: int
    mtime_ns: int
    inode: int
    sidecars: str


ANY_ROW = Row(-1, -1, -1, "")
# The inode of a row whose file is being replaced.
REPLACED = -1


class Found(NamedTuple):
    """A distribution file seen in storage, with what its sidecars say.

    ``before`` is the row that was read before the file was looked at, None when there was none: when it is another one
    by now, somebody looked later, and the row stays. ANY_ROW says that nobody can have.
    """

    root: int
    path: str
    row: Row
    dist: DistFile
    yanked: str | None = None
    has_signature: bool = False
    has_provenance: bool = False
    before: Row | None = ANY_ROW


@dataclass(frozen=True, slots=True)
class Gone:
    """A row whose file is no longer there, as it was when the scan began.

    ``is_replaced``: another file stands there that is not whole yet. The row is hidden then, and not deleted, so that
    its project is still known to be here.
    """

    root: int
    path: str
    row: Row
    is_replaced: bool = False


@dataclass(frozen=True, slots=True)
class Digest:
    """What reading a file brought: digests, metadata, or the ``fault`` that keeps it from being listed.

    ``name`` is the project's name as the metadata spells it, empty when it says none.
    """

    sha256: str
    link_digest: str = ""
    metadata: bytes | None = None
    metadata_sha256: str | None = None
    requires_python: str | None = None
    summary: str = ""
    keywords: str = ""
    fault: str = ""
    name: str = ""


class _Seen(NamedTuple):
    """The serial as this process last read it, the signal just before, and until when that is believed."""

    signal: Signal | None
    value: bytes | None
    until: float
    serial: int


class Catalog:
    """The catalog in the SQLite file ``path`` (None: in memory), describing ``identity``.

    ``full_text`` is whether FTS5 answers searches, None where SQLite is to say whether it can.
    Constructing it opens nothing. Every method may raise ``sqlite3.Error``.
    """

    def __init__(self, path: Path | None, identity: str, *, full_text: bool | None = None) -> None:
        has_search = listing.has_full_text() if full_text is None else full_text
        self.connections = Connections(path, identity, full_text=has_search)
        self.listing = listing.Listing(self._all, full_text=has_search)
        self._seen: _Seen | None = None

    # -- reads ---------------------------------------------------------------------------------------------------

    def serial(self) -> int:
        """The number of the last change, by any process.

        Costs a look at shared memory (see :mod:`.signal`) unless something changed since this process last asked.
        """
        connections = self.connections
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
        serial = int(self._all(schema.SELECT_SERIAL)[0][0])
        # Read before the question: what changes between the two is noticed next time.
        self._seen = _Seen(signal, value, now + SIGNAL_SECONDS, serial)
        return serial

    def states(self) -> tuple[set[int], set[int]]:
        """The hash of every file row's (root, path, size, mtime_ns, inode, sidecars), and the roots there are.

        Numbers, because a million rows as tuples fill 400 MB; that two rows have one number need not be expected.
        """
        states: set[int] = set()
        roots: set[int] = set()
        with self.connections.reading():
            for row in self.connections.get().execute(schema.SELECT_SNAPSHOT):
                states.add(hash(row))
                roots.add(row[0])
        return states, roots

    def keys_of(self, states: set[int]) -> list[tuple[int, str]]:
        """(root, path) of the rows that have one of these states."""
        with self.connections.reading():
            rows = self.connections.get().execute(schema.SELECT_SNAPSHOT)
            return [row[:2] for row in rows if hash(row) in states]

    def folders(self) -> dict[tuple[int, str], tuple[int, int]]:
        """Modification time and inode of each folder, as the last scan found it."""
        return {row[:2]: row[2:] for row in self._all(schema.SELECT_FOLDERS)}

    def projects(self) -> list[tuple[NormalizedName, str]]:
        """(normal form, display name) of every project with a visible file, sorted."""
        return [(NormalizedName(name), display) for name, display in self._all(schema.SELECT_PROJECTS)]

    def project_state(self, name: str) -> tuple[int, ProjectStatus]:
        """The project's serial (0 when it was never seen) and status."""
        rows = self._all(schema.SELECT_PROJECT, name=name)
        if not rows:
            return 0, ACTIVE
        serial, status, reason = rows[0]
        return serial, ProjectStatus(status, reason) if status else ACTIVE

    def statuses(self) -> dict[str, ProjectStatus]:
        """Every project status other than active."""
        return {name: ProjectStatus(status, reason) for name, status, reason in self._all(schema.SELECT_STATUSES)}

    def files_of(self, name: str) -> list[File]:
        """The visible files of a project; ``sha256`` is empty on those not yet digested."""
        return [_file(row) for row in self._all(schema.SELECT_FILES_OF, name=name)]

    def file(self, filename: str) -> File | None:
        """The visible file of that name."""
        rows = self._all(schema.SELECT_FILE, filename=filename)
        return _file(rows[0]) if rows else None

    def rows_of(self, name: str) -> list[File]:
        """Every file of a project in any folder, hidden and faulty ones too."""
        return [_file(row) for row in self._all(schema.SELECT_ROWS_OF, name=name)]

    def alike(self, dist: DistFile) -> list[str]:
        """The names of files of its project that differ from its own in case and in ``-``, ``_`` and ``.`` alone."""
        folded = dist.filename.lower().replace("_", "-").replace(".", "-")
        rows = self._all(schema.SELECT_ALIKE, name=dist.project, filename=dist.filename, folded=folded)
        return [filename for (filename,) in rows]

    def faults_of(self, name: str) -> list[tuple[str, str]]:
        """(path, fault) of every file of a project that is not fit to be listed."""
        return self._all(schema.SELECT_FAULTS, name=name)

    def files(self) -> list[File]:
        """Every visible file, by path."""
        return [_file(row) for row in self._all(schema.SELECT_FILES)]

    def pending(self, limit: int) -> list[File]:
        """Up to ``limit`` files that wait to be digested."""
        return [_file(row) for row in self._all(schema.SELECT_PENDING, limit=limit)]

    def pending_of(self, name: str) -> list[File]:
        """The files of a project that wait to be digested."""
        return [_file(row) for row in self._all(schema.SELECT_PENDING_OF, name=name)]

    def pending_count(self) -> int:
        """How many files wait to be digested."""
        return int(self._all(schema.SELECT_PENDING_COUNT)[0][0])

    def metadata(self, file: File) -> bytes | None:
        """The core metadata of a digested file, as it stands in the archive."""
        rows = self._all(schema.SELECT_METADATA, root=file.root, path=file.path)
        return zlib.decompress(rows[0][0]) if rows else None

    def summaries(self) -> list[tuple[str, str, str, str]]:
        """(name, version, summary, project) of every visible file."""
        return self._all(schema.SELECT_SUMMARIES)

    def counts(self) -> tuple[int, int]:
        """How many files and how many projects are visible."""
        files, projects = self._all(schema.SELECT_COUNTS)[0]
        return int(files), int(projects)

    def root_counts(self) -> dict[int, int]:
        """How many files each root has, hidden and faulty ones too."""
        return dict(self._all(schema.SELECT_ROOT_COUNTS))

    def row(self, root: int, path: str) -> Row | None:
        """One file row's identity."""
        rows = self._all(schema.SELECT_ROW, root=root, path=path)
        return Row(*rows[0]) if rows else None

    def shadowed(self) -> list[tuple[int, str, File]]:
        """(root, path) of every sound file that is hidden by another of its name, with the one that hides it."""
        rows = [(root, path, self.file(filename)) for root, path, filename in self._all(schema.SELECT_SHADOWED)]
        return [(root, path, winner) for root, path, winner in rows if winner is not None]

    # -- writes --------------------------------------------------------------------------------------------------

    def apply(
        self, found: Sequence[Found], gone: Sequence[Gone] = (), *, statuses: Mapping[str, ProjectStatus] | None = None
    ) -> None:
        """Take over what a scan saw: new and changed files, files that went, and changed project statuses."""
        with self.connections.transaction() as connection:
            if len(found) > BULK:
                connection.execute(f"PRAGMA cache_size = {BULK_CACHE}")
            filenames = [file.dist.filename for file in found]
            connection.executemany(schema.INSERT_NEW_FILE, [_row(file) for file in found if file.before is None])
            connection.executemany(schema.UPSERT_FILE, [_upsert(file) for file in found if file.before is not None])
            projects: set[str] = {file.dist.project for file in found}
            for file in gone:
                projects.update(_delete(connection, file, filenames))
            connection.executemany(
                schema.CHOOSE_VISIBLE, [{"filename": name} for name in _contested(connection, filenames)]
            )
            self._stamp(connection, projects, statuses or {})
            if len(found) > BULK:
                connection.execute(f"PRAGMA cache_size = {CACHE}")

    def fill(self, found: Iterable[Found]) -> None:
        """Take over a first scan, while it goes on: in one transaction, so that nobody sees half of an index."""
        projects: set[str] = set()

        def rows() -> Iterator[dict[str, object]]:
            for file in found:
                projects.add(file.dist.project)
                yield _row(file)

        with self.connections.transaction() as connection:
            connection.execute(f"PRAGMA cache_size = {BULK_CACHE}")
            # Made at the end they are sorted once: of 100,000 files this takes 0.3 s off, of a million a minute.
            for name in schema.INDEXES:
                connection.execute(f"DROP INDEX {name}")
            connection.executemany(schema.INSERT_NEW_FILE, rows())
            for statement in schema.INDEXES.values():
                connection.execute(statement)
            double = connection.execute(schema.SELECT_DOUBLE_NAMES).fetchall()
            connection.executemany(schema.CHOOSE_VISIBLE, [{"filename": name} for (name,) in double])
            if projects:
                self._stamp(connection, projects, {})
            connection.execute(f"PRAGMA cache_size = {CACHE}")

    def note_folders(self, folders: Iterable[tuple[int, str, int, int]]) -> None:
        """Remember the folders as a complete scan found them, in place of what was known of them."""
        known = self.folders()
        wanted = {(root, path): (mtime_ns, inode) for root, path, mtime_ns, inode in folders}
        if wanted != known:
            gone = [{"root": root, "path": path} for root, path in known.keys() - wanted.keys()]
            new = [
                {"root": key[0], "path": key[1], "mtime_ns": state[0], "inode": state[1]}
                for key, state in wanted.items()
                if known.get(key) != state
            ]
            with self.connections.transaction() as connection:
                connection.executemany(schema.DELETE_FOLDER, gone)
                connection.executemany(schema.UPSERT_FOLDER, new)

    def record(self, digests: Sequence[tuple[File, Digest]]) -> None:
        """Take over what reading files brought; a file that changed meanwhile keeps waiting."""
        if not digests:
            return
        with self.connections.transaction() as connection:
            changed = self._record(connection, digests, schema.RECORD_PENDING)
            if changed:
                self._stamp(connection, changed, {})

    def add(self, found: Found, digest: Digest) -> None:
        """Take over one uploaded file with its digests, in one step."""
        with self.connections.transaction() as connection:
            connection.execute(schema.UPSERT_FILE, _upsert(found))
            row = found.row
            pending = File(
                filename=found.dist.filename, project=found.dist.project, name=found.dist.name,
                version=found.dist.version, kind=found.dist.kind, path=found.path, root=found.root,
                size=row.size, mtime_ns=row.mtime_ns, inode=row.inode, sha256="",
            )  # fmt: skip
            self._record(connection, [(pending, digest)], schema.RECORD_DIGEST)
            connection.execute(schema.CHOOSE_VISIBLE, {"filename": found.dist.filename})
            self._stamp(connection, {found.dist.project}, {})

    def retry_unreadable(self) -> None:
        """Let files that could not be opened or read be tried again: a changed permission leaves no other trace."""
        with self.connections.transaction() as connection:
            rows = connection.execute(schema.SELECT_UNREADABLE).fetchall()
            if rows:
                connection.execute(schema.FORGET_UNREADABLE)
                connection.executemany(schema.CHOOSE_VISIBLE, [{"filename": filename} for filename, _ in rows])
                self._stamp(connection, {project for _, project in rows}, {})

    def _record(
        self, connection: sqlite3.Connection, digests: Sequence[tuple[File, Digest]], statement: str
    ) -> set[str]:
        """Record what the ``statement`` lets be recorded; gives the projects of these files, none if it was nothing."""
        rows = [_digest_row(file, digest) for file, digest in digests]
        if not connection.executemany(statement, rows).rowcount:
            return set()
        connection.executemany(schema.UPSERT_METADATA, [row for row in rows if row["body"] is not None])
        connection.executemany(schema.DELETE_METADATA, [row for row in rows if row["body"] is None])
        faulty = [{"filename": file.filename} for file, digest in digests if digest.fault]
        connection.executemany(schema.CHOOSE_VISIBLE, faulty)
        return {file.project for file, _ in digests}

    def _stamp(
        self, connection: sqlite3.Connection, projects: Collection[str], statuses: Mapping[str, ProjectStatus]
    ) -> None:
        connection.execute(schema.NEXT_SERIAL)
        serial = connection.execute(schema.SELECT_SERIAL).fetchone()[0]
        touched = [{"name": name, "serial": serial} for name in projects]
        connection.executemany(schema.TOUCH_PROJECT, touched)
        connection.executemany(schema.RECOUNT_PROJECT, touched)
        rows = [
            {"name": name, "serial": serial, "status": "" if value == ACTIVE else value.status, "reason": value.reason}
            for name, value in statuses.items()
        ]
        connection.executemany(schema.SET_STATUS, rows)
        listing.refresh(connection, projects, full_text=self.connections.full_text)

    def _all(self, statement: str, **parameters: object) -> list[Any]:
        with self.connections.reading():
            return self.connections.get().execute(statement, parameters).fetchall()


def _row(found: Found) -> dict[str, object]:
    dist = found.dist
    return {
        "root": found.root, "path": found.path, **found.row._asdict(),
        "filename": dist.filename, "project": dist.project, "name": dist.name, "version": dist.version,
        "kind": dist.kind, "visible": 1, "yanked": found.yanked,
        "has_signature": int(found.has_signature), "has_provenance": int(found.has_provenance),
    }  # fmt: skip


def _upsert(found: Found) -> dict[str, object]:
    before = found.before or ANY_ROW
    return {**_row(found), **{f"before_{name}": value for name, value in before._asdict().items()}}


def _digest_row(file: File, digest: Digest) -> dict[str, object]:
    return {
        "root": file.root, "path": file.path, "size": file.size, "mtime_ns": file.mtime_ns, "inode": file.inode,
        "sha256": digest.sha256, "link_digest": digest.link_digest, "requires_python": digest.requires_python,
        "metadata_sha256": digest.metadata_sha256, "summary": digest.summary, "keywords": digest.keywords,
        "fault": digest.fault, "name": digest.name,
        # The fastest level: with the default one, packing 100,000 descriptions takes longer than all the rest.
        "body": None if digest.metadata is None else zlib.compress(digest.metadata, 1),
    }  # fmt: skip


def _delete(connection: sqlite3.Connection, gone: Gone, filenames: list[str]) -> set[str]:
    """Delete a row if it still is the one that was read; give its project, and note its file name as contested."""
    key = {"root": gone.root, "path": gone.path}
    identity = {**key, "size": gone.row.size, "mtime_ns": gone.row.mtime_ns, "inode": gone.row.inode}
    names = connection.execute("SELECT project, filename FROM file WHERE root = :root AND path = :path", key).fetchall()
    statement = schema.HOLD_FILE if gone.is_replaced else schema.DELETE_FILE
    if not connection.execute(statement, identity).rowcount:
        return set()
    connection.execute(schema.DELETE_ORPHANED_METADATA, key)
    filenames.extend(filename for _, filename in names)
    return {project for project, _ in names}


def _contested(connection: sqlite3.Connection, filenames: Sequence[str]) -> Iterable[str]:
    """Those of the names that have more than one row, or none of whose rows is visible: the winner must be chosen.

    A first scan of 100,000 files has hardly any, and choosing one costs about 5 us, so they are looked for in bulk.
    """
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS touched (filename TEXT PRIMARY KEY)")
    connection.execute("DELETE FROM touched")
    connection.executemany("INSERT OR IGNORE INTO touched (filename) VALUES (?)", [(name,) for name in filenames])
    rows = connection.execute(
        """SELECT t.filename FROM touched t JOIN file f ON f.filename = t.filename
           GROUP BY t.filename HAVING COUNT(*) > 1 OR MAX(f.visible) = 0 OR MAX(f.fault) <> ''"""
    ).fetchall()
    return [name for (name,) in rows]


def _file(row: Sequence[Any]) -> File:
    return File(
        filename=row[0], project=NormalizedName(row[1]), name=row[2], version=row[3], kind=row[4], path=row[5],
        root=row[6], size=row[7], mtime_ns=row[8], inode=row[9], sha256=row[10], link_digest=row[11],
        requires_python=row[12], metadata_sha256=row[13], yanked=row[14], has_signature=bool(row[15]),
        has_provenance=bool(row[16]),
    )  # fmt: skip
