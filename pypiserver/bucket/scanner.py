"""A bucket's listing becomes the catalog: for one that is empty, and for one that may have missed something.

What is there already is compared and not read; rows are committed in batches, and what their files say is read
afterwards, so an interrupted run goes on where it was. The rules to keep: a row goes only when its object, asked for by
itself, is not there; who has a name keeps it, unless nobody has said yet who it is; what is told by the listing about a
file that has a row is older than the row, so it is looked at once more.
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
    """Nobody looks."""


class Reindexer:
    """Brings the catalog of a bucket up to date with it; ``overwrite`` lets the latest of rivals win, not the first."""

    def __init__(self, bucket: Bucket, catalog: BucketCatalog, digester: BucketDigester, *, overwrite: bool) -> None:
        self._bucket = bucket
        self._catalog = catalog
        self._digester = digester
        self._overwrite = overwrite

    def run(self, *, listed: Tell = _nobody, read: Tell = _nobody) -> ReindexReport:
        """List the bucket and read what is new; both are told (done, total). Raises Unavailable."""
        report = self.scan(progress=listed)
        total = self._catalog.pending_count()
        while left := self._catalog.pending_count():
            read(total - left, total)
            if not self._digester.digest_some():
                break
        read(total, total)
        return report

    def scan(self, *, progress: Tell = _nobody) -> ReindexReport:
        """List the bucket, and make its files rows that still wait to be read."""
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
        """Nothing: what the catalog says of a single file is right, as every change goes through it."""

    def refresh_statuses(self) -> None:
        """Take over the statuses of projects."""
        changed = changed_statuses(self._bucket.statuses(), self._catalog.statuses(), self._say_status)
        if changed:
            self._catalog.apply([], [], statuses=changed)

    def _say_status(self, name: str, reason: str) -> None:
        _LOG.warning("Skipped status/%s in %s: %s", name, self._bucket.roots[0], reason)

    def _differing(self, unseen: set[int], report: ReindexReport, progress: Tell) -> Iterator[BucketFile]:
        """The files that are not as their rows say; the numbers of those that are, go out of ``unseen``."""
        for file in self._bucket.walk([]):
            report.files += 1
            if report.files % BATCH == 0:
                progress(report.files, 0)
            number = mark(file.path, file.size, _beside(file))
            is_known = number in unseen
            unseen.discard(number)
            # A reason may have become another one of the same length.
            if not is_known or ".yanked" in file.siblings:
                yield file

    def _described(self, batch: list[BucketFile], *, has_rows: bool) -> list[SeenFile]:
        """The rows of these files; the store is asked where the listing does not tell all."""
        if not has_rows and not any(file.siblings.keys() & {".yanked", UPLOADED} for file in batch):
            return [each for each in map(self._describe, batch) if each is not None]
        with ThreadPoolExecutor(READERS, "pypiserver-list") as pool:
            return [each for each in pool.map(self._describe, batch) if each is not None]

    def _describe(self, file: BucketFile) -> SeenFile | None:
        """The row of a file; None for one whose name tells nothing, or that went."""
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
        yanked = self._bucket.read_beside(file.path, ".yanked") if ".yanked" in file.siblings else None
        entry = StoredFile(0, file.path, file.size, self._bucket.uploaded_ns(file), INODE)
        beside = {suffix: each.size for suffix, each in file.siblings.items()}
        return found_from(entry, dist, beside, yanked)._replace(before=before)

    def _forget(self, unseen: set[int]) -> int:
        """Let rows go whose files are not there; gives their number."""
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
        """Several files of one name: one keeps it. ``decide``: nobody has said which it is."""
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


def _beside(file: BucketFile) -> str:
    return fingerprint({suffix: each.size for suffix, each in file.siblings.items()})
