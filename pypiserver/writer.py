"""Carrying out what intake decided, in folders: the bytes first, then the catalog; :mod:`bucket_writer` is for buckets.

The rules to keep: storage says what stands there, whatever the catalog knows of it; whoever was told that something was
done reads it at once, in every process.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from .catalog import Digest, Row
from .digests import BLOCK
from .distfile import DistFile, folded
from .errors import Conflict, NotFound, PypiServerError, Unavailable
from .model import File
from .repository import WRITING_SECONDS, Repository
from .storage import Entry, Folders, StagedFile
from .sync import Sync

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checked:
    """An upload that is fit to be stored: the file, what reading it brought, and what stands beside it by suffix.

    ``replaces`` is the file of its name as it was when that was looked at, None when there was none, or when nothing
    may be replaced.
    """

    staged: StagedFile
    dist: DistFile
    digest: Digest
    sidecars: Mapping[str, bytes]
    replaces: File | None


class Writer(Protocol):
    """Who changes storage and catalog together."""

    def stage(self, standing: File | None, digests: Sequence[str]) -> StagedFile:
        """Begin an upload; ``standing`` is what it may replace."""

    def standing(self, filename: str) -> File | None:
        """The visible file of that name, digested, as it is now."""

    def claimed(self, dist: DistFile) -> AbstractContextManager[None]:
        """While it is held, nobody else stores a file of this name in any spelling; raises Unavailable."""

    def publish(self, upload: Checked, *, overwrite: bool, stored: Callable[[str], None]) -> None:
        """Make the file visible, and tell ``stored`` its path once that is done for good.

        Raises Unavailable when the catalog cannot be told; the file is gone again then, unless it replaced another one.
        Nothing happens when a file of its name and bytes is there; raises Conflict when one of other bytes is, and
        ``overwrite`` is off.
        """

    def remove(self, file: File) -> None:
        """Delete a file and what stands beside it."""

    def yank(self, file: File, reason: bytes) -> None:
        """Mark a file as yanked."""

    def unyank(self, file: File) -> None:
        """Take the mark away."""

    def refresh(self, file: File) -> None:
        """Let the catalog know what is there now, after a change that may have failed."""


class FolderWriter:
    """Changes in the folders of a repository, which ``sync`` compares with its catalog."""

    def __init__(self, repository: Repository, folders: Folders, sync: Sync) -> None:
        self._repository = repository
        self._folders = folders
        self._sync = sync

    def stage(self, standing: File | None, digests: Sequence[str]) -> StagedFile:
        """A hidden temporary file in the folder where the file will stand."""
        directory = standing.path.rpartition("/")[0] if standing is not None and standing.root == 0 else ""
        return self._folders.stage(directory, digests=digests)

    def standing(self, filename: str) -> File | None:
        """The visible file of that name, as it is in storage now: an answer must not rest on the past."""
        repository = self._repository
        file = repository.ask(lambda: repository.digested(filename))
        if file is not None:
            entry = self._folders.stat(file.root, file.path)
            if entry is None or not entry.identity.is_same(file.identity):
                key = (file.root, file.path)
                repository.ask(lambda: self._sync.refresh([key]))
                file = repository.ask(lambda: repository.digested(filename))
        return file

    def claimed(self, dist: DistFile) -> AbstractContextManager[None]:
        """Hold what all spellings of the name have in common, until the catalog knows the file."""
        return self._folders.claimed(f"{dist.project} {folded(dist.filename)}")

    def publish(self, upload: Checked, *, overwrite: bool, stored: Callable[[str], None]) -> None:
        """Give the file its name, and tell the catalog."""
        repository, dist = self._repository, upload.dist
        # While it can still be refused without a trace.
        repository.ask(repository.catalog.refuse_unwritable)
        overwrite = overwrite or self._is_damaged(dist)
        try:
            entry = upload.staged.publish(dist.filename, overwrite=overwrite, sidecars=upload.sidecars)
        except Conflict:
            # Someone else's file of this name came first: with the same bytes that is what was asked for.
            if not self._is_standing(dist, upload.digest):
                raise
            return
        stored(entry.path)
        found = self._sync.found(entry, dist)
        try:
            repository.ask(lambda: repository.catalog.add(found, upload.digest))
        except Unavailable:
            self._take_back(upload, entry)
            raise
        if self._folders.stat(0, entry.path) != entry:
            # Another upload overwrote ours, and may have told the catalog before we did.
            repository.ask(lambda: self._sync.refresh([(0, entry.path)]))

    def _is_damaged(self, dist: DistFile) -> bool:
        """Whether what stands at the name is known to be no whole archive, and not written any more."""
        entry = self._folders.stat(0, dist.filename)
        if entry is None or time.time() - entry.mtime_ns / 1e9 < WRITING_SECONDS:
            return False
        row = Row(entry.size, entry.mtime_ns, entry.inode, "")
        fault = self._repository.ask(lambda: self._repository.catalog.fault(0, entry.path, row))
        if fault is None or not fault.is_damage:
            return False
        _LOG.warning("%s is replaced, as it was damaged: %s", entry.path, fault.sentence)
        return True

    def _take_back(self, upload: Checked, entry: Entry) -> None:
        """Delete a file that got its name, but no row: what is refused must not show later."""
        # What took its place meanwhile was acknowledged to somebody else.
        if upload.replaces is None:
            with contextlib.suppress(NotFound):
                self._folders.take_back(entry)
        else:
            _LOG.error("%s was stored, though its upload was refused: it took the place of another file.", entry.path)

    def _is_standing(self, dist: DistFile, digest: Digest) -> bool:
        """Whether a file of these bytes stands in the first root; storage is asked, and then the catalog told."""
        sha256 = hashlib.sha256()
        try:
            stream, entry = self._folders.open(0, dist.filename)
            with stream:
                while block := stream.read(BLOCK):
                    sha256.update(block)
        except (PypiServerError, OSError):
            return False
        if not hmac.compare_digest(sha256.hexdigest(), digest.sha256):
            return False
        found = self._sync.found(entry, dist)
        self._repository.ask(lambda: self._repository.catalog.add(found, digest))
        return True

    def remove(self, file: File) -> None:
        """Delete a file and what stands beside it."""
        self._folders.remove(file.root, file.path)

    def yank(self, file: File, reason: bytes) -> None:
        """Put the mark beside the file."""
        self._folders.write_sidecar(file.root, file.path, ".yanked", reason)

    def unyank(self, file: File) -> None:
        """Take it away."""
        self._folders.remove_sidecar(file.root, file.path, ".yanked")

    def refresh(self, file: File) -> None:
        """Compare the file with its row; one that we removed is gone at once."""
        self._repository.ask(lambda: self._sync.refresh([(file.root, file.path)], hold=False))
