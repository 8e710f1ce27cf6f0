"""Turns a bucket's listing into the catalog: for an empty catalog, and for one that may have missed something.

A file that has its row already is compared and not read; rows are committed in batches, and the files are read
afterwards, so an interrupted run continues where it ended.

**Invariants:** a row is removed only if a request for its object itself finds nothing; the owner of a name keeps it,
unless the catalog was never complete; a listing is older than a row it finds, so the file is looked up once more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from ..backend.project_status import changed_statuses
from ..backend.protocols import Tell
from ..backend.stored_file import StoredFile
from ..backend.upkeep import ReindexReport
from ..batches import batches
from ..catalog import MissingFile, SeenFile
from ..distributions import filename
from ..errors import InvalidFilename
from .catalog import BucketCatalog, Rival, mark
from .digester import READERS, BucketDigester
from .rows import fingerprint, found_from
from .storage import INODE, UPLOADED, Bucket, BucketFile, sha256_of

_LOG = logging.getLogger(__name__)
BATCH = 1000


def _nobody(done: int, total: int) -> None:
    """Report progress to no one."""


class Reindexer:
    """Brings the catalog of a bucket up to date; with ``overwrite`` the last upload of a name wins, else the first."""

    def __init__(self, bucket: Bucket, catalog: BucketCatalog, digester: BucketDigester, *, overwrite: bool) -> None:
        self._bucket = bucket
        self._catalog = catalog
        self._digester = digester
        self._overwrite = overwrite

    def run(self, *, listed: Tell = _nobody, read: Tell = _nobody) -> ReindexReport:
        """List the bucket and read new files; ``listed`` and ``read`` get (done, total). Raises Unavailable."""
        report = self.scan(progress=listed)
        total = self._catalog.pending_count()
        while left := self._catalog.pending_count():
            read(total - left, total)
            if not self._digester.digest_some():
                break
        read(total, total)
        return report

    def scan(self, *, progress: Tell = _nobody) -> ReindexReport:
        """List the bucket, and add pending rows for its files."""
        was_complete = self._catalog.is_complete()
        unseen = self._catalog.marks()
        has_rows = bool(unseen)
        report = ReindexReport()
        rivals: list[Rival] = []
        for batch in batches(self._differing(unseen, report, progress), BATCH):
            found = self._described(batch, has_rows=has_rows)
            rivals += self._catalog.adopt(found, sha256_of)
            report.changed += len(found)
        progress(report.files, report.files)
        report.gone = self._forget(unseen)
        self._settle(rivals, report, decide=not was_complete)
        self.refresh_statuses()
        self._catalog.note_complete()
        return report

    def refresh(self, keys: Iterable[tuple[int, str]]) -> None:
        """Do nothing: the row of a single file is right, because every change of a file goes through the catalog."""

    def refresh_statuses(self) -> None:
        """Copy the statuses of projects into the catalog."""
        changed = changed_statuses(self._bucket.statuses(), self._catalog.statuses(), self._say_status)
        if changed:
            self._catalog.apply([], [], statuses=changed)

    def _say_status(self, name: str, reason: str) -> None:
        _LOG.warning("Skipped status/%s in %s: %s", name, self._bucket.roots[0], reason)

    def _differing(self, unseen: set[int], report: ReindexReport, progress: Tell) -> Iterator[BucketFile]:
        """The files that differ from their rows; the number of each unchanged file is removed from ``unseen``."""
        for file in self._bucket.walk([]):
            report.files += 1
            if report.files % BATCH == 0:
                progress(report.files, 0)
            number = mark(file.path, file.size, _sidecars(file))
            is_known = number in unseen
            unseen.discard(number)
            # A reason may have been replaced by another one of the same length.
            if not is_known or ".yanked" in file.siblings:
                yield file

    def _described(self, batch: list[BucketFile], *, has_rows: bool) -> list[SeenFile]:
        """The rows of these files; sends requests only for what the listing does not tell."""
        if not has_rows and not any(file.siblings.keys() & {".yanked", UPLOADED} for file in batch):
            return [each for each in map(self._describe, batch) if each is not None]
        with ThreadPoolExecutor(READERS, "pypiserver-list") as pool:
            return [each for each in pool.map(self._describe, batch) if each is not None]

    def _describe(self, file: BucketFile) -> SeenFile | None:
        """The row of a file; None if its name is invalid, or if it was removed meanwhile."""
        try:
            dist = filename.parse_filename(file.filename)
        except InvalidFilename as error:
            _LOG.warning("Skipped %s in %s: %s", file.path, self._bucket.roots[0], error)
            return None
        before = self._catalog.row(0, file.path)
        if before is not None:
            again = self._bucket.find(file.path)
            if again is None:
                return None
            file = again
        yanked = self._bucket.read_sidecar(file.path, ".yanked") if ".yanked" in file.siblings else None
        entry = StoredFile(0, file.path, file.size, self._bucket.uploaded_ns(file), INODE)
        sidecars = {suffix: each.size for suffix, each in file.siblings.items()}
        return found_from(entry, dist, sidecars, yanked)._replace(before=before)

    def _forget(self, unseen: set[int]) -> int:
        """Remove the rows whose files are missing; returns their number."""
        gone: list[MissingFile] = []
        for path in self._catalog.paths_of(unseen) if unseen else []:
            row = self._catalog.row(0, path)
            if row is not None and not self._bucket.is_there(path):
                _LOG.warning("%s is not in %s any more; it is taken out of the catalog.", path, self._bucket.roots[0])
                gone.append(MissingFile(0, path, row))
        if gone:
            self._catalog.apply([], gone)
        return len(gone)

    def _settle(self, rivals: list[Rival], report: ReindexReport, *, decide: bool) -> None:
        """Choose one of several files of a name; ``decide``: the catalog was never complete, so it has no owner yet."""
        for found, _ in rivals:
            for rival in self._catalog.adopt([found], sha256_of):
                report.skipped += 1
                winner, loser = rival.standing, found.path
                standing = self._catalog.row(0, winner)
                later = standing is None or found.row.mtime_ns > standing.mtime_ns
                if decide and standing is not None and later == self._overwrite:
                    self._catalog.rename(rival, sha256_of(found.path))
                    winner, loser = loser, winner
                _LOG.warning(
                    "Two files are called %s in %s: %s keeps the name, %s is left out (%s).",
                    found.dist.filename, self._bucket.roots[0], winner, loser, self._rule(decide=decide),
                )  # fmt: skip

    def _rule(self, *, decide: bool) -> str:
        if not decide:
            return "as the catalog says"
        return "the latest upload, as files may be overwritten" if self._overwrite else "the first upload"


def _sidecars(file: BucketFile) -> str:
    return fingerprint({suffix: each.size for suffix, each in file.siblings.items()})
