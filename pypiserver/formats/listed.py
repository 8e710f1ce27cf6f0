"""What a page of the Simple API shows of a project and a file, be it one of ours or one of another index.

**Invariants:** what is not known is None or empty, and is left out of a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ..model import ProjectStatus

# The metadata is served, and its hash is not known.
UNKNOWN_HASH = "true"


class ListedFile(Protocol):
    """A file on a page; the attributes are those of :class:`..model.File`."""

    @property
    def filename(self) -> str:
        """The file name."""

    @property
    def path(self) -> str:
        """Its place below ``/packages/``."""

    @property
    def size(self) -> int | None:
        """In bytes."""

    @property
    def sha256(self) -> str:
        """In lower-case hex, '' if it is not known."""

    @property
    def link_digest(self) -> str:
        """The digest for the fragment of the link, as ``algorithm=hex``, or ''."""

    @property
    def uploaded_at(self) -> datetime | None:
        """The upload time in UTC."""

    @property
    def requires_python(self) -> str | None:
        """Which versions of Python it is for."""

    @property
    def metadata_sha256(self) -> str | None:
        """The SHA-256 of its metadata or UNKNOWN_HASH, None if the metadata is not served."""

    @property
    def yanked(self) -> str | None:
        """Why it was yanked, maybe '', None if it was not."""

    @property
    def has_signature(self) -> bool:
        """Whether its signature is served."""

    @property
    def has_provenance(self) -> bool:
        """Whether its provenance is served."""


class ListedProject(Protocol):
    """A project on its page; the attributes are those of :class:`..model.Project`."""

    @property
    def name(self) -> str:
        """The normalized name."""

    @property
    def files(self) -> Sequence[ListedFile]:
        """Its files, sorted."""

    @property
    def versions(self) -> Sequence[str]:
        """Every version once, lowest first."""

    @property
    def status(self) -> ProjectStatus:
        """The status marker (PEP 792)."""

    @property
    def last_serial(self) -> int:
        """The serial that mirrors see, 0 if it is not known."""
