"""An indexer over real folders, for tests of its threads."""

from __future__ import annotations

from pathlib import Path

from pypiserver.backend.digester import Digester
from pypiserver.catalog import Catalog
from pypiserver.catalog.sqlite.leader_lock import FileLeaderLock
from pypiserver.folder.indexer import FolderIndexer
from pypiserver.folder.scanner import FolderScanner
from pypiserver.folder.storage import Folders
from tests.make_archives import make_wheel

NAME, BYTES = make_wheel("foo", "1.0")


def make_watch(roots: list[Path], tmp_path: Path) -> FolderIndexer:
    folders = Folders(roots)
    catalog = Catalog(tmp_path / "catalog.sqlite", "")
    digester = Digester(folders, catalog, hash_algo="sha256")
    return FolderIndexer(
        FolderScanner(folders, catalog), digester, catalog, lock=FileLeaderLock(tmp_path / "lock"), events=False
    )
