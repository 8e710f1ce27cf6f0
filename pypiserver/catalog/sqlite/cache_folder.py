"""The catalogs in the user's cache folder: one for each set of folders that was served without ``--catalog``.

**Invariants:** a catalog whose leader lock is held is in use and stays; only folders in the cache folder that contain a
catalog are deleted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import schema
from .leader_lock import FileLeaderLock
from .places import default_catalog_path


@dataclass(frozen=True, slots=True)
class CachedCatalog:
    """A catalog in the cache folder: the folder of its files, what it describes, its size, and when it was last used.

    ``roots`` are folders or the URL of a bucket, none where the catalog cannot be read. ``size`` is in bytes;
    ``used_ns`` in nanoseconds since the epoch. ``is_current`` says that this version of pypiserver can use it.
    """

    folder: Path
    roots: tuple[str, ...]
    size: int
    used_ns: int
    is_current: bool

    @property
    def is_gone(self) -> bool:
        """Whether none of its roots exists any more, as far as this machine can tell."""
        return bool(self.roots) and not any("://" in root or os.path.lexists(root) for root in self.roots)

    @property
    def is_needless(self) -> bool:
        """Whether no server of this version on this machine would use it."""
        return self.is_gone or not self.is_current


def cached_catalogs() -> Iterator[CachedCatalog]:
    """Every catalog in the user's cache folder, by the name of its folder."""
    try:
        above = default_catalog_path("x", environ=dict(os.environ)).parent.parent
        folders = sorted(each for each in above.iterdir() if (each / "catalog.sqlite").is_file())
    except (OSError, RuntimeError):
        return
    for folder in folders:
        roots, is_current = _described(folder / "catalog.sqlite")
        # Another process may delete the catalog meanwhile.
        with contextlib.suppress(OSError):
            stats = [each.stat() for each in folder.iterdir()]
            size, used_ns = sum(each.st_size for each in stats), max(each.st_mtime_ns for each in stats)
            yield CachedCatalog(folder, roots, size, used_ns, is_current)


def delete(cached: CachedCatalog) -> bool:
    """Delete a catalog with its folder; False when a server uses it. Raises OSError."""
    lock = FileLeaderLock(Path(f"{cached.folder / 'catalog.sqlite'}.lock"))
    if not lock.acquire():
        return False
    try:
        shutil.rmtree(cached.folder)
    finally:
        lock.release()
    return True


def _described(file: Path) -> tuple[tuple[str, ...], bool]:
    """The roots that a catalog describes, and whether its schema is the one of this version."""
    with contextlib.suppress(sqlite3.Error, OSError):
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=1)) as connection:
            found = dict(connection.execute("SELECT name, value FROM meta").fetchall())
        _, *roots = str(found.get("identity", "")).split("\n")
        return tuple(roots), found.get("schema") == schema.SCHEMA_VERSION
    return (), False
