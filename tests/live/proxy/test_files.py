"""Files through a real server, from an index that does everything wrong."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypiserver.proxy.transfer import HELD_BYTES
from tests.fake_upstream import FakeUpstream, noise, upstream
from tests.live_server import LiveServer

from ...reliability.disks import reason_against, serving_on_disk
from .servers import get, growing, opened, proxying, together, visible

pytestmark = pytest.mark.live
SIZE = 400_000
SERVERS = ("granian", "waitress", "gunicorn")
# What the upstream does with a file: the first is of an honest one.
CUTS = {f"cut after {at}": {"cut_after": at} for at in (0, 1, 1000, SIZE // 2, SIZE - HELD_BYTES - 1, SIZE - 1)}
WRONG: dict[str, dict[str, Any]] = {
    **CUTS,
    "reset": {"cut_after": SIZE // 2, "reset": True},
    "first byte": {"corrupt_at": 0},
    "a byte in the middle": {"corrupt_at": SIZE // 2},
    "last byte": {"corrupt_at": -1},
    "more bytes": {"pad": b"more"},
    "too short a length": {"length": 1000},
    "too long a length": {"length": SIZE * 2},
    "no length, cut": {"length": None, "cut_after": SIZE // 2},
    "chunked, cut": {"chunked": 10_000, "cut_after": SIZE // 2},
    "another file": {"body": noise(SIZE)},
    "a page": {"body": b"<html>log in</html>", "headers": {"Content-Type": "text/html"}},
    "nothing": {"body": b""},
    "hangs up": {"hang_up": True},
    "error": {"status": 500},
    "no HTTP": {"raw": b"\0" * 100},
}
RIGHT: dict[str, dict[str, Any]] = {
    "as it is": {},
    "chunked": {"chunked": 10_000},
    "no length": {"length": None},
    "coded": {"coding": "gzip"},
    "coded, chunked": {"coding": "deflate", "chunked": 7_000},
    "a coding that is only said": {"claims_coding": "gzip"},
    "another type": {"headers": {"Content-Type": "text/html"}},
    "slowly": {"bytes_per_second": 1_000_000},
}


@pytest.fixture(scope="module")
def up() -> Iterator[FakeUpstream]:
    with upstream() as index:
        yield index


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, up: FakeUpstream, tmp_path_factory: Any
) -> Iterator[tuple[LiveServer, Path]]:
    home = tmp_path_factory.mktemp("home")
    with proxying(up, home, "--server", request.param, "--cache-fresh", "1s") as live:
        yield live, home / "cache"


def eventually(is_so: Callable[[], object]) -> None:
    """A file gets its name a moment after its last reader has it."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kept(cache: Path, filename: str) -> Path:
    found: list[Path] = []

    def look() -> bool:
        found[:] = [path for path in visible(cache) if path.name == filename]
        return bool(found)

    eventually(look)
    return found[0]


def sdist(up: FakeUpstream, server: tuple[LiveServer, Path], number: int, size: int = SIZE) -> Any:
    """A file of its own for each test; its bytes do not matter where its page has the hash."""
    name = f"raven{hashlib.sha256(str(server[0].url).encode()).hexdigest()[:8]}x{number}"
    return up.add(name, f"{name}-1.0.tar.gz", noise(size - 8) + number.to_bytes(8, "big"))


@pytest.mark.parametrize("wrong", WRONG)
def test_nothing_wrong_is_kept_or_given_whole(up: FakeUpstream, server: tuple[LiveServer, Path], wrong: str) -> None:
    live, cache = server
    file = sdist(up, server, 100 + list(WRONG).index(wrong))
    up.spoil(file.path, **WRONG[wrong])
    for _ in range(3):
        got = get(live, file.path)
        assert not (got.status == 200 and got.is_whole), "a wrong file looks like a whole one"
        assert len(got.body) <= SIZE - HELD_BYTES or got.status != 200
    assert [path.name for path in visible(cache) if path.name.startswith(file.filename)] == []
    up.heal()
    is_remembered = got.status == 502 and up.count(file.path) < 3
    if not is_remembered:
        assert get(live, file.path).body == file.data


@pytest.mark.parametrize("right", RIGHT)
def test_what_is_right_comes_however_it_is_sent(up: FakeUpstream, server: tuple[LiveServer, Path], right: str) -> None:
    live, cache = server
    file = sdist(up, server, 200 + list(RIGHT).index(right))
    up.spoil(file.path, **RIGHT[right])
    got = get(live, file.path)
    up.heal()
    assert (got.status, got.body == file.data, got.headers["etag"]) == (200, True, f'"{file.sha256}"')
    assert got.headers["content-length"] == str(SIZE)
    again = get(live, file.path)
    assert (again.body == file.data, again.headers["etag"], up.count(file.path)) == (True, got.headers["etag"], 1)
    assert kept(cache, file.filename).read_bytes() == file.data


def test_ranges_and_head(up: FakeUpstream, server: tuple[LiveServer, Path]) -> None:
    live, _ = server
    file = sdist(up, server, 300, 3 << 20)
    head = get(live, file.path, "HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(3 << 20), b"")
    assert up.count(file.path) == 0
    tail = get(live, file.path, Range="bytes=-10000")
    assert (tail.status, tail.body) == (206, file.data[-10_000:])
    assert [each.headers.get("range") for each in up.seen if each.path == file.path] == ["bytes=3135728-3145727"]
    # A long one comes from the file, which is fetched whole.
    rest = get(live, file.path, Range="bytes=1000000-")
    assert (rest.status, rest.body == file.data[1_000_000:]) == (206, True)
    assert get(live, file.path, Range="bytes=5-9").body == file.data[5:10]
    assert up.count(file.path) == 2
    assert get(live, file.path, If_None_Match=rest.headers["etag"]).status == 304


def test_an_index_without_ranges(up: FakeUpstream, server: tuple[LiveServer, Path]) -> None:
    live, _ = server
    file = sdist(up, server, 301, 3 << 20)
    up.ranges = False
    try:
        assert get(live, file.path, Range="bytes=-10000").body == file.data[-10_000:]
    finally:
        up.ranges = True
    assert get(live, file.path).body == file.data
    assert up.count(file.path) == 2


def test_a_slow_index_stops_no_one_else(up: FakeUpstream, server: tuple[LiveServer, Path]) -> None:
    live, _ = server
    # The first request of a process imports what asks indexes, while all others wait.
    assert get(live, sdist(up, server, 303).path).status == 200
    file = sdist(up, server, 302)
    with up.held(file.path, after=1000) as gate:
        threads = [threading.Thread(target=get, args=(live, file.path)) for _ in range(30)]
        for thread in threads:
            thread.start()
        up.wait_for(file.path)
        got = get(live, "/simple/", timeout=30)
        assert got.status == 200, got.error
        gate.set()
        for thread in threads:
            thread.join()
    assert get(live, file.path).body == file.data
    assert up.count(file.path) == 1


def test_clients_of_a_file_that_stalls_stop_no_other_download(up: FakeUpstream, tmp_path: Path) -> None:
    kept_file, file = (
        up.add("robin", f"robin-{number}.0.tar.gz", noise(1 << 20) + bytes([number])) for number in (1, 2)
    )
    # Of waitress and gunicorn each client holds a thread.
    with proxying(up, tmp_path, "--server", "granian") as live, contextlib.ExitStack() as stack:
        assert get(live, kept_file.path).body == kept_file.data
        kept(tmp_path / "cache", kept_file.filename)
        stack.enter_context(up.held(file.path, after=200_000))
        clients = [stack.enter_context(opened(live, file.path)) for _ in range(60)]
        # All are answered, and wait for more.
        assert [client.read(1000) == file.data[:1000] for client in clients] == [True] * 60
        assert get(live, kept_file.path, timeout=30).body == kept_file.data
        up.heal()
        assert [client.read() == file.data[1000:] for client in clients] == [True] * 60


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("mode", ["cache", "proxy"])
def test_fifty_clients_of_a_cold_file_ask_once(tmp_path: Path, workers: int, mode: str) -> None:
    size = 100 << 20
    with upstream() as up, proxying(up, tmp_path, "--workers", str(workers), mode=mode) as live:
        file = up.add("raven", "raven-1.0.tar.gz", noise(size))
        up.spoil(file.path, wait_after=1000)
        answers: list[bool] = []
        threads = [
            threading.Thread(target=lambda: answers.append(get(live, file.path, timeout=300).body == file.data))
            for _ in range(50)
        ]
        for thread in threads:
            thread.start()
        up.wait_for(file.path)
        # All of them are here by the time that the rest comes.
        time.sleep(1.5)
        up.heal()
        for thread in threads:
            thread.join()
        assert (answers.count(True), up.count(file.path)) == (50, 1)
        if mode == "cache":
            kept(tmp_path / "cache", file.filename)
        eventually(lambda: not growing(tmp_path / "cache"))
        assert len(visible(tmp_path / "cache")) == (mode == "cache")


def test_a_kept_file_is_there_without_the_index_and_after_a_restart(tmp_path: Path) -> None:
    with upstream() as up:
        file = up.add_wheel("raven", "1.0")
        with proxying(up, tmp_path) as live:
            assert get(live, file.path).body == file.data
            assert get(live, f"{file.path}.metadata").body == file.metadata
        up.stop()
        with proxying(up, tmp_path) as live:
            assert get(live, file.path).body == file.data
            assert get(live, f"{file.path}.metadata").body == file.metadata
            assert get(live, file.path, "HEAD").headers["content-length"] == str(len(file.data))
        up.start()


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_leaves_nothing_half(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with upstream() as up:
        files = [up.add(f"raven{n}", f"raven{n}-1.0.tar.gz", noise(2 << 20) + bytes([n])) for n in range(6)]
        for round_number in range(4):
            with proxying(up, tmp_path, "--workers", "2") as live:
                up.spoil("/packages/*", bytes_per_second=8_000_000)
                threads = [
                    threading.Thread(target=get, args=(live, file.path), kwargs={"timeout": 20}) for file in files
                ]
                for thread in threads:
                    thread.start()
                time.sleep(chance.uniform(0.05, 0.8))
                os.killpg(live.process.pid, signal.SIGKILL)
                live.process.wait()
                for thread in threads:
                    thread.join()
            up.heal()
            for path in visible(tmp_path / "cache"):
                (file,) = [each for each in files if each.filename == path.name]
                assert path.read_bytes() == file.data, f"round {round_number}, seed {seed}"
        with proxying(up, tmp_path) as live:
            for file in files:
                assert get(live, file.path).body == file.data
            eventually(lambda: not growing(tmp_path / "cache"))


@pytest.mark.skipif(bool(reason_against()), reason="no file system of its own")
def test_a_full_disk_serves_on_and_keeps_nothing(tmp_path: Path) -> None:
    with upstream() as up:
        small = up.add("wren", "wren-1.0.tar.gz", noise(100_000))
        # The page says no size, so that it is found out while it is written.
        large = up.add("raven", "raven-1.0.tar.gz", noise(30 << 20), size=None)
        known = up.add("robin", "robin-1.0.tar.gz", noise(30 << 20) + b"x")
        cache = tmp_path / "cache"
        flags = ("--fallback-mode", "cache", "--cache-folder", cache, "--fallback-url", up.url, "-a", ".", "-P", ".")
        with serving_on_disk(tmp_path, *flags, size="24m", disk="cache") as disk:
            live = disk.live
            assert get(live, small.path).body == small.data
            for file in (large, known):
                for got in together(4, lambda _, file=file: get(live, file.path)):
                    assert got.body == file.data
            assert get(live, small.path).body == small.data
            assert up.count(small.path) == 1
            assert "is not kept" in live.output
