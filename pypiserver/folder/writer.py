"""Changes to folders that the publishing service decided: first the bytes, then the catalog.

:mod:`bucket.writer` does the same for buckets.

**Invariants:** storage decides which files exist, whatever the catalog says; a client that was told that a change is
done sees it at once, in every process.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from ..backend.digester import WRITING_SECONDS
from ..backend.hashing import sha256_of_stream
from ..backend.on_demand import DigestsOnDemand
from ..backend.protocols import StagedFile
from ..backend.stored_file import StoredFile
from ..backend.writing import ValidatedUpload
from ..catalog import Catalog, Digest, Fingerprint
from ..catalog.recovery import RecoveringCatalog
from ..distributions.filename import FilenameParts
from ..distributions.filename_keys import folded
from ..errors import Conflict, NotFound, PypiServerError, Unavailable
from ..model import File
from .refresher import FolderRefresher
from .storage import Folders

_LOG = logging.getLogger(__name__)


class FolderWriter:
    """Changes in the folders of an index, which ``sync`` compares with its catalog."""

    def __init__(
        self,
        queries: RecoveringCatalog,
        catalog: Catalog,
        digests: DigestsOnDemand,
        folders: Folders,
        sync: FolderRefresher,
    ) -> None:
        self._query = queries.query
        self._catalog = catalog
        self._digests = digests
        self._folders = folders
        self._sync = sync

    def stage(self, standing: File | None, digests: Sequence[str]) -> StagedFile:
        """A hidden temporary file in the folder of the final file."""
        directory = standing.path.rpartition("/")[0] if standing is not None and standing.root == 0 else ""
        return self._folders.stage(directory, digests=digests)

    def standing(self, filename: str) -> File | None:
        """The visible file of that name, as it is in storage now: the catalog may be out of date."""
        file = self._query(lambda: self._digests.file(filename))
        if file is not None:
            entry = self._folders.stat(file.root, file.path)
            if entry is None or not entry.identity.is_same(file.identity):
                key = (file.root, file.path)
                self._query(lambda: self._sync.refresh([key]))
                file = self._query(lambda: self._digests.file(filename))
        return file

    def claimed(self, dist: FilenameParts) -> AbstractContextManager[None]:
        """Claim all spellings of the name, until the catalog knows the file."""
        return self._folders.claimed(f"{dist.project} {folded(dist.filename)}")

    def publish(self, upload: ValidatedUpload, *, overwrite: bool, stored: Callable[[str], None]) -> None:
        """Give the file its name, and add it to the catalog."""
        dist = upload.dist
        # A refusal now leaves no trace.
        self._query(self._catalog.refuse_unwritable)
        overwrite = overwrite or self._is_damaged(dist)
        try:
            entry = upload.staged.publish(dist.filename, overwrite=overwrite, sidecars=upload.sidecars)
        except Conflict:
            # Another upload of this name came first: with the same bytes the request is fulfilled.
            if not self._is_standing(dist, upload.digest):
                raise
            return
        stored(entry.path)
        found = self._sync.found(entry, dist)
        try:
            self._query(lambda: self._catalog.add(found, upload.digest))
        except Unavailable:
            self._take_back(upload, entry)
            raise
        if self._folders.stat(0, entry.path) != entry:
            # Another upload overwrote ours, and may have written the catalog before we did.
            self._query(lambda: self._sync.refresh([(0, entry.path)]))

    def _is_damaged(self, dist: FilenameParts) -> bool:
        """Whether the file of this name is known to be a damaged archive, and no longer being written."""
        entry = self._folders.stat(0, dist.filename)
        if entry is None or time.time() - entry.mtime_ns / 1e9 < WRITING_SECONDS:
            return False
        row = Fingerprint(entry.size, entry.mtime_ns, entry.inode, "")
        fault = self._query(lambda: self._catalog.fault(0, entry.path, row))
        if fault is None or not fault.is_damage:
            return False
        _LOG.warning("%s is replaced, as it was damaged: %s", entry.path, fault.reason)
        return True

    def _take_back(self, upload: ValidatedUpload, entry: StoredFile) -> None:
        """Delete a file that has its name, but no row: a refused upload must not appear later."""
        # A file that replaced it meanwhile belongs to another, acknowledged upload.
        if upload.replaces is None:
            with contextlib.suppress(NotFound):
                self._folders.take_back(entry)
        else:
            _LOG.error("%s was stored, though its upload was refused: it took the place of another file.", entry.path)

    def _is_standing(self, dist: FilenameParts, digest: Digest) -> bool:
        """Whether the first root has a file of these bytes at this name; if so, the catalog gets its row."""
        try:
            stream, entry = self._folders.open(0, dist.filename)
            sha256 = sha256_of_stream(stream)
        except (PypiServerError, OSError):
            return False
        if not hmac.compare_digest(sha256, digest.sha256):
            return False
        found = self._sync.found(entry, dist)
        self._query(lambda: self._catalog.add(found, digest))
        return True

    def remove(self, file: File) -> None:
        """Delete a file and its sidecars."""
        self._folders.remove(file.root, file.path)

    def yank(self, file: File, reason: bytes) -> None:
        """Write the yank sidecar of the file."""
        self._folders.write_sidecar(file.root, file.path, ".yanked", reason)

    def unyank(self, file: File) -> None:
        """Remove the yank sidecar of the file."""
        self._folders.remove_sidecar(file.root, file.path, ".yanked")

    def refresh(self, file: File) -> None:
        """Compare the file with its row; a file that we removed disappears at once."""
        self._query(lambda: self._sync.refresh([(file.root, file.path)], hold=False))
