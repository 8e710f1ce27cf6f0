"""Threads and locks of processes that hang, die or are cut."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pypiserver.backend.stored_file import ScanResult
from pypiserver.errors import Unavailable
from pypiserver.folder.indexer import FolderIndexer
from pypiserver.folder.scanner import SAY_EACH
from pypiserver.folder.storage import Folders
from pypiserver.server.granian_supervision import ATTEMPTS, supervise
from tests.unit import test_supervisor as unit
from tests.unit.waiting import eventually
from tests.unit.wsgi import Client

pytestmark = pytest.mark.live
roots = unit.roots
short = unit.short
watches = unit.watches


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round is old after a second, and the lock given away after half of one."""
    for name, seconds in {
        "supervisor.STALE_SECONDS": 1.0,
        "supervisor.LATE_SECONDS": 0.5,
        "folder.scan_thread.ALIVE_SECONDS": 0.5,
        "catalog.sqlite.leader_lock.ALIVE_SECONDS": 0.5,
        "catalog.sqlite.leader_lock.HEARTBEAT_SECONDS": 0.02,
    }.items():
        monkeypatch.setattr(f"pypiserver.{name}", seconds)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["hangs", "fails"])
def test_where_no_round_succeeds_everything_is_503_and_nothing_a_redirect(
    how: str, serve: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(fallback_url="https://elsewhere.example/simple")
    watch = client._application.backend.indexer  # type: ignore[attr-defined]
    assert eventually(lambda: client.get("/simple/unknown/").status == 302)
    tick, go_on = watch._tick, threading.Event()

    def broken() -> float:
        if how == "hangs":
            go_on.wait(60)
            return 0.0
        raise ValueError("unexpected")

    monkeypatch.setattr(watch, "_tick", broken)
    assert eventually(lambda: client.get("/simple/unknown/").status == 503)
    for path in ("/simple/unknown/", "/simple/", "/health", "/health/ready", "/packages/x-1.0.zip", "/"):
        # What is not here is doubtful at once, all else when no round has succeeded for a while.
        assert eventually(lambda path=path: client.get(path).status == 503), path  # type: ignore[misc]
    monkeypatch.setattr(watch, "_tick", tick)
    go_on.set()
    assert eventually(lambda: client.get("/health/ready").status == 200)
    assert eventually(lambda: client.get("/simple/unknown/").status == 302)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["hangs", "fails"])
def test_a_holder_that_does_not_get_on_gives_the_lock_to_another_process(
    how: str, roots: list[Path], watches: Callable[[], FolderIndexer], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, other = watches(), watches()
    holder.ensure_current()
    other.ensure_current()
    assert (holder._lock.is_held(), other._lock.is_held()) == (True, False)
    go_on = threading.Event()

    def broken(**_: object) -> None:
        if how == "hangs":
            go_on.wait(60)
        else:
            raise ValueError("unexpected")

    monkeypatch.setattr(holder.sync, "scan", broken)
    monkeypatch.setattr(holder.sync.folders, "check", broken)
    (roots[0] / "bar-1.0.zip").write_bytes(b"")
    assert eventually(lambda: other._lock.is_held() and not holder._lock.is_held())
    assert eventually(lambda: bool(other.catalog.rows_of("bar")))
    assert eventually(lambda: other.state() is None)
    go_on.set()


@pytest.mark.usefixtures("impatient")
def test_who_follows_a_process_that_is_stopped_as_a_whole_says_so(
    watches: Callable[[], FolderIndexer], tmp_path: Path, roots: list[Path]
) -> None:
    holder = watches()
    holder._tick()
    follower = watches()
    follower.start()
    keeps = threading.Event()
    beating = threading.Thread(target=lambda: [holder._touch() for _ in iter(lambda: keeps.wait(0.05), True)])
    beating.start()
    try:
        assert eventually(lambda: follower.state() is None)
        time.sleep(1.5)
        assert follower.state() is None, "its heartbeat is young"
    finally:
        keeps.set()
        beating.join()
    assert eventually(lambda: follower.state() is not None)
    with pytest.raises(Unavailable):
        follower.ensure_current()
    holder._beat()
    assert eventually(lambda: follower.state() is None)
    holder._lock.release()


def test_a_long_scan_says_that_it_gets_on(roots: list[Path], watches: Callable[[], FolderIndexer]) -> None:
    for number in range(3 * SAY_EACH):
        (roots[0] / f"foo-{number}.0.zip").touch()
    beats: list[float] = []
    watches().sync.telling(beats.append).scan()
    assert len(beats) >= 3
    beats.clear()
    list(Folders(roots).walk(ScanResult(get_on=lambda: beats.append(0.0)), first=(".asc",)))
    assert len(beats) >= 2, "what is read before the first entry is given"


READER = """
import sys, time
from pathlib import Path
from pypiserver.catalog.sqlite.change_counter import ChangeCounter
signal = ChangeCounter(Path(sys.argv[1]))
print("ready", flush=True)
until = time.monotonic() + 0.3
while time.monotonic() < until:
    signal.value()
    signal.change()
"""


def test_no_one_dies_when_the_signal_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "signal"
    command = [sys.executable, "-c", READER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        while process.poll() is None:
            with path.open("r+b") as file:
                file.truncate(0)
            time.sleep(0.001)
    assert process.returncode == 0


class Workers:
    """What :func:`supervise` sees of granian: workers that die when a test says so."""

    def __init__(self, count: int) -> None:
        self.interrupt_signal = False
        self.main_loop_interrupt = threading.Event()
        self.interrupt_children: list[int] = []
        self.is_alive = [True] * count
        self.wrks = [SimpleNamespace(is_alive=lambda at=at: self.is_alive[at]) for at in range(count)]
        self.replaced: list[list[int]] = []
        self.paused = 0.0

    def sleep(self, seconds: float) -> None:
        self.paused += seconds
        time.sleep(0.001)


@pytest.mark.parametrize("count", [1, 4])
def test_workers_are_replaced_however_often_they_die(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.server.granian_supervision.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("pypiserver.server.granian_supervision.LONGEST_PAUSE_SECONDS", 0.04)
    workers, served = Workers(count), threading.Event()
    served.set()

    def replace(dead: list[int]) -> None:
        workers.replaced.append(dead)
        if len(workers.replaced) > 10:
            workers.is_alive = [True] * count
            workers.interrupt_signal = True
        workers.main_loop_interrupt.set()

    workers.is_alive = [False] * count
    workers.main_loop_interrupt.set()
    supervise(workers, replace, served, sleep=workers.sleep)
    assert workers.replaced == [list(range(count))] * 11
    assert workers.paused > 0, "a loop of deaths takes no core"


def test_workers_that_die_before_any_served_end_the_server() -> None:
    workers = Workers(1)
    workers.is_alive = [False]
    workers.main_loop_interrupt.set()
    supervise(workers, workers.replaced.append, threading.Event(), sleep=workers.sleep)
    assert len(workers.replaced) == ATTEMPTS - 1
