"""Loops that continue, rounds that are young or old, and the lock that a process gives away when it does not get on."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pypiserver import supervisor
from pypiserver.catalog.sqlite.change_counter import ChangeCounter
from pypiserver.folder.indexer import FolderIndexer
from pypiserver.server import contract
from pypiserver.supervisor import Loop, Pulse, once
from tests.make_archives import make_wheel

from .folder.watched_folders import make_watch
from .waiting import eventually
from .wsgi import Client

ODD = b"caf\xe9-1.0.tar.gz"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    # A loop that failed collects garbage: not among what all tests before made, which takes a tenth of a second.
    gc.freeze()
    supervisor._said.clear()
    for name, seconds in {
        "supervisor.FIRST_PAUSE_SECONDS": 0.001,
        "supervisor.LONGEST_PAUSE_SECONDS": 0.01,
        "backend.service.GUARD_SECONDS": 0.02,
        "backend.service.YIELD_SECONDS": 0.5,
        "folder.scan_thread.TICK_SECONDS": 0.02,
        "folder.scan_thread.POLL_SECONDS": 0.05,
    }.items():
        monkeypatch.setattr(f"pypiserver.{name}", seconds)


# -- loops -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, RuntimeError, MemoryError, RecursionError, AssertionError])
def test_a_loop_continues_whatever_it_raises_and_says_it_once(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    closing, rounds, told = threading.Event(), [], []

    def work() -> None:
        rounds.append(1)
        raise error("unexpected")

    loop = Loop("some", work, closing=closing, failed=told.append)
    loop.start()
    assert eventually(lambda: len(rounds) > 5)
    assert loop.is_alive()
    closing.set()
    loop.join(5)
    assert len(told) == len(rounds)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_who_is_told_of_a_failure_may_fail_too() -> None:
    closing, rounds = threading.Event(), []

    def work() -> None:
        rounds.append(1)
        raise ValueError

    loop = Loop("some", work, closing=closing, failed=lambda error: 1 / 0)
    loop.start()
    assert eventually(lambda: len(rounds) > 5)
    closing.set()
    loop.join(5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_all_the_same_is_begun_again() -> None:
    closing, ended, rounds = threading.Event(), threading.Event(), []

    def work() -> None:
        rounds.append(1)
        if len(rounds) == 1:
            raise SystemExit
        closing.wait()

    loop = Loop("some", work, closing=closing, ended=ended.set)
    loop.start()
    assert ended.wait(5) and eventually(lambda: not loop.is_alive())
    assert loop.start() and eventually(lambda: len(rounds) == 2)
    closing.set()
    loop.join(5)


def test_without_an_available_thread_the_next_call_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    loop = Loop("some", lambda: None)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none)
        assert not loop.start() and not loop.is_alive()
        assert not once("other", lambda: None)
    assert loop.start()
    loop.join(5)
    assert loop.is_alive(), "what is done needs no beginning"


def test_work_that_runs_once_and_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    once("some", lambda: 1 / 0)
    assert eventually(lambda: "ZeroDivisionError" in caplog.text)


def test_a_pulse_is_late_then_stale_and_patience_moves_both() -> None:
    now = [0.0]
    pulse = Pulse(clock=lambda: now[0])
    seen = []
    for now[0], beat in ((9.0, None), (11.0, None), (16.0, 100.0), (110.0, None), (127.0, None), (132.0, 0.0)):
        seen.append((pulse.is_late(), pulse.is_stale(), now[0] > pulse.until))
        if beat is not None:
            pulse.beat(beat)
    late, stale = (True, False, False), (True, True, True)
    assert seen == [(False, False, False), late, stale, (False, False, False), late, stale]
    assert not pulse.is_stale()
    pulse.call()
    assert pulse.until == 0.0
    pulse.restore()
    assert pulse.until == 132.0 + supervisor.STALE_SECONDS


# -- old rounds and the lock ------------------------------------------------------------------------------------------


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    root = tmp_path / "packages"
    root.mkdir()
    name, data = make_wheel("foo", "1.0")
    (root / name).write_bytes(data)
    return [root]


@pytest.fixture
def watches(roots: list[Path], tmp_path: Path) -> Iterator[Callable[[], FolderIndexer]]:
    made: list[FolderIndexer] = []

    def make() -> FolderIndexer:
        made.append(make_watch(roots, tmp_path))
        return made[-1]

    yield make
    for watch in made:
        watch.close()
        watch.catalog.connections.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_was_ended_is_begun_again_by_the_next_request(
    roots: list[Path], watches: Callable[[], FolderIndexer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypiserver.backend.service.GUARD_SECONDS", 1000.0)
    watch = watches()
    watch.ensure_current()
    tick, dead = watch._tick, threading.Event()

    def end() -> float:
        dead.set()
        raise SystemExit

    monkeypatch.setattr(watch, "_tick", end)
    assert dead.wait(5) and eventually(lambda: not watch._threads[0].is_alive())
    monkeypatch.setattr(watch, "_tick", tick)
    watch.ensure_current()
    assert watch._threads[0].is_alive()
    (roots[0] / "bar-1.0.zip").write_bytes(b"")
    assert eventually(lambda: bool(watch.catalog.rows_of("bar")))


def test_a_heartbeat_comes_from_rounds_that_succeed_and_from_nothing_else(
    watches: Callable[[], FolderIndexer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watches()
    watch._tick()
    monkeypatch.setattr("pypiserver.catalog.sqlite.leader_lock.HEARTBEAT_SECONDS", 0.0)
    watch._lock._next_touch = 0.0  # type: ignore[union-attr]

    def beat() -> bool:
        os.utime(tmp_path / "lock", (1000, 1000))
        watch._tick()
        return (tmp_path / "lock").stat().st_mtime > 1000

    assert beat()
    watch._next_scan = time.monotonic() + 1000
    with monkeypatch.context() as patched:
        patched.setattr(watch.sync.folders, "check", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            beat()
        assert (tmp_path / "lock").stat().st_mtime == 1000
    assert beat()
    watch._lock.release()


# -- names that are no text -------------------------------------------------------------------------------------------


def odd_files(root: Path) -> None:
    """Every kind of file and folder whose name is not UTF-8."""
    inside = os.fsencode(root)
    wheel, data = make_wheel("hidden", "1.0")
    (root / ".status").mkdir(exist_ok=True)
    (root / "sub").mkdir(exist_ok=True)
    os.mkdir(inside + b"/fold\xe9r")
    for name in (
        ODD, b"sub/" + ODD, ODD + b".asc", ODD + b".yanked", b"sub/" + ODD + b".provenance", b".status/caf\xe9",
        b"fold\xe9r/" + wheel.encode(), wheel.encode() + b".\xe9",
    ):  # fmt: skip
        with open(inside + b"/" + name, "wb") as file:
            file.write(data if name.startswith(b"fold") else b"")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("events", [True, False])
def test_a_name_that_is_not_utf8_affects_only_itself(
    events: bool, roots: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = make_watch(roots, tmp_path)
    watch._use_events = events
    watch.ensure_current()
    odd_files(roots[0])
    name, data = make_wheel("late", "1.0")
    (roots[0] / "sub" / name).write_bytes(data)
    os.utime(roots[0] / "sub" / name, (1_600_000_000, 1_600_000_000))
    assert eventually(lambda: [file.filename for file in watch.catalog.files_of("late")] == [name])
    watch._next_scan = 0.0
    watch._wake.set()
    for shown in (
        rf"sub/caf\xe9-1.0.tar.gz in {roots[0]}: its name",
        r"Skipped .status/caf\xe9 in",
        r"Skipped fold\xe9r",
    ):
        assert eventually(lambda shown=shown: shown in caplog.text), shown  # type: ignore[misc]
    assert watch.sync.refresh([(0, os.fsdecode(ODD))]) == set()
    assert watch.state() is None and watch._threads[0].is_alive()
    assert not [record for record in caplog.records if record.exc_info]
    watch.close()
    watch.catalog.connections.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_folder_whose_name_is_not_utf8_is_served(
    tmp_path: Path, serve: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    # Our handlers clean what they write; pytest-xdist cannot send what pytest keeps of it.
    caplog.set_level(logging.CRITICAL, "pypiserver")
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/pack\xe9ges"))
    root.mkdir()
    name, data = make_wheel("foo", "1.0")
    (root / name).write_bytes(data)
    client = serve(roots=[root])
    assert name in client.get("/simple/foo/").text
    root.rename(tmp_path / "away")
    assert eventually(lambda: client.get("/simple/foo/").status == 503)


# -- the signal, and workers that die ---------------------------------------------------------------------------------


def test_a_signal_that_was_cut_or_deleted_is_no_answer_and_then_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypiserver.catalog.sqlite.change_counter.AGAIN_SECONDS", 0.0)
    path = tmp_path / "signal"
    one, two = ChangeCounter(path), ChangeCounter(path)
    before = one.value()
    assert before is not None and before == two.value()
    with path.open("r+b") as file:
        file.truncate(3)
    assert one.value() is None
    after = one.value()
    assert after is not None and after != before and after == two.value()
    path.unlink()
    one.change()
    assert two.value() != after, "who opened the old file is told, too"
    three = ChangeCounter(path)
    assert three.value() == one.value() is not None
    three.change()
    assert three.value() == one.value()


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("_granian", logging.WARNING, "", 0, message, None, None)


def test_a_reload_that_fails_in_gunicorns_main_loop_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("gunicorn")
    from pypiserver.server import run_gunicorn

    settings: dict[str, Any] = {}

    class Server:
        def __init__(self, application: object, given: dict[str, Any], shutdown: object) -> None:
            settings.update(given)

        def run(self) -> None:
            """Nothing is served."""

    def failing() -> None:
        raise MemoryError

    monkeypatch.setattr(run_gunicorn, "_Server", Server)
    before = signal.getsignal(signal.SIGTERM)
    with contract.reserved("127.0.0.1", 0) as listening:
        hooks = contract.Hooks(lambda: None, failing)
        run_gunicorn.serve(lambda again=False: lambda environ, start: [], contract.Options(), listening, hooks)
    # From there on the socket is gunicorn's, which closes it.
    os.close(int(settings["bind"].removeprefix("fd://")))
    arbiter = SimpleNamespace(signal=lambda *_: None, handle_term=lambda: None, end_at_once=lambda: None)
    interrupted = signal.getsignal(signal.SIGINT)
    try:
        settings["when_ready"](arbiter)
        arbiter.handle_hup()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupted)
    assert "nothing was reloaded" in caplog.text
