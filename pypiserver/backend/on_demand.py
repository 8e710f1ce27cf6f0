"""Files digested because somebody asks for them, before the background comes to them.

Invariant: what changed while it was read is compared with storage once more, and read again, before the answer.
"""

from __future__ import annotations

from ..catalog import Catalog
from ..model import File
from .digester import Digester
from .protocols import FileRefresher


class DigestsOnDemand:
    """Digests what waits in ``catalog``; every method is part of a question to :class:`RecoveringCatalog`."""

    def __init__(self, catalog: Catalog, digester: Digester, refresher: FileRefresher) -> None:
        self._catalog = catalog
        self._digester = digester
        self._refresher = refresher

    def digest_project(self, project: str) -> None:
        """Digest what waits, also what changed meanwhile, as a file does that is given its time after it was closed."""
        if changed := self._digester.digest_project(project):
            self._refresher.refresh(changed)
            self._digester.digest_project(project)

    def file(self, filename: str) -> File | None:
        """The visible file of that name, digested now where it was not."""
        file = self._catalog.file(filename)
        if file is not None and not file.sha256:
            self.digest_project(file.project)
            file = self._catalog.file(filename)
        return file
