"""Folders, a catalog and a clock, for tests of what keeps them together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pypiserver.backend.digester import Digester
from pypiserver.catalog import Catalog
from pypiserver.folder.partial_files import Missing
from pypiserver.folder.scanner import FolderScanner
from pypiserver.folder.storage import Folders
from tests.make_archives import make_sdist, make_wheel

OLD = 1_600_000_000


NOW = 1_700_000_000.0


WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0", requires_python=">=3.8", summary="A foo")
SDIST, SDIST_BYTES = make_sdist("foo", "1.0")


@dataclass
class World:
    """One or two roots, a catalog in memory or in PostgreSQL, and the parts that keep them together."""

    roots: list[Path]
    place: str | None = None
    now: float = NOW

    def __post_init__(self) -> None:
        self.folders = Folders(self.roots)
        self.catalog = Catalog(self.place, "roots")
        self.sync = self.another_sync()
        self.digester = Digester(self.folders, self.catalog, hash_algo="sha256")

    def another_sync(self) -> FolderScanner:
        sync = FolderScanner(self.folders, self.catalog, clock=lambda: self.now)
        sync.missing = Missing(lambda: self.now)
        return sync

    def put(self, path: str, data: bytes, *, root: int = 0, mtime: float = OLD) -> Path:
        target = self.roots[root] / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        os.utime(target, (mtime, mtime))
        return target

    def listed(self, project: str = "foo") -> list[str]:
        return sorted(file.path for file in self.catalog.files_of(project))
