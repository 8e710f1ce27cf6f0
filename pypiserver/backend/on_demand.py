"""Digesting files because a request needs them, before the indexer reaches them.

**Invariants:** a file that changed while it was read is compared with storage once more, and read again, before the
answer.
"""

from __future__ import annotations

from ..catalog import Catalog
from ..model import File
from .digester import Digester
from .protocols import FileRefresher


class DigestsOnDemand:
    """Digests pending files of ``catalog``; every method runs as part of a query of :class:`RecoveringCatalog`."""

    def __init__(self, catalog: Catalog, digester: Digester, refresher: FileRefresher) -> None:
        self._catalog = catalog
        self._digester = digester
        self._refresher = refresher

    def digest_project(self, project: str) -> None:
        """Digest the pending files of a project, also those that change meanwhile.

        A program may set a file's times after it closed it, for example.
        """
        if changed := self._digester.digest_project(project):
            self._refresher.refresh(changed)
            self._digester.digest_project(project)

    def file(self, filename: str) -> File | None:
        """The visible file of that name, digested now if it is pending."""
        file = self._catalog.file(filename)
        if file is not None and not file.sha256:
            self.digest_project(file.project)
            file = self._catalog.file(filename)
        return file
