"""The rounds that keep the catalog current: what they clean up, how often they look, and that no failure ends them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.backend.digester import Digester
from pypiserver.catalog import Catalog
from pypiserver.catalog.sqlite.leader_lock import FileLeaderLock
from pypiserver.folder.indexer import FolderIndexer
from pypiserver.folder.scanner import FolderScanner
from pypiserver.folder.storage import Folders
from tests.make_archives import make_wheel

from ..waiting import eventually
from ..wsgi import Client

PART = ".upload-" + "0123456789abcdef" * 2 + ".part"


def test_what_a_killed_upload_left_is_removed_at_start(roots: list[Path], watch: FolderIndexer) -> None:
    (roots[1] / "sub").mkdir()
    parts = [roots[0] / PART, roots[1] / "sub" / PART]
    for part in parts:
        part.write_bytes(b"half")
    running = watch.sync.folders.stage()
    watch.ensure_current()
    assert eventually(lambda: not any(part.exists() for part in parts))
    running.publish("bar-1.0.zip", overwrite=False, sidecars={})


def test_an_outage_that_no_event_tells_is_met_before_the_next_scan(roots: list[Path], watch: FolderIndexer) -> None:
    watch._tick()
    watch._next_scan = time.monotonic() + 1000
    watch._tick()
    roots[1].rename(roots[1].with_name("away"))
    watch._tick()
    assert "cannot be read" in str(watch._failure)
    watch._lock.release()


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_folder_that_others_write_to_is_looked_at_often(
    is_shared: bool, roots: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypiserver.folder.fs_events.is_shared", lambda root: is_shared and root == roots[1])
    folders, catalog = Folders(roots), Catalog(tmp_path / "catalog.sqlite", "")
    digester = Digester(folders, catalog, hash_algo="sha256")
    watch = FolderIndexer(FolderScanner(folders, catalog), digester, catalog, lock=FileLeaderLock(tmp_path / "lock"))
    try:
        watch.ensure_current()
        if not eventually(lambda: watch._watcher.is_running(), 5):
            pytest.skip("nothing can be watched here")
        watch._scan()
        pause = watch._next_scan - time.monotonic()
        assert (pause < 5.0) == is_shared, pause
    finally:
        watch.close()
        catalog.connections.close()


def test_an_upload_is_told_to_the_catalog_once(serve: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.folder.scan_thread.UPLOAD_SECONDS", 60.0)
    client = serve()
    backend = client._application.backend  # type: ignore[attr-defined]
    catalog, watch = backend.catalog, backend.indexer
    watch.ensure_current()
    if not eventually(watch._watcher.is_running, 5):
        pytest.skip("nothing can be watched here")
    watch._next_scan = time.monotonic() + 1000
    before = catalog.serial()
    for number in range(30):
        name, data = make_wheel("foo", f"2.{number}")
        assert client.upload(name, data).status == 200
    assert catalog.serial() == before + 30
