"""The catalog of a bucket. A bucket may contain several files of one name; one of them owns the name and has the row.

**Invariants:** a file has a row exactly when it owns its name; a file without a row may be deleted, but only inside
:meth:`BucketCatalog.sweep`, while no process can give it a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..catalog import statements
from ..catalog.changes import Catalog, touched
from ..catalog.database import in_lists
from ..catalog.rows import SeenFile, file_row, upsert_row

# The only root.
ROOT = 0
# The row of `folder` that says that the whole bucket was read once.
_COMPLETE = (ROOT, "", 1, 0)

_SELECT_CLAIMS = "SELECT filename, path FROM claim WHERE filename IN ({names})"
_SELECT_PATHS = "SELECT path FROM file WHERE root = 0 AND path IN ({names})"


class Rival(NamedTuple):
    """A file without a row, because another file, at ``standing``, owns its name."""

    found: SeenFile
    standing: str


class BucketCatalog(Catalog):
    """A catalog in which the first file of a name keeps the name."""

    def is_complete(self) -> bool:
        """Whether the bucket was ever listed to its end."""
        return _COMPLETE[:2] in self.folders()

    def note_complete(self) -> None:
        """Record that the bucket was listed to its end."""
        self.note_folders([_COMPLETE])

    def marks(self) -> set[int]:
        """A number for each row's path, size and fingerprint, by which a listing recognizes the files it knows."""
        with self.connections.reading() as connection, connection.stream(statements.SELECT_SNAPSHOT) as rows:
            return {mark(path, size, sidecars) for _, path, size, _, _, sidecars, _ in rows}

    def paths_of(self, marks: set[int]) -> list[str]:
        """The paths of the rows that have one of these numbers."""
        with self.connections.reading() as connection, connection.stream(statements.SELECT_SNAPSHOT) as rows:
            return [path for _, path, size, _, _, sidecars, _ in rows if mark(path, size, sidecars) in marks]

    def known(self, paths: Sequence[str]) -> set[str]:
        """The paths among these that have a row."""
        found: set[str] = set()
        with self.connections.reading() as connection:
            for names, values in in_lists(paths):
                found.update(path for (path,) in connection.execute(_SELECT_PATHS.format(names=names), values))
        return found

    def adopt(self, found: Sequence[SeenFile], sha256_of: Callable[[str], str]) -> list[Rival]:
        """Add rows for files as a listing found them; returns those whose name another file owns, which get no row."""
        claims = [
            {"filename": file.dist.filename, "root": ROOT, "path": file.path, "sha256": sha256_of(file.path)}
            for file in found
        ]
        with self.connections.transaction() as connection:
            connection.executemany(statements.CLAIM_NAME, claims)
            standing: dict[str, str] = {}
            for names, values in in_lists([file.dist.filename for file in found]):
                standing.update(connection.execute(_SELECT_CLAIMS.format(names=names), values))
            taken = [file for file in found if standing[file.dist.filename] == file.path]
            new = [file_row(file) for file in taken if file.before is None]
            connection.executemany(statements.INSERT_NEW_FILE, new)
            connection.executemany(
                statements.UPSERT_FILE, [upsert_row(file) for file in taken if file.before is not None]
            )
            if taken:
                self._stamp(connection, touched(taken), {})
        return [
            Rival(file, standing[file.dist.filename]) for file in found if standing[file.dist.filename] != file.path
        ]

    def rename(self, rival: Rival, sha256: str) -> None:
        """Give the name and a pending row to a rival, and delete the row of the previous owner."""
        found, before = rival.found, {"root": ROOT, "path": rival.standing}
        claim = {"filename": found.dist.filename, "root": ROOT, "path": found.path, "sha256": sha256}
        with self.connections.transaction() as connection:
            connection.execute(statements.MOVE_CLAIM, claim)
            connection.execute(statements.DELETE_ROW, before)
            connection.execute(statements.DELETE_ORPHANED_METADATA, before)
            connection.execute(statements.INSERT_NEW_FILE, file_row(found))
            self._stamp(connection, touched([found]), {})

    def sweep(self, paths: Sequence[str], delete: Callable[[list[str]], None]) -> list[str]:
        """Call ``delete`` with the paths that have no row, while no process can give them one; returns these paths.

        Every other writer waits meanwhile, so pass few paths at a time.
        """
        with self.connections.transaction() as connection:
            kept: set[str] = set()
            for names, values in in_lists(paths):
                kept.update(path for (path,) in connection.execute(_SELECT_PATHS.format(names=names), values))
            free = [path for path in paths if path not in kept]
            if free:
                delete(free)
        return free


def mark(path: str, size: int, fingerprint: str) -> int:
    """The number of a file in this state; a collision of two files is improbable."""
    return hash((path, size, fingerprint))
