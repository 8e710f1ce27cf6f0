"""Adds an exception to the list of ``--allow``: which file, until when, and the line in the audit log.

**Invariants:** a change that cannot be recorded is refused before it begins; a running server sees it within a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from ..distributions.filename import normalize
from ..errors import ConfigError, PypiServerError
from ..observability.audit_log import AuditLog, local_user
from ..proxy.list_edit import add_exception, exception
from ..proxy.list_file import ListFile
from ..settings.config import Config
from ..text import printable
from .output import write_json
from .subcommand import PROGRAM

ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Allowing:
    """An exception to add: for ``spec``, for ``lasts`` seconds or ``always``, with a ``reason``.

    ``path`` is the list, None for that of the settings.
    """

    spec: str
    lasts: int | str
    reason: str
    path: Path | None = None


def allow(
    allowing: Allowing, config: Config, out: TextIO, *, as_json: bool, clock: Callable[[], float] = time.time
) -> int:
    """Add the exception, and report it; raises ConfigError, Unavailable."""
    path = allowing.path or config.allow
    if path is None:
        raise ConfigError(
            f"No file of exceptions is named; write: {PROGRAM} proxy allow FILE {allowing.spec} ..., or give "
            "the file of the server with --allow in its settings.",
            kind="missing",
            setting="allow",
        )
    until = None
    if not isinstance(allowing.lasts, str):
        until = datetime.fromtimestamp(clock() + allowing.lasts, timezone.utc).date()
    line = exception(allowing.spec, until=until, reason=allowing.reason)
    log = AuditLog(config.audit_log) if config.audit_log is not None else None
    if log is not None:
        log.check()
    is_replaced = add_exception(path, line)
    end = ALWAYS if until is None else until.isoformat()
    if log is not None:
        what = {"action": "proxy allow", "exception": str(line), "until": end, "reason": line.reason, "list": str(path)}
        log.append(what, user=local_user(), address=None)
    denied = _denied(config, line.pattern, line.versions)
    if as_json:
        report = {"list": str(path), "exception": str(line), "until": end, "reason": line.reason}
        write_json({**report, "replaced": is_replaced, "denied": denied}, out)
        return 0
    done = "Changed" if is_replaced else "Added"
    when = "without an end" if until is None else f"until the end of {end} (UTC)"
    out.write(f"{done} in {path}: {line}, {when}: {printable(line.reason)}\n")
    if denied:
        out.write(f"It has no effect: line {denied} of {config.deny_projects} denies it.\n")
    return 0


def _denied(config: Config, pattern: str, versions: str) -> int | None:
    """The line of denied projects that covers all of an exception, None if there is none."""
    if config.deny_projects is None or "*" in pattern or "?" in pattern:
        return None
    try:
        lines = ListFile(config.deny_projects, "deny-projects").current().lines
    except PypiServerError:
        # The server says what is wrong with it.
        return None
    return next((each.number for each in lines.of(normalize(pattern)) if each.versions in ("", versions)), None)
