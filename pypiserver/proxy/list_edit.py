"""Exceptions are added to their list by a command, while servers read it.

**Invariants:** the file is replaced in one step, and a change that another program makes meanwhile is not lost; only
whole, usable lines are written.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

from ..access.file_edit import read_file, replace_file
from ..backend.name_lock import claimed
from ..errors import ConfigError
from .list_text import ALWAYS, MAX_BYTES, ListLine, read_list

# Servers of another user read a new list; it has no secrets.
_MODE = 0o644


def exception(spec: str, *, until: date | None, reason: str) -> ListLine:
    """The exception for ``spec`` (``urllib3==2.6.1``, ``acme-*``) until the end of a day; raises ConfigError."""
    text = read_list(_written(spec, until, reason).encode("utf-8", "replace"), "allow")
    found = text.lines.lines
    if text.faults or "#" in spec or len(found) != 1:
        why = text.faults[0].reason if text.faults else "write one project, such as urllib3==2.6.1"
        raise ConfigError(f"{spec!r} cannot be an exception: {why}.", kind="value", setting="allow", value=spec)
    return found[0]


def add_exception(path: Path, line: ListLine) -> bool:
    """Write an exception to the list, in place of one for the same; whether it replaced one. Raises ConfigError."""
    try:
        # Not Path.resolve, which raises RuntimeError for a link that leads to itself.
        target = Path(os.path.realpath(path))
        with claimed(target):
            while True:
                old, status = read_file(target)
                lines, is_replaced = _with(old, line)
                text = "".join(f"{each}\n" for each in lines)
                if len(text.encode("utf-8", "surrogateescape")) > MAX_BYTES:
                    raise ConfigError(
                        f"The list {path} would be larger than {MAX_BYTES >> 20} MiB.", kind="too-large", value=path
                    )
                if replace_file(target, text, old, status):
                    if status is None:
                        target.chmod(_MODE)
                    return is_replaced
    except OSError as error:
        raise ConfigError(
            f"The list {path} cannot be changed: {error.strerror or error}.",
            kind="unwritable",
            setting="allow",
            value=path,
        ) from error


def _written(spec: str, until: date | None, reason: str) -> str:
    end = ALWAYS if until is None else f"until {until.isoformat()}"
    return f"{spec}  {end}  # {reason}"


def _with(old: bytes, line: ListLine) -> tuple[list[str], bool]:
    """The lines of a list with this exception in place of the first for the same, or at the end."""
    written = _written(str(line), line.until, line.reason)
    lines = old.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    known = read_list(old, "allow").lines.lines
    same = next((each.number for each in known if str(each) == str(line)), 0)
    if same:
        lines[same - 1] = written
        return lines, True
    return [*lines, written], False
