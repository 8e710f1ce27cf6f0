"""Queries of a catalog that may fail, be replaced or be filled again meanwhile.

**Invariants:** a query runs on a catalog that reflects storage; a result that began in one catalog and ended in another
is discarded; a query that fails twice is CatalogUnavailable, never an empty result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from ..errors import CatalogUnavailable, NotFound, PypiServerError
from .changes import Catalog
from .errors import FAILURES

Answer = TypeVar("Answer")


class CatalogKeeper(Protocol):
    """Keeps a catalog current, and replaces one that failed."""

    def ensure_current(self) -> None:
        """Return when the catalog reflects storage; raises Unavailable when that is not possible now."""

    def recover(self, error: Exception, generation: int) -> None:
        """Recover after the catalog of that generation failed; raises Unavailable when that is not possible."""


class RecoveringCatalog:
    """Queries ``catalog``, which ``keeper`` keeps current, and queries again after recovering from a failure."""

    def __init__(self, catalog: Catalog, keeper: CatalogKeeper) -> None:
        self._catalog = catalog
        self._keeper = keeper

    def query(self, question: Callable[[], Answer]) -> Answer:
        """Run a query on an up-to-date catalog; run it once more when the catalog fails or is replaced.

        ``question`` may run several statements. Raises CatalogUnavailable, and what ``question`` raises.
        """
        connections = self._catalog.connections
        generation = self._current_generation()
        try:
            answer = question()
        except FAILURES as error:
            self._keeper.recover(error, generation)
        except PypiServerError:
            if connections.generation == generation:
                raise
        else:
            if connections.generation == generation:
                return answer
        # The query may have run on the new catalog while that was still being filled.
        generation = self._current_generation()
        try:
            answer = question()
        except FAILURES as error:
            raise CatalogUnavailable(f"The catalog fails: {error}. Try again in a moment.") from error
        except NotFound:
            if connections.generation == generation:
                raise
        else:
            if connections.generation == generation:
                return answer
        raise CatalogUnavailable("The catalog is being replaced. Try again in a moment.")

    def _current_generation(self) -> int:
        """The generation of the connections, once that catalog is up to date."""
        connections = self._catalog.connections
        while True:
            generation = connections.generation
            self._keeper.ensure_current()
            if connections.generation == generation:
                return generation
