"""Memory for what arrives from other indexes at the same time.

**Invariants:** what is lent is given back, whatever happens.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Loan:
    """Bytes of a budget that one page takes."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size = 0

    def has(self, size: int) -> bool:
        """Take this many bytes in all; returns whether there are as many."""
        self._budget.take(size - self.size)
        self.size = size
        return not self._budget.is_spent


class Budget:
    """Bytes of memory that the pages which arrive at the same time take together."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._lock = threading.Lock()

    @property
    def is_spent(self) -> bool:
        """Whether more is taken than there was."""
        return self._left < 0

    def take(self, count: int) -> None:
        """Take bytes; a negative number gives some back."""
        with self._lock:
            self._left -= count

    @contextmanager
    def lent(self) -> Iterator[Loan]:
        """A loan, which is given back at the end."""
        loan = Loan(self)
        try:
            yield loan
        finally:
            self.take(-loan.size)
