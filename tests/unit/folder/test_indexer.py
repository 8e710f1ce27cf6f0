"""The threads that keep the catalog current: what they clean up, and that no failure ends them."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pypiserver.backend.digester import Digester
from pypiserver.catalog import Catalog
from pypiserver.catalog.sqlite.leader_lock import FileLeaderLock
from pypiserver.folder.fs_events import Watcher
from pypiserver.folder.indexer import FolderIndexer
from pypiserver.folder.scanner import FolderScanner
from pypiserver.folder.storage import Folders
from tests.make_archives import make_wheel

from ..wsgi import Client

NAME, BYTES = make_wheel("foo", "1.0")
PART = ".upload-" + "0123456789abcdef" * 2 + ".part"


def eventually(question: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether something comes true in time, asked every few milliseconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if question():
            return True
        threading.Event().wait(0.01)
    return False


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
    (roots[0] / NAME).write_bytes(BYTES)
    os.utime(roots[0] / NAME, (1_600_000_000, 1_600_000_000))
    return roots


def make_watch(roots: list[Path], tmp_path: Path) -> FolderIndexer:
    folders = Folders(roots)
    catalog = Catalog(tmp_path / "catalog.sqlite", "")
    digester = Digester(folders, catalog, hash_algo="sha256")
    return FolderIndexer(
        FolderScanner(folders, catalog), digester, catalog, lock=FileLeaderLock(tmp_path / "lock"), events=False
    )


@pytest.fixture
def watch(roots: list[Path], tmp_path: Path) -> Iterator[FolderIndexer]:
    watch = make_watch(roots, tmp_path)
    yield watch
    watch.close()
    watch.catalog.connections.close()


def test_what_a_killed_upload_left_is_removed_at_start(roots: list[Path], watch: FolderIndexer) -> None:
    (roots[1] / "sub").mkdir()
    parts = [roots[0] / PART, roots[1] / "sub" / PART]
    for part in parts:
        part.write_bytes(b"half")
    running = watch.sync.folders.stage()
    watch.ensure_current()
    assert eventually(lambda: not any(part.exists() for part in parts))
    running.publish("bar-1.0.zip", overwrite=False, sidecars={})


@pytest.mark.live
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


@pytest.mark.live
@pytest.mark.parametrize("events", [True, False])
def test_a_file_that_stays_away_is_gone_though_nothing_tells_so(
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


@pytest.mark.live
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
    assert eventually(lambda: "no longer the one that was served" in str(watch.state()))
    assert catalog.file(NAME) is not None
    watch.close()
    catalog.connections.close()


def test_an_outage_that_no_event_tells_is_met_before_the_next_scan(roots: list[Path], watch: FolderIndexer) -> None:
    watch._tick()
    watch._next_scan = time.monotonic() + 1000
    watch._tick()
    roots[1].rename(roots[1].with_name("away"))
    watch._tick()
    assert "cannot be read" in str(watch._failure)
    watch._lock.release()


def test_when_all_is_digested_the_list_is_there(watch: FolderIndexer) -> None:
    watch.ensure_current()
    assert eventually(lambda: watch.catalog._all("SELECT project FROM listing") == [("foo",)])
    assert watch.catalog.pending_count() == 0


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


@pytest.mark.live
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
        path.unlink()
    assert eventually(lambda: follower.catalog.connections.generation > 0)
    assert not eventually(lambda: follower.state() is None, 0.5)
    go_on.set()
    assert eventually(lambda: follower.state() is None)
    assert [name for name, *_ in follower.catalog.projects()] == ["foo"]
    follower.close()
    follower.catalog.connections.close()


@pytest.fixture
def watcher(roots: list[Path]) -> Iterator[Watcher]:
    watcher = Watcher(Folders(roots), threading.Event())
    watcher.start()
    if not watcher.is_running():
        pytest.skip("nothing can be watched here")
    yield watcher
    watcher.stop()


def test_the_hidden_files_of_uploads_wake_nobody(roots: list[Path], watcher: Watcher) -> None:
    (roots[0] / PART).write_bytes(b"half")
    assert eventually(lambda: watcher._changes.has_uploads)
    (roots[0] / PART).unlink()
    # Linux has a name even for files that have none.
    staged = watcher._folders.stage()
    staged.write(b"half")
    staged.discard()
    assert not watcher._wake.wait(0.1)
    (roots[0] / "bar-1.0.zip").write_bytes(b"")
    assert watcher._wake.wait(20)
    assert (0, "bar-1.0.zip") in watcher.take().files and not watcher.take().has_uploads


def test_the_end_of_a_download_is_a_change_of_the_file(roots: list[Path], watcher: Watcher) -> None:
    (roots[0] / f"{NAME}.aria2").write_bytes(b"pieces")
    assert eventually(lambda: (0, NAME) in watcher.take().files)
    (roots[0] / f"{NAME}.aria2").unlink()
    assert eventually(lambda: watcher.take().files == {(0, NAME)})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere closing a file is no event")
def test_a_file_that_is_copied_is_heard_of_when_it_comes_and_when_it_is_closed(
    roots: list[Path], watcher: Watcher
) -> None:
    with (roots[0] / "bar-1.0.zip").open("wb", buffering=0) as file:
        assert watcher._wake.wait(20)
        watcher.take()
        watcher._wake.clear()
        for _ in range(10):
            file.write(b"x")
        assert not watcher._wake.wait(0.2)
    assert watcher._wake.wait(20) and watcher.take().closed == {(0, "bar-1.0.zip")}


def test_a_folder_may_be_called_like_a_file_without_a_name(roots: list[Path], watcher: Watcher) -> None:
    (roots[0] / "#1").mkdir()
    assert watcher._wake.wait(20) and watcher.take_overflow()


def test_an_upload_is_told_to_the_catalog_once(serve: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.folder.indexer.UPLOAD_SECONDS", 60.0)
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
