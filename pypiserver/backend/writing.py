"""A validated upload, and the protocol of the writer that stores it in folders or a bucket."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ..catalog import Digest
from ..distributions.filename import FilenameParts
from ..model import File
from .protocols import StagedFile


@dataclass(frozen=True, slots=True)
class ValidatedUpload:
    """An upload that passed all checks: the staged file, its digests and metadata, and its sidecars by suffix.

    ``replaces`` is the file of that name as it was when it was looked up, None when there was none or when nothing may
    be replaced.
    """

    staged: StagedFile
    dist: FilenameParts
    digest: Digest
    sidecars: Mapping[str, bytes]
    replaces: File | None


class Writer(Protocol):
    """Changes storage and catalog together."""

    def stage(self, standing: File | None, digests: Sequence[str]) -> StagedFile:
        """Begin an upload; ``standing`` is the file that it may replace."""

    def standing(self, filename: str) -> File | None:
        """The visible file of that name, digested, as it is now."""

    def claimed(self, dist: FilenameParts) -> AbstractContextManager[None]:
        """While held, no other writer stores a file of this name in any spelling; raises Unavailable."""

    def publish(self, upload: ValidatedUpload, *, overwrite: bool, stored: Callable[[str], None]) -> None:
        """Make the file visible, and call ``stored`` with its path once it is durable.

        Raises Unavailable when the catalog cannot record it; the file is removed then, unless it replaced another one.
        Has no effect when a file with this name and these bytes exists; raises Conflict when one with other bytes does
        and ``overwrite`` is off.
        """

    def remove(self, file: File) -> None:
        """Delete a file and its sidecars."""

    def yank(self, file: File, reason: bytes) -> None:
        """Mark a file as yanked."""

    def unyank(self, file: File) -> None:
        """Undo a yank."""

    def refresh(self, file: File) -> None:
        """Bring the file's row up to date after a change that may have failed."""
