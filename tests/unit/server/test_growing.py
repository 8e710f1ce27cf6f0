"""Bodies that grow, and requests that wait for what is under way, hold no thread under RSGI."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pypiserver.observability.request_events import Observers, observe
from pypiserver.server.rsgi import Adapter

from ..proxy.sites import FakeResponse, Site, remote
from ..proxy.test_files import settled
from ..rsgi import Headers, Protocol, Scope

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="paths of descriptors are Linux's")
DATA = os.urandom(1_500_000)
READERS = 50


class Noting:
    """An observer, as the access log is one: with it, bodies are counted while they are sent."""

    def note(self, environ: dict[str, Any], took: int, sent: int) -> int:
        return sent

    def again(self, environ: dict[str, Any], sent: int) -> Callable[[int], int]:
        return lambda took: sent

    def observe(self, notes: Sequence[Any]) -> None:
        pass

    def close(self) -> None:
        pass


class Gates:
    """A response that stops twice: before its head, and in its middle."""

    def __init__(self) -> None:
        self.head, self.middle = threading.Event(), threading.Event()

    def answer(self, url: str, headers: Mapping[str, str]) -> FakeResponse:
        self.head.wait(10)

        def blocks() -> Iterable[bytes]:
            yield DATA[:500_000]
            self.middle.wait(10)
            yield DATA[500_000:]

        return FakeResponse(200, {"content-length": str(len(DATA))}, blocks)  # type: ignore[arg-type]


async def eventually(is_so: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never happens")


def test_fifty_readers_of_a_slow_fetch_hold_no_thread(tmp_path: Path) -> None:
    gates = Gates()
    site = Site(tmp_path, gates.answer)
    path = "/packages/" + site.add(remote("raven-1.0.tar.gz", DATA)).path
    observers = Observers([Noting()])
    application = observe(site.application(), observers)
    inside = 0

    def counted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        nonlocal inside
        inside += 1
        try:
            if environ["PATH_INFO"] == "/other":
                start_response("200 OK", [])
                return [b"there"]
            return application(environ, start_response)  # type: ignore[no-any-return]
        finally:
            inside -= 1

    async def ask() -> list[Protocol]:
        adapter = Adapter(counted, threads=2)
        adapter.__rsgi_init__(asyncio.get_running_loop())
        readers = [Protocol() for _ in range(READERS)]

        def scope(client: int, path: str) -> Scope:
            return Scope(path=path, client=f"127.0.0.1:{client}", headers=Headers([]))

        tasks = [
            asyncio.ensure_future(adapter.__rsgi__(scope(1000 + number, path), each))
            for number, each in enumerate(readers)
        ]
        # All wait for the head; then in the middle of the body. Each time both threads are free.
        await eventually(lambda: bool(site.client.asked) and len(waiting(site)) == READERS)
        assert await answers_others(adapter, scope)
        gates.head.set()
        await eventually(lambda: all(each.status == 200 for each in readers))
        await eventually(lambda: len(waiting(site)) == READERS)
        assert (inside, len(adapter._pool._threads)) == (0, 2)
        assert await answers_others(adapter, scope)
        gates.middle.set()
        await asyncio.gather(*tasks)
        for each in readers:
            each.disconnected.set()
        return readers

    async def answers_others(adapter: Adapter, scope: Callable[[int, str], Scope]) -> bool:
        other = Protocol()
        await asyncio.wait_for(adapter.__rsgi__(scope(5, "/other"), other), 5)
        return other.body == b"there"

    for each in asyncio.run(ask()):
        each.finish()
        assert each.body == DATA
    observers.close()
    assert len(site.client.asked) == 1


def waiting(site: Site) -> list[object]:
    """Who waits for the file."""
    return [call for transfer in list(site.files._transfers.values()) for call in transfer._waiters._calls]


def test_a_body_that_fails_breaks_the_connection_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = DATA[:-1] + b"x"
    protocol = Protocol()

    def blocks() -> Iterator[bytes]:
        yield wrong[:500_000]
        while not protocol.status:
            time.sleep(0.001)
        yield wrong[500_000:]

    site = Site(tmp_path, lambda url, headers: FakeResponse(200, {}, blocks))
    path = "/packages/" + site.add(remote("raven-1.0.tar.gz", DATA)).path

    async def ask() -> None:
        adapter = Adapter(site.application(), threads=2)
        adapter.__rsgi_init__(asyncio.get_running_loop())
        await adapter.__rsgi__(Scope(path=path), protocol)
        protocol.disconnected.set()

    asyncio.run(ask())
    protocol.finish()
    assert len(protocol.body) < len(DATA)
    assert [each.exc_info for each in caplog.records] == [None]


def test_a_request_that_waits_too_long_is_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.web.api.proxied_files.FIRST_SECONDS", 0.02)
    gates = Gates()
    site = Site(tmp_path, gates.answer)
    path = "/packages/" + site.add(remote("raven-1.0.tar.gz", DATA)).path

    async def ask() -> Protocol:
        adapter = Adapter(site.application(), threads=2)
        adapter.__rsgi_init__(asyncio.get_running_loop())
        protocol = Protocol()
        await adapter.__rsgi__(Scope(path=path), protocol)
        return protocol

    protocol = asyncio.run(ask())
    gates.head.set()
    gates.middle.set()
    assert (protocol.status, dict(protocol.headers).get("Retry-After")) == (503, "2")
    settled(site)
