"""What is certainly not here, remembered for a moment: looking it up again costs more than sending a kept file.

**Invariants:** an entry counts as long as nothing appeared since it was looked up, neither in the catalog nor in a
folder, and for two seconds at most; where that cannot be told without a look, nothing is remembered.
"""

from __future__ import annotations

import time
from collections.abc import Hashable

from ..bounded_cache import BoundedCache, weight
from .read import Repository

SECONDS = 2.0
MAX_BYTES = 4 << 20


class Absences:
    """Names and paths that are not in ``repository``."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._known: BoundedCache[Hashable, tuple[Hashable, float]] = BoundedCache(MAX_BYTES)

    def mark(self) -> Hashable | None:
        """The mark to look something up at: read it first, and pass it to :meth:`note`."""
        return self._repository.absence_mark()

    def has(self, key: Hashable, mark: Hashable | None) -> bool:
        """Whether this was found absent a moment ago, at this mark."""
        known = self._known.get(key)
        return known is not None and known[0] == mark and time.monotonic() < known[1]

    def note(self, key: Hashable, mark: Hashable | None) -> None:
        """Remember that this was looked up after the mark was read, and is not here."""
        if mark is not None:
            self._known.put(key, (mark, time.monotonic() + SECONDS), size=weight(mark))
