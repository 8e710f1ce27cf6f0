"""In place of an indexer where nothing is served: the catalog is taken as it is."""

from __future__ import annotations

from ..errors import PypiServerError, Unavailable
from .protocols import Tell


class Unindexed:
    """Keeps nothing current; who asks has seen that the catalog is complete, or asks storage itself."""

    def ensure_current(self) -> None:
        """Return at once."""

    def state(self) -> PypiServerError | None:
        """Say that nothing is in the way."""
        return None

    def last_scan(self) -> tuple[float, float] | None:
        """Say that none is known."""
        return None

    def start(self) -> None:
        """Start no thread."""

    def close(self) -> None:
        """End no thread."""

    def scan_once(self, *, progress: Tell | None = None) -> None:
        """Bring nothing up to date."""

    def is_behind(self) -> bool:
        """Say no."""
        return False

    def recover(self, error: Exception, generation: int) -> None:
        """Raise what failed as Unavailable."""
        raise Unavailable(f"The catalog fails: {error}.") from error
