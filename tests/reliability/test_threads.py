"""Threads that do not end and workers that come back: odd names, deaths, files cut from outside (P19, P39)."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.figures import inject
from tests.hostile import OPEN, ask, environ_for, eventually, every_server, listed, serving, sha256, wheel
from tests.live_server import LiveServer, pypi_server, running

FALLBACK = ("-P", ".", "-a", ".", "--fallback-url", "https://elsewhere.example/simple")
COUNTS = {"granian": 4, "waitress": 0, "gunicorn": 4}
WORKERS = {"granian": ("--workers", "4"), "waitress": (), "gunicorn": ("--workers", "4")}
# What a server does to itself when the file is there, from its second look on.
HARM = """
import os, threading, time
from pypiserver.folder.indexer import FolderIndexer
tick = FolderIndexer._tick
def harmed(watch):
    if os.path.exists({trigger!r}):
        if {how!r} == "ends":
            raise SystemExit
        time.sleep(3600)
    return tick(watch)
FolderIndexer._tick = harmed
"""

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc for the workers")


def workers_of(live: LiveServer) -> list[int]:
    """The processes that the server under test started."""
    found = Path(f"/proc/{live.process.pid}/task/{live.process.pid}/children").read_text().split()
    return [int(pid) for pid in found if (line := _command_line(pid)) and b"resource_tracker" not in line]


def _command_line(pid: str) -> bytes:
    """What a process was started with, nothing when it ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def ready(live: LiveServer) -> bool:
    try:
        return ask(live.url, "/health/ready", timeout=5).status == 200
    except (OSError, http.client.HTTPException):
        return False


def gone(pids: list[int]) -> bool:
    """Whether nothing is left of these processes.

    A process that was signalled answers until one of its threads sees that, and resets its connections then; some
    threads of a zombie may be left.
    """
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def cut(path: str) -> bool:
    """Empty a file; False while servers have deleted it and not made it again."""
    with contextlib.suppress(FileNotFoundError):
        os.truncate(path, 0)
        return True
    return False


@linux
@every_server
def test_a_name_that_is_not_utf8_affects_only_itself(server: str, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    first, data = wheel("first")
    (packages / first).write_bytes(data)
    with serving(tmp_path, *FALLBACK, *WORKERS[server], server=server) as live:
        assert listed(live.url, "first") == {first: sha256(data)}
        inject("file whose name is not UTF-8")
        inside = os.fsencode(packages)
        os.mkdir(inside + b"/fold\xe9r")
        (packages / "sub").mkdir()
        for name in (
            b"caf\xe9-1.0.tar.gz",
            b"sub/caf\xe9-1.0.tar.gz",
            first.encode() + b".\xe9.asc",
            b"fold\xe9r/a-1.zip",
        ):
            with open(inside + b"/" + name, "wb"):
                pass
        time.sleep(2)
        (packages / first).unlink()
        name, data = wheel("later")
        (packages / name).write_bytes(data)
        eventually(lambda: ask(live.url, "/simple/later/").status == 200)
        # The folder with such a name is left out, and may hold any project.
        eventually(lambda: ask(live.url, "/simple/first/").status == 503)
        os.unlink(inside + b"/fold\xe9r/a-1.zip")
        os.rmdir(inside + b"/fold\xe9r")
        eventually(lambda: ask(live.url, "/simple/first/").status == 302, seconds=30)
        for _ in range(20):
            assert listed(live.url, "later") == {name: sha256(data)}
            assert ready(live)
        assert "Traceback" not in live.output
        eventually(lambda: rf"Skipped caf\xe9-1.0.tar.gz in {packages}" in live.output)


@linux
@pytest.mark.parametrize("how", ["ends", "hangs"])
@every_server
def test_where_no_one_follows_changes_it_is_503_and_no_redirect(server: str, how: str, tmp_path: Path) -> None:
    """The thread of every process ends again and again, or hangs."""
    trigger, site = tmp_path / "trigger", tmp_path / "site"
    site.mkdir()
    (site / "harm.py").write_text(HARM.format(trigger=str(trigger), how=how))
    (site / "harm.pth").write_text("import harm\n")
    (site / "sitecustomize.py").write_text(f"import site; site.addsitedir({str(site)!r})\n")
    environ = environ_for(server, tmp_path)
    environ["PYTHONPATH"] = os.pathsep.join([str(site), environ["PYTHONPATH"]])
    (tmp_path / "packages").mkdir()
    command = pypi_server("--server", server, *FALLBACK, *WORKERS[server], tmp_path / "packages")
    with running(command, environ=environ, cwd=tmp_path) as live:
        assert ask(live.url, "/simple/private/").status == 302
        inject(f"thread that {how}")
        trigger.touch()
        eventually(lambda: ask(live.url, "/simple/private/").status == 503, seconds=40)
        time.sleep(6)
        for _ in range(20):
            for path in ("/simple/private/", "/simple/", "/health", "/health/ready"):
                assert ask(live.url, path).status == 503, path
        if how == "ends":
            trigger.unlink()
            eventually(lambda: all(ready(live) for _ in range(20)))
            assert ask(live.url, "/simple/private/").status == 302


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS])
@pytest.mark.parametrize(("server", "count"), [("granian", 1), ("granian", 4), ("gunicorn", 1), ("gunicorn", 4)])
def test_workers_that_die_twice_within_five_seconds_come_back(
    server: str, count: int, number: signal.Signals, tmp_path: Path
) -> None:
    with serving(tmp_path, *OPEN, "--workers", str(count), server=server) as live:
        killed: list[int] = []
        for _ in range(3):
            eventually(lambda: gone(killed) and len(workers_of(live)) == count and ready(live))
            killed[:] = workers_of(live)
            for pid in killed:
                inject(f"{number.name} of a worker")
                os.kill(pid, number)
        eventually(lambda: gone(killed) and ready(live), seconds=30)
        name, data = wheel("after")
        (tmp_path / "packages" / name).write_bytes(data)
        eventually(lambda: listed(live.url, "after") == {name: sha256(data)})


@linux
@every_server
def test_no_one_dies_when_the_signal_is_cut_under_load(server: str, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.sqlite"
    with ExitStack() as stack:
        live = stack.enter_context(serving(tmp_path, *OPEN, *WORKERS[server], "--catalog", catalog, server=server))
        eventually(lambda: ready(live) and len(workers_of(live)) == COUNTS[server])
        before, over, failed = workers_of(live), threading.Event(), []

        def load() -> None:
            while not over.is_set():
                if ask(live.url, "/simple/").status != 200:
                    failed.append(1)

        readers = [threading.Thread(target=load) for _ in range(3)]
        stack.callback(lambda: [reader.join() for reader in readers])
        stack.callback(over.set)
        for reader in readers:
            reader.start()
        for number in range(5):
            for _ in range(20):
                inject("signal file cut")
                os.truncate(f"{catalog}.signal", 0)
                time.sleep(0.02)
            name, data = wheel("seen", f"{number}.0")
            (tmp_path / "packages" / name).write_bytes(data)
            eventually(lambda name=name: name in listed(live.url, "seen"))  # type: ignore[misc]
        assert workers_of(live) == before and live.process.poll() is None
        assert not failed


@linux
@pytest.mark.parametrize(("server", "count"), [("granian", 1), ("granian", 4), ("gunicorn", 4)])
def test_workers_come_back_when_the_shared_memory_of_the_catalog_is_cut(
    server: str, count: int, tmp_path: Path
) -> None:
    catalog = tmp_path / "catalog.sqlite"
    with serving(tmp_path, *OPEN, "--workers", str(count), "--catalog", catalog, server=server) as live:
        eventually(lambda: ready(live))
        for number in range(3):
            inject("shared memory of SQLite cut")
            eventually(lambda: cut(f"{catalog}-shm"))
            name, data = wheel("seen", f"{number}.0")
            (tmp_path / "packages" / name).write_bytes(data)

            def shows(name: str = name) -> bool:
                try:
                    return name in listed(live.url, "seen")
                except (OSError, http.client.HTTPException, AssertionError):
                    return False

            eventually(shows, seconds=40)
        eventually(lambda: ready(live), seconds=30)
        assert live.process.poll() is None
