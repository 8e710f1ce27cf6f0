"""Questions to a catalog that may fail, be replaced or be filled again while they are asked.

Invariants: a question is asked of a catalog that reflects storage; an answer that began in one catalog and ended in
another is no answer; what fails twice is CatalogUnavailable, never an empty answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from ..errors import CatalogUnavailable, NotFound, PypiServerError
from .changes import Catalog
from .errors import FAILURES

Answer = TypeVar("Answer")


class CatalogKeeper(Protocol):
    """Who keeps a catalog current, and replaces one that failed."""

    def ensure_current(self) -> None:
        """Return when the catalog reflects storage; raises Unavailable while it cannot."""

    def recover(self, error: Exception, generation: int) -> None:
        """Go on after the catalog failed, with the connections of that generation; raises Unavailable."""


class RecoveringCatalog:
    """Asks ``catalog``, which ``keeper`` keeps current, and asks again after a failure that could be recovered from."""

    def __init__(self, catalog: Catalog, keeper: CatalogKeeper) -> None:
        self._catalog = catalog
        self._keeper = keeper

    def query(self, question: Callable[[], Answer]) -> Answer:
        """Put a question to an up-to-date catalog; when the catalog fails, or is replaced, ask again.

        ``question`` may be of several statements. Raises CatalogUnavailable, and what the question raises.
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
        # What was asked may have been the new catalog, while it was still being filled.
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
        """Which catalog it is that is up to date."""
        connections = self._catalog.connections
        while True:
            generation = connections.generation
            self._keeper.ensure_current()
            if connections.generation == generation:
                return generation
