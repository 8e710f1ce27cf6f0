"""An indexer that waits: for events, for a file that stays missing, for the scan of another one."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pypiserver.backend.digester import Digester
from pypiserver.catalog import Catalog
from pypiserver.catalog.sqlite.leader_lock import FileLeaderLock
from pypiserver.folder.indexer import FolderIndexer
from pypiserver.folder.scanner import FolderScanner
from pypiserver.folder.storage import Folders
from tests.unit.folder import conftest as unit
from tests.unit.folder.watched_folders import NAME, make_watch
from tests.unit.waiting import eventually

pytestmark = pytest.mark.live
roots = unit.roots
watch = unit.watch


def test_an_outage_met_by_an_event_does_not_end_the_thread(roots: list[Path], watch: FolderIndexer) -> None:
    watch.ensure_current()
    away = roots[1].with_name("away")
    roots[1].rename(away)
    watch._growing = {(1, "bar-1.0.zip")}
    watch._wake.set()
    assert eventually(lambda: watch._failure is not None)
    away.rename(roots[1])
    assert eventually(lambda: watch._failure is None)
    assert all(thread.is_alive() for thread in watch._threads)


@pytest.mark.parametrize("events", [True, False])
def test_a_file_that_stays_missing_is_gone_though_nothing_tells_so(
    events: bool, roots: list[Path], watch: FolderIndexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is held first; no event, and no scan, comes when the time is over."""
    monkeypatch.setattr("pypiserver.folder.partial_files.HOLD_SECONDS", 0.5)
    watch._use_events = events
    watch.ensure_current()
    assert eventually(lambda: watch._next_scan > 0)
    (roots[0] / NAME).unlink()
    watch.sync.refresh([(0, NAME)])
    watch._next_scan = time.monotonic() + 1000
    assert len(watch.catalog.rows_of("foo")) == 1 and watch.catalog.files_of("foo") == []
    assert eventually(lambda: watch.catalog.rows_of("foo") == [])


class Unmounted(FolderScanner):
    """Storage whose first root is unmounted after the first look, before the first scan of this process."""

    def is_current(self) -> bool:
        answer = super().is_current()
        self.folders.roots[0].rename(self.folders.roots[0].with_name("away"))
        self.folders.roots[0].mkdir()
        return answer


def test_a_root_that_is_replaced_before_the_first_scan_is_an_outage(roots: list[Path], tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite", "")
    lock = FileLeaderLock(tmp_path / "lock")
    folders = Folders(roots)
    FolderScanner(folders, catalog).scan()
    lock.acquire()
    lock.say_ready(time.time())
    lock.release()
    watch = FolderIndexer(Unmounted(folders, catalog), Digester(folders, catalog, hash_algo=None), catalog, lock=lock)
    watch.start()
    assert eventually(lambda: getattr(watch.state(), "kind", "") == "lost")
    assert catalog.file(NAME) is not None
    watch.close()
    catalog.connections.close()


def test_who_follows_does_not_take_an_empty_catalog_for_the_one_that_was_scanned(
    roots: list[Path], watch: FolderIndexer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scanner's word that it is done was about the catalog that was deleted since."""
    watch.ensure_current()
    follower = make_watch(roots, tmp_path)
    follower.ensure_current()
    assert [name for name, *_ in follower.catalog.projects()] == ["foo"]
    go_on = threading.Event()
    scan = watch.sync.scan
    monkeypatch.setattr(watch.sync, "scan", lambda: go_on.wait(60) and scan())
    for path in tmp_path.glob("catalog.sqlite*"):
        # The one that follows deletes the others when it sees that the first is gone.
        path.unlink(missing_ok=True)
    assert eventually(lambda: follower.catalog.connections.generation > 0)
    assert not eventually(lambda: follower.state() is None, 0.5)
    go_on.set()
    assert eventually(lambda: follower.state() is None)
    assert [name for name, *_ in follower.catalog.projects()] == ["foo"]
    follower.close()
    follower.catalog.connections.close()
