"""An upload that is fit to be stored, and the protocol of what stores it, in folders or a bucket."""

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
    """An upload that is fit to be stored: the file, what reading it brought, and what stands beside it by suffix.

    ``replaces`` is the file of its name as it was when that was looked at, None when there was none, or when nothing
    may be replaced.
    """

    staged: StagedFile
    dist: FilenameParts
    digest: Digest
    sidecars: Mapping[str, bytes]
    replaces: File | None


class Writer(Protocol):
    """Who changes storage and catalog together."""

    def stage(self, standing: File | None, digests: Sequence[str]) -> StagedFile:
        """Begin an upload; ``standing`` is what it may replace."""

    def standing(self, filename: str) -> File | None:
        """The visible file of that name, digested, as it is now."""

    def claimed(self, dist: FilenameParts) -> AbstractContextManager[None]:
        """While it is held, nobody else stores a file of this name in any spelling; raises Unavailable."""

    def publish(self, upload: ValidatedUpload, *, overwrite: bool, stored: Callable[[str], None]) -> None:
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
