"""The writing half of the catalog.

**Invariants:** a write is one transaction that raises the serial and stamps the projects that it changed; a row is
changed only while it still describes the file that was seen (size, mtime_ns, inode, ctime_ns).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from ..distributions.filename import FilenameParts, as_filed
from ..distributions.filename_keys import spelling_key
from ..errors import Conflict
from ..model import ACTIVE, File, Identity, ProjectStatus
from . import bulk_load, project_rows, schema, statements
from .database import Connection, Cursor, Database, in_lists
from .full_text import FTS5, has_fts5
from .postgres.pool import Pool
from .queries import CatalogQueries, select_alike
from .rows import Digest, MissingFile, NameOwner, SeenFile, digest_row, file_row, uploaded_row, upsert_row
from .sqlite.connections import Connections

# A change of more files than this is handled as one of many rows.
BULK = 5000


class Catalog(CatalogQueries):
    """The catalog at ``place`` (a SQLite file, the URL of a PostgreSQL database, None: in memory) of ``identity``.

    ``full_text`` says whether searches use FTS5 in SQLite, None to use it where SQLite has it. The constructor opens
    nothing. Every method may raise one of ``FAILURES``.
    """

    def __init__(
        self,
        place: Path | str | None,
        identity: str,
        *,
        full_text: bool | None = None,
    ) -> None:
        has_search = has_fts5() if full_text is None else full_text
        database: Database
        if isinstance(place, str):
            database = Pool(place, identity)
        else:
            database = Connections(place, identity, FTS5 if has_search else None)
        super().__init__(database)

    def refuse_unwritable(self) -> None:
        """Raise one of ``FAILURES`` unless a change can be written now; called before a file becomes visible.

        A database server is not asked: it has just answered, and each statement is a network round trip.
        """
        if not self.connections.is_disposable:
            return
        with self.connections.transaction() as connection:
            connection.execute(statements.WRITE_NOTHING)

    def apply(
        self,
        found: Sequence[SeenFile],
        gone: Sequence[MissingFile] = (),
        *,
        statuses: Mapping[str, ProjectStatus] | None = None,
    ) -> None:
        """Apply the diff of a scan: new and changed files, missing files, and changed project statuses."""
        with self.connections.transaction() as connection, self._writing(len(found), connection):
            filenames = [file.dist.filename for file in found]
            connection.executemany(
                statements.INSERT_NEW_FILE, [file_row(file) for file in found if file.before is None]
            )
            connection.executemany(
                statements.UPSERT_FILE, [upsert_row(file) for file in found if file.before is not None]
            )
            projects = touched(found)
            for file in gone:
                projects.update(_delete(connection, file, filenames))
            connection.executemany(
                statements.CHOOSE_VISIBLE, [{"filename": name} for name in _contested(connection, filenames)]
            )
            self._stamp(connection, projects, statuses or {})

    def fill(self, found: Iterable[SeenFile]) -> None:
        """Insert the files of a first scan while it runs; in one transaction, so that no reader sees half an index."""
        indexes = schema.INDEXES if self.connections.drops_indexes else {}
        with self.connections.transaction() as connection, self.connections.writing_much(connection):
            bulk_load.fill(connection, found, indexes)

    def note_ctimes(self, files: Iterable[tuple[int, str, Identity]]) -> None:
        """Add the change time to rows of an earlier version, by root and path."""
        rows = [{"root": root, "path": path, **identity._asdict()} for root, path, identity in files]
        with self.connections.transaction() as connection:
            connection.executemany(statements.NOTE_CTIME, rows)

    def note_folders(self, folders: Iterable[tuple[int, str, int, int]]) -> None:
        """Replace the recorded folders by those of a complete scan: (root, path, mtime_ns, inode)."""
        known = self.folders()
        wanted = {(root, path): (mtime_ns, inode) for root, path, mtime_ns, inode in folders}
        if wanted != known:
            new = [
                {"root": key[0], "path": key[1], "mtime_ns": state[0], "inode": state[1]}
                for key, state in wanted.items()
                if known.get(key) != state
            ]
            with self.connections.transaction() as connection:
                # Another process may have recorded others meanwhile.
                rows = connection.execute(statements.SELECT_FOLDERS).fetchall()
                gone = [{"root": root, "path": path} for root, path, *_ in rows if (root, path) not in wanted]
                connection.executemany(statements.DELETE_FOLDER, gone)
                connection.executemany(statements.UPSERT_FOLDER, new)

    def record(self, digests: Sequence[tuple[File, Digest]]) -> None:
        """Record the digests of files; a file that changed meanwhile stays pending."""
        if not digests:
            return
        with self.connections.transaction() as connection:
            changed = self._record(connection, digests)
            if changed:
                self._stamp(connection, changed, {})

    def add(self, found: SeenFile, digest: Digest, *, exclusive: bool = False) -> NameOwner | None:
        """Add one uploaded file with its digests; gives None when that was done.

        With ``exclusive``, no other file may have its name, in any root. Of several processes that add files of one
        name, the first one succeeds; for the others nothing is written, and the name's owner is given, which may have
        the same bytes. A damaged file loses its name. Raises Conflict with ``exclusive`` when a file with another
        spelling of the name is here.
        """
        with self.connections.transaction() as connection:
            claim = _claim(found, digest)
            if exclusive:
                # Both statements are sent before the first answer is read, so that they take one round trip.
                alike = select_alike(connection, found.dist)
                is_free = connection.execute(statements.CLAIM_NAME, claim).rowcount
                _refuse_other_spelling(alike, found.dist)
                if not is_free:
                    standing = _standing(connection, claim)
                    if not connection.execute(statements.SELECT_IS_DAMAGED, standing._asdict()).fetchall():
                        return standing
                    self._move(connection, claim, standing)
            self._add(connection, found, digest)
        return None

    def replace(self, found: SeenFile, digest: Digest) -> NameOwner | None:
        """Add an uploaded file in place of the one that has its name; gives that one if its place was another.

        The file that is given has no row any more. Delete it only when no client can have uploaded its bytes again
        meanwhile.
        """
        with self.connections.transaction() as connection:
            claim = _claim(found, digest)
            before = None
            if not connection.execute(statements.CLAIM_NAME, claim).rowcount:
                before = _standing(connection, claim)
            moved = before if before is not None and before[:2] != (found.root, found.path) else None
            if moved is not None:
                self._move(connection, claim, moved)
            self._add(connection, found, digest)
        return moved

    def _move(self, connection: Connection, claim: Mapping[str, object], before: NameOwner) -> None:
        """Give the name to another file, and delete the row of its owner so far."""
        key = {"root": before.root, "path": before.path}
        connection.execute(statements.MOVE_CLAIM, claim)
        connection.execute(statements.DELETE_ROW, key)
        connection.execute(statements.DELETE_ORPHANED_METADATA, key)

    def _add(self, connection: Connection, found: SeenFile, digest: Digest) -> None:
        row = uploaded_row(found, digest)
        connection.execute(statements.UPSERT_UPLOADED, row)
        _keep_metadata(connection, [row])
        connection.execute(statements.CHOOSE_VISIBLE, {"filename": found.dist.filename})
        self._stamp(connection, {found.dist.project}, {})

    def outrun(self) -> None:
        """Raise the serial above every serial that an earlier catalog can have reached, as in a new catalog.

        A restored backup returns to old serials, under which caches may have other pages.
        """
        with self.connections.transaction() as connection:
            connection.execute(statements.RAISE_SERIAL, {"least": time.time_ns() // 1000})

    def retry_unreadable(self) -> None:
        """Make files that could not be opened or read pending again: a scan does not see a changed permission."""
        with self.connections.transaction() as connection:
            rows = connection.execute(statements.SELECT_UNREADABLE).fetchall()
            if rows:
                connection.execute(statements.FORGET_UNREADABLE)
                connection.executemany(statements.CHOOSE_VISIBLE, [{"filename": filename} for filename, _ in rows])
                self._stamp(connection, {project for _, project in rows}, {})

    def _record(self, connection: Connection, digests: Sequence[tuple[File, Digest]]) -> set[str]:
        """Record digests of files that have none yet; gives the projects of these files, none if nothing changed."""
        rows = [digest_row(file, digest) for file, digest in digests]
        if not connection.executemany(statements.RECORD_PENDING, rows).rowcount:
            return set()
        _keep_metadata(connection, rows)
        faulty = [{"filename": file.filename} for file, digest in digests if digest.fault]
        connection.executemany(statements.CHOOSE_VISIBLE, faulty)
        return {file.project for file, _ in digests} | {digest.project for _, digest in digests if digest.project}

    def _writing(self, count: int, connection: Connection) -> AbstractContextManager[None]:
        return self.connections.writing_much(connection) if count > BULK else nullcontext()

    def _stamp(self, connection: Connection, projects: Collection[str], statuses: Mapping[str, ProjectStatus]) -> None:
        connection.execute(statements.NEXT_SERIAL)
        touched = [{"name": name} for name in projects]
        connection.executemany(statements.TOUCH_PROJECT, touched)
        rows = [
            {"name": name, "status": "" if value == ACTIVE else value.status, "reason": value.reason}
            for name, value in statuses.items()
        ]
        connection.executemany(statements.SET_STATUS, rows)
        connection.executemany(project_rows.OUTDATE, touched)


def touched(found: Iterable[SeenFile]) -> set[str]:
    """The projects of these files; for a name that can be split in several ways, every possible project."""
    return {project for file in found for project in (file.dist.project, *file.dist.others)}


def _keep_metadata(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    connection.executemany(statements.UPSERT_METADATA, [row for row in rows if row["body"] is not None])
    connection.executemany(statements.DELETE_METADATA, [row for row in rows if row["body"] is None])


def _claim(found: SeenFile, digest: Digest) -> dict[str, object]:
    return {"filename": found.dist.filename, "root": found.root, "path": found.path, "sha256": digest.sha256}


def _refuse_other_spelling(alike: Cursor, dist: FilenameParts) -> None:
    """Raise Conflict when a file is here whose name is another spelling of this one."""
    for (filename,) in alike.fetchall():
        if spelling_key(as_filed(filename, dist.project)) == spelling_key(dist):
            raise Conflict(f"{filename} is another spelling of {dist.filename}.")


def _standing(connection: Connection, claim: Mapping[str, object]) -> NameOwner:
    return NameOwner(*connection.execute(statements.SELECT_CLAIM, {"filename": claim["filename"]}).fetchone())


def _delete(connection: Connection, gone: MissingFile, filenames: list[str]) -> set[str]:
    """Delete or hide a row if it is unchanged since it was read.

    Gives its project, and adds its file name to ``filenames``, whose visible rows are chosen afterwards.
    """
    key = {"root": gone.root, "path": gone.path}
    identity = {**key, **gone.row.identity._asdict()}
    names = connection.execute("SELECT project, filename FROM file WHERE root = :root AND path = :path", key).fetchall()
    statement = statements.HOLD_FILE if gone.is_replaced else statements.DELETE_FILE
    values = {**identity, "held_at": gone.held_at} if gone.is_replaced else identity
    if not connection.execute(statement, values).rowcount:
        return set()
    connection.execute(statements.DELETE_ORPHANED_METADATA, key)
    if not gone.is_replaced:
        connection.executemany(statements.DROP_CLAIM, [{**key, "filename": filename} for _, filename in names])
    filenames.extend(filename for _, filename in names)
    return {project for project, _ in names}


def _contested(connection: Connection, filenames: Sequence[str]) -> Iterator[str]:
    """The names with more than one row, or without a visible one: their visible row must be chosen.

    A first scan of 100,000 files has hardly any, and a choice costs about 5 us, so the names are looked up in bulk.
    """
    for names, values in in_lists(list(dict.fromkeys(filenames))):
        yield from (name for (name,) in connection.execute(statements.SELECT_CONTESTED.format(names=names), values))
