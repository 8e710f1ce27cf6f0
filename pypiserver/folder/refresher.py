"""Single files to catalog: compare each with its row, and apply the difference.

**Invariants:** a row is changed only while it is the one that was read before its file; the row of a missing file is
held before it is deleted, and the last one of a project is deleted only when no folder has a file of that project.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from ..allowed_names import allowed_in_a_path
from ..backend.project_status import changed_statuses
from ..backend.stored_file import ODD_NAME, StoredFile, shown, sidecar
from ..bounded_cache import Skipped
from ..catalog import ANY_ROW, REPLACED, Catalog, Fingerprint, MissingFile, SeenFile
from ..distributions import filename
from ..distributions.filename import FilenameParts
from ..distributions.truncation import COMPANIONS
from ..errors import InvalidFilename, Unreadable
from ..model import ProjectStatus
from ..text import MAX_REASON, line_of
from .partial_files import Key, Missing, PartialFileTracker
from .presence import Presence
from .root_guard import RootGuard
from .sidecars import Sidecars
from .storage import Folders

_LOG = logging.getLogger(__name__)
# How often a file is looked at while others keep changing its row; the next scan looks again anyway.
ATTEMPTS = 3
# The rows for which a step without progress reports gets patience; its seconds.
MANY = 5000
PATIENCE_SECONDS = 120.0


class FolderRefresher:
    """Keeps rows up to date with the files they describe.

    ``clock`` returns seconds since the epoch, as the modification times of files do. ``vanished`` gets the projects
    that lost their last row.
    """

    def __init__(
        self,
        folders: Folders,
        catalog: Catalog,
        *,
        clock: Callable[[], float] = time.time,
        presence: Presence | None = None,
        vanished: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self.folders = folders
        self.catalog = catalog
        self.roots = RootGuard(folders)
        self.growing = PartialFileTracker(folders, clock)
        self.missing = Missing()
        self.presence = presence or Presence(folders)
        # Called as a scan makes progress; its argument is how many more seconds the next step may take (``telling``).
        self._get_on: Callable[[float], object] = _ignore
        self._clock = clock
        self._vanished = vanished
        self._skipped = Skipped()
        self._is_quiet = False
        self._has_said_shadowed = False

    def refresh(
        self, keys: Iterable[Key], *, roots_are_checked: bool = False, hold: bool = True, may_delete: bool = False
    ) -> set[Key]:
        """Compare single files with their rows; returns those that may be partial.

        The row of a missing file is held for two seconds, hidden, and deleted by a later call (``missing.due``) of the
        one thread that ``may_delete``, because another process may know less; the last row of a project is deleted only
        when the folders then contain no file with its name. Without ``hold`` a row is deleted at once: the server
        itself has removed the file. Raises Unavailable when files are missing because their root is another folder now:
        only a scan tells whether that is an outage.
        """
        growing: set[Key] = set()
        for _ in range(ATTEMPTS):
            found, others = self._look(keys, growing)
            gone = self._gone(others, growing, hold=hold, may_delete=may_delete)
            if hold:
                gone = self._certain(gone, growing)
            if gone and not roots_are_checked:
                self.roots.refuse_others({(file.root, file.path) for file in gone}, self.catalog.folders())
            self._apply(found, gone, {})
            # Look again at files whose rows another process changed meanwhile.
            keys = [(file.root, file.path) for file in found if self.catalog.row(file.root, file.path) != file.row]
            if not hold:
                keys += [key for key, _ in others if key not in growing and self.catalog.row(*key) is not None]
            if not keys:
                break
        return growing

    def _look(self, keys: Iterable[Key], growing: set[Key]) -> tuple[list[SeenFile], list[tuple[Key, Fingerprint]]]:
        """The files that differ from their rows, and the rows without a file; adds partial files to ``growing``."""
        found: list[SeenFile] = []
        others: list[tuple[Key, Fingerprint]] = []
        for root, path in keys:
            self._get_on(0.0)
            # As in a scan: a name that is not UTF-8 is not text, for a database or a page.
            if not allowed_in_a_path(path):
                continue
            row = self.catalog.row(root, path)
            try:
                entry = self.folders.stat(root, path)
                dist = self._parse(entry) if entry is not None else None
                if entry is not None and dist is not None:
                    self.missing.forget((root, path))
                    if not self.growing.has(entry, dist, row.identity if row else None):
                        file = self.found(entry, dist, row)
                        if file.row != row:
                            found.append(file)
                        continue
                    growing.add((root, path))
                    if row is None:
                        # It gets a row that is hidden in the same step, so that its project is known to be here.
                        file = self.found(entry, dist, None)
                        found.append(file)
                        row = file.row
            except Unreadable:
                # Its row stays: a file that cannot be looked at is not gone, and its project must not be redirected to
                # the fallback.
                continue
            if row is not None:
                others.append(((root, path), row))
            else:
                self.missing.forget((root, path))
        return found, others

    def _gone(
        self, rows: Iterable[tuple[Key, Fingerprint]], growing: Collection[Key], *, hold: bool, may_delete: bool
    ) -> list[MissingFile]:
        """The rows to delete, and those to hide: a partial file is at their path, or one may appear in a moment."""
        gone: list[MissingFile] = []
        for key, row in rows:
            if not hold and key not in growing:
                gone.append(MissingFile(*key, row))
            elif row.inode != REPLACED:
                mark = time.time_ns() if key in growing else self.missing.note(key)
                gone.append(MissingFile(*key, row, is_replaced=True, held_at=mark))
            elif key not in growing and may_delete and self.missing.is_gone(key, row.ctime_ns):
                gone.append(MissingFile(*key, row))
        return gone

    def _certain(self, gone: list[MissingFile], growing: set[Key]) -> list[MissingFile]:
        """The same, but keep a row whose project has another file now, which has no row yet."""
        going = {(file.root, file.path): projects_at(file.path) for file in gone if not file.is_replaced}
        projects = {
            project
            for project in {each for every in going.values() for each in every}
            if all((row.root, row.path) in going for row in self.catalog.rows_of(project))
        }
        if not projects:
            return gone
        held = self._projects_held(projects, going, growing)
        return [
            replace(file, is_replaced=True) if held & {*going.get((file.root, file.path), ())} else file
            for file in gone
        ]

    def _projects_held(self, projects: set[str], going: Collection[Key], growing: set[Key]) -> set[str]:
        """Those of the projects for which some folder may contain another file; a file found gets its row."""
        self._get_on(PATIENCE_SECONDS)
        found = self.presence.holding(projects, is_thorough=True) or []
        self._get_on(0.0)
        others = [key for key in found if key not in going and self.catalog.row(*key) is None]
        if others:
            growing |= self.refresh(others, roots_are_checked=True)
        # A file that cannot be found again vanished during the search: another one may have appeared.
        lost = [key for key in others if self.catalog.row(*key) is None and not self.presence.is_named(key)]
        return {each for _, path in [*lost, *(key for key in found if key in going)] for each in projects_at(path)}

    def refresh_statuses(self) -> None:
        """Compare only the project statuses."""
        self._apply([], [], self._changed_statuses())

    def found(self, entry: StoredFile, dist: FilenameParts, before: Fingerprint | None = ANY_ROW) -> SeenFile:
        """Describe one file, with its sidecars from storage; ``before`` is the row read before that."""
        sidecars = Sidecars(self.folders.companions(entry.root, entry.path, COMPANIONS))
        return self._describe(entry, dist, sidecars.of(entry[:2]), before)

    def _apply(
        self, found: Sequence[SeenFile], gone: Sequence[MissingFile], statuses: Mapping[str, ProjectStatus]
    ) -> None:
        if found or gone or statuses:
            self._get_on(PATIENCE_SECONDS if len(found) + len(gone) > MANY else 0.0)
            self.catalog.apply(found, gone, statuses=statuses)
            self._get_on(0.0)
            self._say_shadowed()
            if gone and self._vanished is not None and not self._is_quiet:
                names = {each for file in gone if not file.is_replaced for each in projects_at(file.path)}
                self._vanished([name for name in sorted(names)[:MANY] if not self.catalog.rows_of(name)])

    def _say_shadowed(self) -> None:
        self._has_said_shadowed = not self._is_quiet
        for root, path, winner in self.catalog.shadowed():
            where = f"{winner.path} in {self.folders.roots[winner.root]}"
            rule = "a file of this name comes first"
            self._say_skipped(root, path, f"{rule}: {where}", rule)

    def _describe(
        self, entry: StoredFile, dist: FilenameParts, fingerprint: str, before: Fingerprint | None
    ) -> SeenFile:
        root, path, size, mtime_ns, inode, ctime_ns = entry
        row = Fingerprint(size, mtime_ns, inode, fingerprint, ctime_ns)
        if not fingerprint:
            return SeenFile(root, path, row, dist, before=before)
        yanked = None
        if ".yanked:" in fingerprint:
            text = self.folders.read_text(root, sidecar(path, ".yanked"))
            yanked = None if text is None else line_of(text, MAX_REASON)
        return SeenFile(
            root,
            path,
            row,
            dist,
            yanked=yanked,
            has_signature=".asc:" in fingerprint,
            has_provenance=".provenance:" in fingerprint,
            before=before,
        )

    def _parse(self, entry: StoredFile) -> FilenameParts | None:
        if entry.path.endswith(COMPANIONS):
            return None
        try:
            return filename.parse_filename(entry.path.rpartition("/")[2])
        except InvalidFilename as error:
            self._say_skipped(entry.root, entry.path, error.reason, error.rule)
            return None

    def _changed_statuses(self) -> dict[str, ProjectStatus]:
        def say(name: str, reason: str) -> None:
            self._say_skipped(0, f".status/{name}", reason)

        skipped: list[str] = []
        texts = self.folders.statuses(skipped)
        for name in skipped:
            say(name, ODD_NAME)
        return changed_statuses(texts, self.catalog.statuses(), say)

    def _say_skipped(self, root: int, path: str, reason: str, rule: str = "") -> None:
        """Log a skipped file, or count it; ``rule`` is the reason without the details of this file."""
        if not self._is_quiet and self._skipped.is_said(root, path, reason, rule or reason):
            _LOG.log(level_of(rule or reason), "Skipped %s in %s: %s", shown(path), self.folders.roots[root], reason)


def _ignore(patience: float) -> None:
    """Ignore the progress: no thread waits for it."""


def level_of(rule: str) -> int:
    """The level of a line about a skipped file: notes and others not meant as packages are no reason to warn."""
    return logging.INFO if rule in filename.NOT_MEANT else logging.WARNING


def projects_at(path: str) -> tuple[str, ...]:
    """The projects that a file at that path may belong to, by its name."""
    return filename.projects_of(path.rpartition("/")[2])
