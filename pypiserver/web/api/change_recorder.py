"""The user and client address of the current request's change, for the audit log and metrics.

**Invariants:** a change without a request, made by a program of the operator, is recorded too.
"""

from __future__ import annotations

import bottle

from ... import request_info
from ...observability.audit_log import AuditLog, Change


class Recorder:
    """Records changes that requests make; without an audit log, for the metrics only."""

    def __init__(self, audit_log: AuditLog | None) -> None:
        self._audit_log = audit_log

    def check(self) -> None:
        """Raise Unavailable when the audit log could not record a change."""
        if self._audit_log is not None:
            self._audit_log.check()

    def record(self, change: Change) -> None:
        """Record a completed change."""
        try:
            environ = bottle.request.environ
        except RuntimeError:
            # No request: a program of the operator makes the change.
            environ = {}
        environ[request_info.CHANGE] = change.action
        environ[request_info.NOTE] = f"{change.action} {change.file}"
        if self._audit_log is not None:
            address = environ.get(request_info.CLIENT) or environ.get("REMOTE_ADDR")
            principal = environ.get(request_info.PRINCIPAL)
            token = "" if principal is None else principal.label
            self._audit_log.write(change, user=environ.get(request_info.USER), address=address, token=token)
