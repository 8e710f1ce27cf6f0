"""What is certainly not here, remembered for a moment: looking it up again costs more than sending a kept file.

**Invariants:** an entry counts at the catalog's serial at which it was looked up, and for two seconds at most, because
a file that was copied into a folder may not be in the catalog yet; without a current catalog nothing is remembered.
"""

from __future__ import annotations

import time
from collections.abc import Hashable

from ..bounded_cache import BoundedCache
from .read import Repository

SECONDS = 2.0
MAX_BYTES = 4 << 20


class Absences:
    """Names and paths that are not in ``repository``."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._known: BoundedCache[Hashable, tuple[int, float]] = BoundedCache(MAX_BYTES)

    def serial(self) -> int | None:
        """The serial to look something up at: read it first, and pass it to :meth:`note`."""
        return self._repository.known_serial()

    def has(self, key: Hashable, serial: int | None) -> bool:
        """Whether this was found absent a moment ago, at this serial."""
        known = self._known.get(key)
        return known is not None and known[0] == serial and time.monotonic() < known[1]

    def note(self, key: Hashable, serial: int | None) -> None:
        """Remember that this was looked up after the serial was read, and is not here."""
        if serial is not None:
            self._known.put(key, (serial, time.monotonic() + SECONDS), size=0)
