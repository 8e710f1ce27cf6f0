"""Finding a project or a file in the catalog, and being certain when it is not here.

**Invariants:** "not found" is raised only when the catalog, complete and not replaced, has no row at that moment and
storage has no such name; what is changing, damaged or unread is Unavailable. Every method runs as part of a query of
the catalog.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

from packaging.utils import NormalizedName

from ..backend.backend import Backend
from ..backend.digester import WRITING_SECONDS, public_fault
from ..catalog import REPLACED
from ..catalog.queries import ProjectState
from ..distributions.filename import projects_of
from ..errors import CatalogUnavailable, NotFound, Unavailable
from ..model import File

# Seconds to wait before each attempt at a project or file that is changing, and the most files to compare in one.
PAUSES = (0.0, 0.0, 0.01, 0.03)
MOST_LOOKED_AT = 50
# At most this many of a project's faults are in an answer.
MAX_FAULTS_SAID = 3


class _Taken(NamedTuple):
    """Whether the folders may have a requested file (``is_any``), and whether one was without a row (``is_new``)."""

    is_any: bool
    is_new: bool


class Lookup:
    """Rows of projects and files, which it brings up to date where storage may differ from them."""

    def __init__(self, backend: Backend) -> None:
        self._catalog = backend.catalog
        self._indexer = backend.indexer
        self._refresher = backend.refresher
        self._presence = backend.presence
        self._digests = backend.digests

    def project(self, normal: NormalizedName) -> tuple[ProjectState, list[File]]:
        """State and visible files of a project that has any; raises NotFound and Unavailable."""
        for pause in PAUSES:
            if pause:
                time.sleep(pause)
            state = self._catalog.project_state(normal)
            files = self._catalog.files_of(normal)
            if any(not file.sha256 or file.project != normal for file in files):
                self._digests.digest_project(normal)
                state = self._catalog.project_state(normal)
                # A file still without digest changed while it was read: it is being copied, and not listed yet.
                files = [file for file in self._catalog.files_of(normal) if file.sha256 and file.project == normal]
            if files:
                return state, files
            rows = self._catalog.rows_of(normal)
            if rows and (self._has_changed(rows) or self._take_in((normal,)).is_new):
                continue
            # Without rows this comes first, as nearly always it is the answer.
            if not rows and self._is_absent(project=normal):
                raise _no_project(normal)
            if not rows and self._catalog.rows_of(normal):
                # Storage has files that got their rows only now.
                continue
            self._refuse_unservable(normal)
            if rows and self._is_absent(project=normal):
                raise _no_project(normal)
        raise Unavailable(
            f"The project {normal} is changing right now. Try again in a moment.",
            public=True,
            kind="changing",
            project=normal,
        )

    def mark(self) -> Hashable | None:
        """Equal to an earlier one as long as nothing that has no row appeared in storage; None if that is not known.

        Waits for nothing.
        """
        return () if self._presence is None else self._presence.mark()

    def _has_changed(self, rows: Sequence[File]) -> bool:
        """Whether storage differs from the rows of hidden files, of which no event may have told yet."""
        if self._presence is None:
            return False
        before = {(row.root, row.path): row for row in rows[:MOST_LOOKED_AT]}
        self._refresher.refresh(before)
        after = {(row.root, row.path): row for row in self._catalog.rows_of(rows[0].project)}
        return any(after.get(key) != row for key, row in before.items())

    def _refuse_unservable(self, normal: str) -> None:
        """Raise Unavailable, with the faults, for a project that has files but none that can be listed."""
        rows, faults = self._catalog.rows_of(normal), self._catalog.faults_of(normal)
        if not rows and not faults:
            return
        now = time.time()
        is_passing = any(row.inode == REPLACED or now - row.mtime_ns / 1e9 < WRITING_SECONDS for row in rows)
        is_passing = is_passing or not all(fault.is_damage for fault in faults) or not faults
        # A file whose name fits another project too may be of that one, which the client may not see.
        told = [fault for fault in faults if projects_of(fault.filename) == (normal,)]
        said = [public_fault(fault) for fault in told[:MAX_FAULTS_SAID]]
        more = [f"{len(told) - len(said)} more"] if len(told) > len(said) else []
        words = "; ".join([*said, *more]) or ("the server's log says more" if faults else "they change")
        advice = (
            "Wait until they are copied, or see the server's log." if is_passing else "Put good ones in their place."
        )
        raise Unavailable(
            f"None of the files of {normal} can be served now: {words}. {advice}",
            public=True,
            is_passing=is_passing,
            kind="unlisted",
            project=normal,
        )

    def _refuse_faulty(self, path: str, rows: Iterable[File], *, is_recent: bool = False) -> None:
        """Raise Unavailable, with the fault, for a file that is here and cannot be served.

        A file that ``is_recent`` may still be copied.
        """
        for project in {row.project for row in rows}:
            for fault in self._catalog.faults_of(project):
                if fault.path == path:
                    advice = "Put a good one in its place." if fault.is_damage else "Try again in a moment."
                    if is_recent and fault.is_damage:
                        advice = "Wait until it is copied, or put a good one in its place."
                    raise Unavailable(
                        f"{public_fault(fault)}. {advice}",
                        public=True,
                        is_passing=is_recent or not fault.is_damage,
                        kind=fault.kind,
                        filename=fault.filename,
                        reason=fault.reason,
                    )

    def file(self, path: str) -> File:
        """The visible file at that path, with its digests; raises NotFound and Unavailable."""
        filename = path.rpartition("/")[2]
        for pause in PAUSES:
            if pause:
                time.sleep(pause)
            file = self._digests.file(filename)
            if file is not None and file.path == path and file.sha256:
                return file
            rows = self._rows_at(path)
            if not rows and file is None:
                # Absence must be certain; this check may also give the file a row.
                self._is_absent(filename=filename)
                rows = self._rows_at(path)
                if rows:
                    continue
            if not rows or (file is not None and file.path != path):
                raise NotFound(f"There is no file {filename!r} here.", kind="file", filename=filename)
            if self._has_changed(rows):
                continue
            if file is None and not self._is_replaced(rows):
                if self._catalog.file(filename) is not None:
                    # It got a row, or became visible, since it was looked up.
                    continue
                self._refuse_faulty(path, rows)
                raise NotFound(f"There is no file {filename!r} here.", kind="file", filename=filename)
            break
        self._refuse_faulty(path, rows, is_recent=True)
        raise Unavailable(
            f"The file {filename} is changing right now. Try again in a moment.",
            public=True,
            kind="changing",
            filename=filename,
        )

    def _rows_at(self, path: str) -> list[File]:
        projects = projects_of(path.rpartition("/")[2])
        return [row for project in projects for row in self._catalog.rows_of(project) if row.path == path]

    def _is_absent(self, *, project: str = "", filename: str = "") -> bool:
        """Whether a project or file is certainly not here; runs as part of a query of the catalog."""
        if self._indexer.is_behind():
            raise CatalogUnavailable("The catalog cannot be brought up to date now. Try again in a moment.")
        if not self._catalog.is_absent(project=project, filename=filename):
            return False
        taken = self._take_in((project,) if project else projects_of(filename), filename)
        # Another thread or process may have added a row after the first query.
        return not taken.is_any or self._catalog.is_absent(project=project, filename=filename)

    def _take_in(self, projects: tuple[str, ...], filename: str = "") -> _Taken:
        """Add rows for files of these projects that are in the folders now, before an event tells of them.

        Raises Unavailable when a file appeared and disappeared meanwhile.
        """
        found = self._presence.holding(projects) if self._presence is not None and projects else None
        keys = [key for key in found or () if not filename or key[1].rpartition("/")[2] == filename]
        unknown = [key for key in keys if self._catalog.row(*key) is None]
        if unknown and self._presence is not None:
            self._refresher.refresh(unknown)
            if any(self._catalog.row(*key) is None and not self._presence.is_named(key) for key in unknown):
                # The file was here a moment ago.
                raise Unavailable(
                    f"{filename or projects[0]} is changing right now. Try again in a moment.",
                    public=True,
                    kind="changing",
                    filename=filename,
                    project=projects[0],
                )
        # In a large tree ``holding`` leaves out files that have a row, and a file may have got one only now.
        may_have_rows = found is None and self._presence is not None
        return _Taken(bool(keys) or may_have_rows, bool(unknown))

    @staticmethod
    def _is_replaced(rows: Iterable[File]) -> bool:
        """Whether one of these files is being replaced, is still being written, or has only just arrived."""
        now = time.time()
        return any(
            row.inode == REPLACED or min(abs(now - row.mtime_ns / 1e9), abs(now - row.ctime_ns / 1e9)) < WRITING_SECONDS
            for row in rows
        )


def _no_project(name: NormalizedName) -> NotFound:
    return NotFound(f"There is no project {name!r} here.", kind="project", project=name)
