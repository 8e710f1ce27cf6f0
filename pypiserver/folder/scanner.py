"""Storage to catalog: compare the two and apply the difference.

**Invariants:** the difference decides, events are hints; the catalog is read before storage, so that a file that an
upload adds meanwhile never counts as gone; listing a file needs only its name and a stat, so only files that may be
partial are opened; a root that cannot be read leaves the catalog as it was.
"""

from __future__ import annotations

import copy
import itertools
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ..allowed_names import allowed_in_a_path
from ..backend.project_status import changed_statuses
from ..backend.protocols import Tell
from ..backend.stored_file import ODD_NAME, UNREAD, ScanResult, StoredFile, shown, sidecar
from ..bounded_cache import Skipped
from ..catalog import ANY_ROW, REPLACED, Catalog, Fingerprint, MissingFile, SeenFile
from ..distributions import filename
from ..distributions.filename import FilenameParts
from ..distributions.truncation import BESIDE, UNFINISHED
from ..errors import InvalidFilename, Unreadable
from ..memory import unsearched
from ..model import ProjectStatus
from ..text import MAX_REASON, line_of
from .partial_files import SETTLE_SECONDS, Key, Missing, PartialFileTracker
from .presence import Presence
from .root_guard import RootGuard
from .storage import Folders

_LOG = logging.getLogger(__name__)
# How often a file is looked at while others keep changing its row; the next scan looks again anyway.
ATTEMPTS = 3
RUN = 50_000
# Files between two progress reports of a scan; the rows for which a step without reports gets patience; its seconds.
SAY_EACH = 500
MANY = 5000
PATIENCE_SECONDS = 120.0


def _get_on(patience: float = 0.0) -> None:
    """Ignore the progress: no thread waits for it."""


class FolderScanner:
    """Keeps a catalog up to date with the folders it describes.

    ``clock`` returns seconds since the epoch, as the modification times of files do.
    """

    def __init__(
        self,
        folders: Folders,
        catalog: Catalog,
        *,
        clock: Callable[[], float] = time.time,
        presence: Presence | None = None,
    ) -> None:
        self.folders = folders
        self.catalog = catalog
        self.roots = RootGuard(folders)
        self.growing = PartialFileTracker(folders, clock)
        self.missing = Missing()
        self.presence = presence or Presence(folders)
        # Called as a scan makes progress; its argument is how many more seconds the next step may take.
        self.get_on: Callable[[float], object] = _get_on
        self._clock = clock
        self._skipped = Skipped()
        self._is_quiet = False
        self._has_said_shadowed = False
        self._has_unread = False
        # Rows at the last scan; before the first the number is not known.
        self._count = MANY + 1

    def scan(self, *, progress: Tell | None = None, quiet: bool = False) -> set[Key]:
        """Compare all of storage with the catalog, apply the difference, and return the files that may be partial.

        ``progress`` is called with the number of files found. A ``quiet`` scan logs no skipped files, because the
        process that serves later logs them. Raises Unavailable when a root cannot be read, or is an empty folder in
        place of an earlier one.
        """
        return self._silent()._scan(progress) if quiet else self._scan(progress)

    def _silent(self) -> FolderScanner:
        """The same scanner, without its log lines."""
        silent = copy.copy(self)
        silent._is_quiet = True
        return silent

    def _scan(self, progress: Tell | None) -> set[Key]:
        self.get_on(PATIENCE_SECONDS if self._count > MANY else 0.0)
        known, roots = self.catalog.states()
        self._count = len(known)
        self.get_on(0.0)
        scan = ScanResult(get_on=partial(self.get_on, 0.0))
        began_with = self.roots.identities()
        sidecars = _Sidecars()
        files = _counted(sidecars.apart_from(self.folders.walk(scan, first=BESIDE)), lambda *_: self.get_on(0.0))
        if known:
            differing, seen = self._differing(known, _counted(files, progress), sidecars)
            self.roots.refuse_lost(roots, seen, began_with)
            self.roots.refuse_unmounted(scan.mounts, self.catalog.has_files_below)
            growing = self.refresh(differing, roots_are_checked=True, may_delete=True)
        else:
            growing = self._fill(_counted(_ordered(files), progress), sidecars)
            self.roots.refuse_lost(roots, set(), began_with)
            self.roots.refuse_unmounted(scan.mounts, self.catalog.has_files_below)
        for root, path, reason in scan.skipped:
            self._say_skipped(root, path, reason)
        self._say_unread(scan)
        if not self._has_said_shadowed:
            # The rows may be from another process, or from an earlier run.
            self._say_shadowed()
        self.refresh_statuses()
        if not self._is_quiet:
            self._say_how_many()
        self.growing.forget_closed()
        self._note_folders(scan, growing)
        return growing

    def _fill(self, files: Iterable[StoredFile], sidecars: _Sidecars) -> set[Key]:
        """Load all of storage, in this order, into an empty catalog; returns the files that may be partial."""
        growing: set[Key] = set()
        held: list[SeenFile] = []
        # All but the youngest have settled: these need no check one by one.
        settled_ns = (self._clock() - SETTLE_SECONDS) * 1e9

        def found() -> Iterator[SeenFile]:
            for entry in files:
                dist = self._parse(entry)
                if dist is None:
                    continue
                key = entry[:2]
                if entry.mtime_ns > settled_ns and self.growing.has(entry, dist, None):
                    growing.add(key)
                    held.append(self._describe(entry, dist, sidecars.of(key), None))
                else:
                    yield self._describe(entry, dist, sidecars.of(key), None)
            # The catalog builds its indexes next.
            self.get_on(PATIENCE_SECONDS)

        with unsearched():
            self.catalog.fill(found())
        self.get_on(0.0)
        # Hidden, but here: a project whose file is being copied must not be redirected to the fallback.
        self._apply(held, [MissingFile(file.root, file.path, file.row, is_replaced=True) for file in held], {})
        self._say_shadowed()
        return growing

    def _differing(
        self, known: set[int], files: Iterable[StoredFile], sidecars: _Sidecars
    ) -> tuple[list[Key], set[int]]:
        """The files that differ from their rows, with the rows that have no file; and the roots that have files.

        ``known`` has the states of all rows, and loses those that files match.
        """
        differing: list[Key] = []
        old: list[StoredFile] = []
        seen: set[int] = set()
        for entry in files:
            seen.add(entry.root)
            seen_as = _state(entry, sidecars.of(entry[:2]))
            if seen_as in known:
                known.remove(seen_as)
            elif (seen_before := _state(entry._replace(ctime_ns=0), sidecars.of(entry[:2]))) in known:
                known.remove(seen_before)
                old.append(entry)
                if len(old) >= MANY:
                    self._note_ctimes(old)
                    old.clear()
            elif self._parse(entry) is not None:
                differing.append(entry[:2])
        self._note_ctimes(old)
        return sorted({*differing, *self.catalog.keys_of(known)} if known else differing), seen

    def _note_ctimes(self, entries: Sequence[StoredFile]) -> None:
        """Add the ctime to rows of an earlier version, without reading their files again."""
        if entries:
            self.catalog.note_ctimes((*entry[:2], entry.identity) for entry in entries)

    def is_current(self) -> bool:
        """Whether no file can have appeared or vanished since the last scan, of this or another process.

        A folder's modification time tells, at once and at any size. It does not tell that a file was changed in place;
        the next scan finds that, or a request for the file.
        """
        known = self.catalog.folders()
        if any((root, "") not in known for root in range(len(self.folders.roots))):
            return False
        is_current = True
        for number, (key, state) in enumerate(known.items()):
            if not number % SAY_EACH:
                self.get_on(0.0)
            if self.folders.folder_state(*key) != state:
                is_current = False
                break
        if is_current:
            self.roots.refuse_lost(set(), set(), self.roots.identities())
        return is_current

    def _note_folders(self, scan: ScanResult, growing: set[Key]) -> None:
        """Remember the folders' times, except recent ones: more files may appear within the same timestamp."""
        now_ns = int(self._clock() * 1e9)
        settled = SETTLE_SECONDS * 1e9
        is_settled = not growing and not self.missing
        self.get_on(PATIENCE_SECONDS if len(scan.folders) > MANY else 0.0)
        self.catalog.note_folders(
            (root, path, mtime_ns if is_settled and now_ns - mtime_ns > settled else -1, inode)
            for root, path, mtime_ns, inode in scan.folders
        )

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
            self.get_on(0.0)
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
        self.get_on(PATIENCE_SECONDS)
        found = self.presence.holding(projects, is_thorough=True) or []
        self.get_on(0.0)
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
        sidecars = _Sidecars(self.folders.beside(entry.root, entry.path, BESIDE))
        return self._describe(entry, dist, sidecars.of(entry[:2]), before)

    def _apply(
        self, found: Sequence[SeenFile], gone: Sequence[MissingFile], statuses: Mapping[str, ProjectStatus]
    ) -> None:
        if found or gone or statuses:
            self.get_on(PATIENCE_SECONDS if len(found) + len(gone) > MANY else 0.0)
            self.catalog.apply(found, gone, statuses=statuses)
            self.get_on(0.0)
            self._say_shadowed()

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
        if entry.path.endswith(BESIDE):
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

    def _say_unread(self, scan: ScanResult) -> None:
        is_unread = any(inode == UNREAD for _, _, _, inode in scan.folders)
        if self._is_quiet or is_unread == self._has_unread:
            return
        self._has_unread = is_unread
        if is_unread:
            _LOG.error("What cannot be read may hold any project: until it can, projects that are not known are 503.")
        else:
            _LOG.warning("All of the folders can be read again.")

    def _say_skipped(self, root: int, path: str, reason: str, rule: str = "") -> None:
        """Log a skipped file, or count it; ``rule`` is the reason without the details of this file."""
        if not self._is_quiet and self._skipped.is_said(root, path, reason, rule or reason):
            _LOG.warning("Skipped %s in %s: %s", shown(path), self.folders.roots[root], reason)

    def _say_how_many(self) -> None:
        """After a scan: log how many more files were skipped than have a line of their own."""
        for (root, rule), count in self._skipped.more():
            _LOG.warning("Skipped %d more files in %s: %s", count, self.folders.roots[root], rule)


def projects_at(path: str) -> tuple[str, ...]:
    """The projects that a file at that path may belong to, by its name."""
    return filename.projects_of(path.rpartition("/")[2])


def _ordered(entries: Iterable[StoredFile]) -> Iterator[StoredFile]:
    """The entries in runs sorted by path, so that work on rows in turn stays on few database pages.

    100,000 files digested in the order of their folder made SQLite write each page five times.
    """
    iterator = iter(entries)
    while run := list(itertools.islice(iterator, RUN)):
        run.sort()
        yield from run


def _counted(entries: Iterable[StoredFile], tell: Tell | None) -> Iterable[StoredFile]:
    """The entries; ``tell`` is called now and then with the number of entries so far."""
    return entries if tell is None else _telling(entries, tell)


def _telling(entries: Iterable[StoredFile], tell: Tell) -> Iterator[StoredFile]:
    for number, entry in enumerate(entries, 1):
        if not number % SAY_EACH:
            tell(number, 0)
        yield entry


def _state(entry: StoredFile, fingerprint: str) -> int:
    """The catalog's state value for the row of a file with this status."""
    return hash((*entry[:5], fingerprint, entry.ctime_ns))


class _Sidecars:
    """The sidecars of each file, as a fingerprint that shows a changed reason or a new signature."""

    def __init__(self, entries: Iterable[StoredFile] = ()) -> None:
        self._parts: dict[Key, list[str]] = {}
        for entry in entries:
            self._note(entry)

    def apart_from(self, entries: Iterable[StoredFile]) -> Iterator[StoredFile]:
        """The entries without the sidecars, which are noted here."""
        for entry in entries:
            if entry.path.endswith(BESIDE):
                self._note(entry)
            else:
                yield entry

    def of(self, key: Key) -> str:
        """The fingerprint of this file's sidecars, empty without any."""
        return ";".join(sorted(self._parts[key])) if key in self._parts else ""

    def _note(self, entry: StoredFile) -> None:
        base, _, suffix = entry.path.rpartition(".")
        part = f".{suffix}"
        # A downloader writes to its own all the time; only its existence counts.
        if part not in UNFINISHED:
            part += f":{entry.size}:{entry.mtime_ns}:{entry.inode}:{entry.ctime_ns}"
        self._parts.setdefault((entry.root, base), []).append(part)
