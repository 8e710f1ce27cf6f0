"""Operations of the operating system that fail on demand, and a folder as something to compare."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from pypiserver.backend.os_calls import OPERATIONS, Operations

NAMES = tuple(each.name for each in fields(Operations))


class Faults:
    """Counts the calls of every operation; call ``at`` of ``name`` (from 0; None: every one) raises ``number``."""

    def __init__(self, name: str = "", number: int = errno.EIO, *, at: int | None = None) -> None:
        self.calls: list[str] = []
        self.operations = Operations(**{each: self._wrapped(each) for each in NAMES})
        self._name, self._number, self._at = name, number, at

    def happened(self) -> bool:
        """Whether the fault was met."""
        return self.calls.count(self._name) > (self._at or 0)

    def _wrapped(self, name: str) -> Callable[..., Any]:
        real = getattr(OPERATIONS, name)

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            if name == self._name and self._at in (None, self.calls.count(name) - 1):
                raise OSError(self._number, os.strerror(self._number))
            return real(*arguments)

        return call


def tree(folder: Path) -> dict[str, Any]:
    """Everything in a folder, hidden or not: bytes and times of files, targets of links."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        key = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[key] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[key] = (path.read_bytes(), path.stat().st_mtime_ns)
        else:
            found[key] = "folder"
    return found
