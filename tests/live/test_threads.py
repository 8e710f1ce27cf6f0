"""Every call of every thread fails once; changes still show, and the threads live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pypiserver
from pypiserver.backend.digester import Digester
from pypiserver.catalog import Catalog
from pypiserver.catalog.sqlite.leader_lock import FileLeaderLock
from pypiserver.folder.indexer import FolderIndexer
from pypiserver.folder.scanner import FolderScanner
from pypiserver.folder.storage import Folders
from tests.make_archives import make_wheel
from tests.unit.injection import Injector
from tests.unit.waiting import eventually
from tests.unit.wsgi import Client

pytestmark = pytest.mark.live
# What reads archives, and what it asks of libraries.
ARCHIVES = tuple(
    f"pypiserver.{name}."
    for name in (
        "distributions.archive_limits",
        "distributions.archive_checks",
        "distributions.archive_reader",
        "distributions.tar_headers",
        "distributions.decompression",
        "distributions.zip_directory",
        "distributions.zip_consistency",
    )
)
ERRORS = (ValueError, RuntimeError, MemoryError)
# Within so many seconds a change shows, whatever happened (P39).
SECONDS = 15.0
SHORT = {
    "pypiserver.folder.scan_thread.TICK_SECONDS": 0.01,
    "pypiserver.folder.scan_thread.POLL_SECONDS": 0.02,
    "pypiserver.folder.scan_thread.RESCAN_SECONDS": 0.05,
    "pypiserver.folder.scan_thread.UPLOAD_SECONDS": 0.0,
    "pypiserver.supervisor.FIRST_PAUSE_SECONDS": 0.001,
    "pypiserver.supervisor.LONGEST_PAUSE_SECONDS": 0.01,
    "pypiserver.backend.service.GUARD_SECONDS": 0.02,
    "pypiserver.folder.fs_events.REVIVE_SECONDS": 0.02,
}


class Shop:
    """A watched folder in which one wheel replaces another, again and again."""

    def __init__(self, home: Path) -> None:
        self.root = home / "packages"
        self.root.mkdir(parents=True)
        folders = Folders([self.root])
        self.catalog = Catalog(home / "catalog.sqlite", "")
        digester = Digester(folders, self.catalog, hash_algo="sha256")
        lock = FileLeaderLock(home / "lock")
        self.watch = FolderIndexer(FolderScanner(folders, self.catalog), digester, self.catalog, lock=lock)
        self._number = 0
        self._name = ""
        self.change()

    def change(self) -> None:
        """A new file, the last one removed, and another status of the project."""
        before, self._number = self._name, self._number + 1
        self._name, data = make_wheel("foo", f"{self._number}.0")
        (self.root / ".status").mkdir(exist_ok=True)
        (self.root / ".status" / "foo").write_text(("archived", "deprecated")[self._number % 2])
        (self.root / "sub").mkdir(exist_ok=True)
        (self.root / "sub" / self._name).write_bytes(data)
        if before:
            (self.root / "sub" / before).unlink()

    def shows(self) -> bool:
        """Whether the index shows the folder as it is now, with digests, and is ready."""
        if self.watch.state():
            return False
        files = self.catalog.files_of("foo")
        return [(file.filename, bool(file.sha256)) for file in files] == [(self._name, True)]

    def close(self) -> None:
        self.watch.close()
        self.catalog.connections.close()


@pytest.fixture
def injector(monkeypatch: pytest.MonkeyPatch) -> Injector:
    for name, seconds in SHORT.items():
        monkeypatch.setattr(name, seconds)
    return Injector(monkeypatch)


@pytest.fixture
def shops(tmp_path: Path) -> Iterator[Callable[[], Shop]]:
    made: list[Shop] = []

    def make() -> Shop:
        made.append(Shop(tmp_path / str(len(made))))
        return made[-1]

    yield make
    for shop in made:
        shop.close()


def called_while(injector: Injector, shop: Shop, changes: int) -> list[str]:
    """What background threads call while files change."""
    injector.calls.clear()
    for _ in range(changes):
        shop.change()
        assert eventually(shop.shows, SECONDS)
    return sorted(injector.calls)


# A call that fails in a thread of watchdog ends that one, which is begun again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", ERRORS)
def test_whichever_call_of_a_running_loop_fails_changes_show_and_the_threads_live(
    error: type[Exception], injector: Injector, shops: Callable[[], Shop]
) -> None:
    shop = shops()
    shop.watch.ensure_current()
    labels = called_while(injector, shop, 3)
    assert len(labels) > 60, labels
    missed = []
    for label in labels:
        injector.arm(label, error(f"made to fail in {label}"))
        fired = False
        for _ in range(3):
            shop.change()
            # Whatever reading an archive raises is a fault of that archive, which is not read again.
            if not label.startswith(ARCHIVES):
                assert eventually(shop.shows, SECONDS), (label, shop.watch.state())
            if fired := injector.fired.wait(0.02):
                break
        injector.disarm()
        # What failed last may have made a look at everything necessary.
        shop.change()
        assert eventually(shop.shows, SECONDS), (label, shop.watch.state())
        assert all(loop.is_alive() for loop in shop.watch._threads), label
        missed += [] if fired else [label]
    assert len(missed) < len(labels) / 4, missed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", ERRORS)
def test_whichever_call_of_a_beginning_loop_fails_the_index_is_there(
    error: type[Exception], injector: Injector, shops: Callable[[], Shop]
) -> None:
    first = shops()
    first.watch.start()
    assert eventually(first.shows, SECONDS)
    before = set(injector.calls)
    injector.calls.clear()
    called_while(injector, first, 2)
    # Those that continue being called are made to fail by the test above.
    for label in sorted(before - set(injector.calls)):
        shop = shops()
        injector.arm(label, error(f"made to fail in {label}"))
        shop.watch.start()
        assert eventually(shop.shows, SECONDS), (label, shop.watch.state())
        injector.disarm()
        assert all(loop.is_alive() for loop in shop.watch._threads), label
        shop.close()


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    pytest.importorskip("obstore")
    monkeypatch.setattr("pypiserver.bucket.indexer.TICK_SECONDS", 0.01)
    monkeypatch.setattr("pypiserver.bucket.indexer.STATUS_SECONDS", 0.0)
    monkeypatch.setattr("pypiserver.bucket.indexer.RETRY_SECONDS", 0.02)
    (tmp_path / "bucket").mkdir()
    open_to_all = {"password_file": ".", "authenticate": ".", "disable_fallback": True}
    application = pypiserver.app(
        storage=f"file://{tmp_path}/bucket", catalog=str(tmp_path / "bucket.sqlite"), **open_to_all
    )
    yield Client(application)
    application.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", ERRORS)
def test_whichever_call_of_the_thread_of_a_bucket_fails_it_continues(
    error: type[Exception], bucket: Client, injector: Injector, tmp_path: Path
) -> None:
    watch = bucket._application.backend.indexer  # type: ignore[attr-defined]
    status = tmp_path / "bucket" / "status" / "foo"
    assert bucket.upload(*make_wheel("foo", "1.0")).status == 200
    status.parent.mkdir(exist_ok=True)

    def follows(word: str) -> bool:
        status.write_text(word)
        catalog = bucket._application.backend.catalog  # type: ignore[attr-defined]
        return eventually(lambda: catalog.project_state("foo")[1].status == word, SECONDS)

    assert follows("archived")
    labels = sorted(injector.calls)
    assert len(labels) > 20, labels
    for label in labels:
        injector.arm(label, error(f"made to fail in {label}"))
        assert follows("deprecated") and follows("archived"), label
        injector.disarm()
        assert eventually(lambda: watch.state() is None, SECONDS), (label, watch.state())
        assert all(loop.is_alive() for loop in watch._threads), label
