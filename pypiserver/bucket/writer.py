"""Carries out a publishing decision in a bucket: objects first, then the row; to remove a file, the row first.

So an interrupted change leaves at most an object that no row refers to, which ``pypi-server gc`` deletes.

**Invariants:** the catalog alone says who owns a name; an object is deleted only while no process can give its path a
row (``Catalog.sweep``); the process that commits a row checks afterwards that its object still exists, and otherwise
puts it again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from ..backend.on_demand import DigestsOnDemand
from ..backend.stored_file import reason_of
from ..backend.writing import ValidatedUpload
from ..catalog import MissingFile, NameOwner, SeenFile
from ..catalog.recovery import RecoveringCatalog
from ..distributions.filename import FilenameParts
from ..errors import Conflict, NotFound, PypiServerError
from ..model import File
from .catalog import BucketCatalog
from .rows import found_from, remarked
from .staged import Spooled
from .storage import METADATA, Bucket

_LOG = logging.getLogger(__name__)


class BucketWriter:
    """Changes packages in a bucket and in its catalog."""

    def __init__(
        self, queries: RecoveringCatalog, catalog: BucketCatalog, digests: DigestsOnDemand, bucket: Bucket
    ) -> None:
        self._query = queries.query
        self._catalog = catalog
        self._digests = digests
        self._bucket = bucket

    def stage(self, standing: File | None, digests: Sequence[str]) -> Spooled:
        """A file on the local disk, on its way to the bucket."""
        return self._bucket.stage(digests=digests)

    def standing(self, filename: str) -> File | None:
        """The visible file of that name; the catalog decides."""
        return self._query(lambda: self._digests.file(filename))

    def claimed(self, dist: FilenameParts) -> AbstractContextManager[None]:
        """Lock nothing: the catalog looks for other spellings in the transaction that gives the file its row."""
        return contextlib.nullcontext()

    def publish(self, upload: ValidatedUpload, *, overwrite: bool, stored: Callable[[str], None]) -> None:
        """Put the file into the bucket, and let the catalog decide whether it gets its name; raises Conflict if not."""
        sidecars = dict(upload.sidecars)
        if upload.digest.metadata is not None:
            sidecars[METADATA] = upload.digest.metadata
        if overwrite and upload.replaces is not None and upload.replaces.yanked is not None:
            # A yank belongs to the release, so it stays.
            sidecars[".yanked"] = reason_of(upload.replaces.yanked)
        entry = upload.staged.publish(upload.dist.filename, overwrite=overwrite, sidecars=sidecars)
        found = found_from(
            entry, upload.dist, {suffix: len(data) for suffix, data in sidecars.items()}, sidecars.get(".yanked")
        )
        had = self._query(lambda: self._catalog.claimant(upload.dist.filename)) if not overwrite else None
        before = self._take(found, upload, overwrite=overwrite) or had
        stored(entry.path)
        if not self._bucket.is_there(entry.path, upload.sidecars):
            # An unused older copy of the object was deleted between the put and the row.
            upload.staged.publish(upload.dist.filename, overwrite=overwrite, sidecars=sidecars)
        if before is not None and before.path != entry.path:
            self._sweep(before.path, f"the file that {upload.dist.filename} replaced")

    def _take(self, found: SeenFile, upload: ValidatedUpload, *, overwrite: bool) -> NameOwner | None:
        """Give the name to the file; returns the previous owner, None if there was none; raises Conflict."""
        query, catalog = self._query, self._catalog
        if overwrite:
            return query(lambda: catalog.replace(found, upload.digest))
        standing = query(lambda: catalog.add(found, upload.digest, exclusive=True))
        # Our own path: another client uploads the same bytes, or the row was committed but its answer was lost.
        if standing is not None and standing.path != found.path:
            raise Conflict(f"The file {upload.dist.filename} already exists.")
        return None

    def remove(self, file: File) -> None:
        """Remove the file from the catalog, and then from the bucket."""

        def forget() -> None:
            row = self._catalog.row(file.root, file.path)
            if row is not None:
                self._catalog.apply([], [MissingFile(file.root, file.path, row)])

        self._query(forget)
        self._sweep(file.path, file.filename)

    def _sweep(self, path: str, what: str) -> None:
        """Delete an object that no row refers to; if that fails, it stays for ``gc``, which is no error."""
        try:
            self._query(lambda: self._catalog.sweep([path], self._bucket.remove))
        except PypiServerError as error:
            _LOG.warning(
                "%s is no longer listed, but its object could not be deleted (%s); pypi-server gc deletes it.",
                what, error,
            )  # fmt: skip

    def yank(self, file: File, reason: bytes) -> None:
        """Write the file's ``.yanked`` sidecar, and then the row."""
        self._bucket.write_sidecar(file.path, ".yanked", reason)
        self._told(file, reason)

    def unyank(self, file: File) -> None:
        """Delete the ``.yanked`` sidecar, and then update the row."""
        self._bucket.remove_sidecars(file.path, [".yanked"])
        self._told(file, None)

    def _told(self, file: File, reason: bytes | None) -> None:
        """Record a yank or its end in the catalog; raises NotFound if the file was removed meanwhile."""

        def mark() -> bool:
            row = self._catalog.row(file.root, file.path)
            if row is not None:
                self._catalog.apply([remarked(file, row, reason)])
            return row is not None

        if not self._query(mark):
            raise NotFound(f"There is no file {file.filename!r} here any more.")

    def refresh(self, file: File) -> None:
        """Do nothing: the row is already right."""
