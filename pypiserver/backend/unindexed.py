"""The indexer of commands that serve nothing: the catalog is used as it is."""

from __future__ import annotations

from ..errors import PypiServerError, Unavailable
from .protocols import Tell


class Unindexed:
    """Keeps nothing current; callers have checked that the catalog is complete, or ask storage itself."""

    def ensure_current(self) -> None:
        """Return at once."""

    def is_current(self) -> bool:
        """Say yes."""
        return True

    def state(self) -> PypiServerError | None:
        """Report that requests can be answered."""
        return None

    def last_scan(self) -> tuple[float, float] | None:
        """Report that no scan is known."""
        return None

    def start(self) -> None:
        """Start no thread."""

    def close(self) -> None:
        """End no thread."""

    def scan_once(self, *, progress: Tell | None = None) -> None:
        """Do nothing: the catalog is used as it is."""

    def is_behind(self) -> bool:
        """Report that it is not."""
        return False

    def recover(self, error: Exception, generation: int) -> None:
        """Raise Unavailable from the error."""
        raise Unavailable(f"The catalog fails: {error}.") from error
