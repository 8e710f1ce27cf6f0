"""The folders of a cache of other indexes: which names they may have, and their small files.

**Invariants:** every name is checked before it is joined; no link is followed; a small file is replaced in one step,
and not synced, because what a crash cuts is fetched again.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from ..allowed_names import allowed_in_a_path
from ..backend.cache_store import Key
from ..backend.name_lock import open_locked
from ..backend.os_calls import OPERATIONS, Operations, refusal
from ..errors import NotFound, Unavailable
from ..native_names import native
from .safe_open import held_folder, read_plain

# Of each upstream's folder; hidden from the scans of a server that serves it alone.
PAGES, HIDDEN, FETCHING = ".pages", ".sidecars", ".fetching"
MAX_SIDECAR = 16 << 20


class CacheTree:
    """The folder ``root``, and what is below it."""

    def __init__(self, root: Path, operations: Operations = OPERATIONS) -> None:
        self.root = root
        self.operations = operations

    def held(self, folder: str, *, make: bool = False) -> AbstractContextManager[Path]:
        """As :func:`.safe_open.held_folder`."""
        return held_folder(self.root, folder, make=make)

    def read(self, folder: str, name: str, limit: int = MAX_SIDECAR) -> bytes | None:
        """A small file, None if it is missing or cannot be read."""
        with contextlib.suppress(OSError, Unavailable), self.held(folder) as held:
            return read_plain(held / native(name), limit)
        return None

    def write(self, folder: str, name: str, data: bytes) -> None:
        """Write a small file; raises StorageFull, Forbidden or Unavailable."""
        part: Path | None = None
        try:
            with self.held(folder, make=True) as held:
                try:
                    # Locked until it is closed, so that no cleaning takes it for one that was left.
                    part, descriptor = open_locked(held, self.operations)
                    with open(descriptor, "wb") as file:  # noqa: PTH123
                        self.operations.write(file, data)
                        file.flush()
                        self.operations.replace(part, held / native(name))
                except BaseException:
                    if part is not None:
                        with contextlib.suppress(OSError):
                            part.unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise refusal(error, self.root / folder) from error

    def unlink(self, folder: str, name: str) -> int:
        """Delete a file; returns its bytes, 0 if it is missing or cannot be deleted."""
        with contextlib.suppress(OSError, Unavailable), self.held(folder) as held:
            size = (held / native(name)).lstat().st_size
            self.operations.unlink(held / native(name))
            return size
        return 0

    def free(self) -> int | None:
        """The bytes that are free on the disk, None if that is not known."""
        with contextlib.suppress(OSError, AttributeError):
            state = os.statvfs(self.root)
            return state.f_bavail * state.f_frsize
        return None

    def folders(self, below: str = "") -> list[str]:
        """The names of the folders there that are neither hidden nor links, sorted."""
        return sorted(each.name for each in self._entries(below) if each.is_dir(follow_symlinks=False))

    def files(self, below: str) -> Iterator[os.DirEntry[str]]:
        """The regular files there that are not hidden."""
        return (each for each in self._entries(below) if each.is_file(follow_symlinks=False))

    def _entries(self, below: str) -> list[os.DirEntry[str]]:
        folder = self.root / native(below)
        with contextlib.suppress(OSError):
            # Of the last folder; those above it are ours, and are checked when a file is opened.
            if stat.S_ISDIR(folder.lstat().st_mode):
                with os.scandir(folder) as entries:
                    return [each for each in entries if not each.name.startswith(".")]
        return []


def path_of(key: Key) -> str:
    """The path of a file below the root; raises NotFound for a name that is none."""
    for name in key:
        if not is_name(name):
            raise NotFound(f"There is no file {key.filename!r} in the cache.", filename=key.filename)
    return "/".join(key)


def project_folder(key: Key) -> str:
    """The folder of a file; raises as :func:`path_of` does."""
    return path_of(key).rpartition("/")[0]


def hidden_folder(key: Key) -> str:
    """The folder of what is kept about a file out of sight; raises as :func:`path_of` does."""
    path_of(key)
    return f"{key.upstream}/{HIDDEN}/{key.project}"


def is_name(name: str) -> bool:
    """Whether this may be the name of a folder or a visible file."""
    is_plain = bool(name) and not name.startswith(".") and "/" not in name and "\\" not in name
    return is_plain and len(name) <= 255 and allowed_in_a_path(name) and not (os.name == "nt" and ":" in name)
