"""Storage to catalog: compare the two and apply the difference.

**Invariants:** the difference decides, events are hints; the catalog is read before storage, so that a file that an
upload adds meanwhile never counts as gone; listing a file needs only its name and a stat, so only files that may be
partial are opened; a root that cannot be read leaves the catalog as it was.
"""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from ..backend.protocols import Tell
from ..backend.stored_file import UNREAD, ScanResult, StoredFile
from ..catalog import MissingFile, SeenFile
from ..distributions.truncation import COMPANIONS
from ..memory import unsearched
from .partial_files import SETTLE_SECONDS, Key
from .refresher import MANY, PATIENCE_SECONDS, FolderRefresher, level_of
from .sidecars import Sidecars

_LOG = logging.getLogger(__name__)
RUN = 50_000
# Files between two progress reports of a scan.
SAY_EACH = 500


class FolderScanner(FolderRefresher):
    """Keeps a catalog up to date with the folders it describes.

    ``clock`` returns seconds since the epoch, as the modification times of files do.
    """

    _has_unread = False
    # Rows at the last scan; before the first the number is not known.
    _count = MANY + 1

    def scan(self, *, progress: Tell | None = None, quiet: bool = False) -> set[Key]:
        """Compare all of storage with the catalog, apply the difference, and return the files that may be partial.

        ``progress`` is called with the number of files found. A ``quiet`` scan logs no skipped files, because the
        process that serves later logs them. Raises Unavailable when a root cannot be read, or is an empty folder in
        place of an earlier one.
        """
        return self._silent()._scan(progress) if quiet else self._scan(progress)

    def telling(self, get_on: Callable[[float], object]) -> FolderScanner:
        """The same scanner, which calls ``get_on`` as a scan makes progress.

        Its argument is how many more seconds the next step may take.
        """
        telling = copy.copy(self)
        telling._get_on = get_on
        return telling

    def _silent(self) -> FolderScanner:
        """The same scanner, without its log lines."""
        silent = copy.copy(self)
        silent._is_quiet = True
        return silent

    def _scan(self, progress: Tell | None) -> set[Key]:
        self._get_on(PATIENCE_SECONDS if self._count > MANY else 0.0)
        known, roots = self.catalog.states()
        self._count = len(known)
        self._get_on(0.0)
        scan = ScanResult(get_on=partial(self._get_on, 0.0))
        began_with = self.roots.identities()
        sidecars = Sidecars()
        files = _counted(sidecars.apart_from(self.folders.walk(scan, first=COMPANIONS)), lambda *_: self._get_on(0.0))
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

    def _fill(self, files: Iterable[StoredFile], sidecars: Sidecars) -> set[Key]:
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
            self._get_on(PATIENCE_SECONDS)

        with unsearched():
            self.catalog.fill(found())
        self._get_on(0.0)
        # Hidden, but here: a project whose file is being copied must not be redirected to the fallback.
        self._apply(held, [MissingFile(file.root, file.path, file.row, is_replaced=True) for file in held], {})
        self._say_shadowed()
        return growing

    def _differing(
        self, known: set[int], files: Iterable[StoredFile], sidecars: Sidecars
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
                self._get_on(0.0)
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
        self._get_on(PATIENCE_SECONDS if len(scan.folders) > MANY else 0.0)
        self.catalog.note_folders(
            (root, path, mtime_ns if is_settled and now_ns - mtime_ns > settled else -1, inode)
            for root, path, mtime_ns, inode in scan.folders
        )

    def _say_unread(self, scan: ScanResult) -> None:
        is_unread = any(inode == UNREAD for _, _, _, inode in scan.folders)
        if self._is_quiet or is_unread == self._has_unread:
            return
        self._has_unread = is_unread
        if is_unread:
            _LOG.error("What cannot be read may hold any project: until it can, projects that are not known are 503.")
        else:
            _LOG.warning("All of the folders can be read again.")

    def _say_how_many(self) -> None:
        """After a scan: log how many more files were skipped than have a line of their own."""
        for (root, rule), count in self._skipped.more():
            _LOG.log(level_of(rule), "Skipped %d more files in %s: %s", count, self.folders.roots[root], rule)


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
