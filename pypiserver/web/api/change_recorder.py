"""Who makes a change: the user and the address of the request that is being answered, for the audit log and metrics."""

from __future__ import annotations

import bottle

from ... import request_info
from ...observability.audit_log import AuditLog, Change


class Recorder:
    """Records changes that requests make; without an audit log only for the metrics."""

    def __init__(self, audit_log: AuditLog | None) -> None:
        self._audit_log = audit_log

    def check(self) -> None:
        """Raise Unavailable when a change could not be recorded."""
        if self._audit_log is not None:
            self._audit_log.check()

    def record(self, change: Change) -> None:
        """Take note of a change that was done."""
        try:
            environ = bottle.request.environ
        except RuntimeError:
            # No request: a program of the operator's own makes the change.
            environ = {}
        environ[request_info.CHANGE] = change.action
        if self._audit_log is not None:
            address = environ.get(request_info.CLIENT) or environ.get("REMOTE_ADDR")
            self._audit_log.write(change, user=environ.get(request_info.USER), address=address)
