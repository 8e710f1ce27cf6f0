"""What those who change packages ask of the log of changes.

**Invariants:** a change that could not be recorded is not made.
"""

from __future__ import annotations

from typing import Protocol

from ..observability.audit_log import Change


class Recorder(Protocol):
    """Records changes, such as the audit log."""

    def check(self) -> None:
        """Raise Unavailable when a change could not be recorded now, so that it is not made."""

    def record(self, change: Change) -> None:
        """Record a change that was made."""
