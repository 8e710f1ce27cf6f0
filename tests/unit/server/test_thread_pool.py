"""Threads for what waits: they come as there is work, and their queue is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pypiserver.deferred import AT_ONCE, Waits
from pypiserver.server.rsgi import Adapter
from pypiserver.server.thread_pool import Pool

from ..rsgi import Headers, Protocol, Scope
from ..waiting import eventually


def test_uploads_that_wait_for_a_disk_keep_no_page_waiting() -> None:
    go = threading.Event()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if AT_ONCE in environ:
            raise Waits
        if environ["REQUEST_METHOD"] == "POST":
            assert go.wait(20)
        start_response("200 OK", [])
        return [b"x"]

    async def ask() -> None:
        adapter = Adapter(application, threads=4)
        pairs = [("Content-Length", "1"), ("Host", "a")]
        posts = [Protocol([b"x"]) for _ in range(12)]
        asking = [
            asyncio.ensure_future(adapter.__rsgi__(Scope("POST", headers=Headers(pairs)), each)) for each in posts
        ]
        try:
            page = Protocol()
            await asyncio.wait_for(adapter.__rsgi__(Scope(), page), 10)
            assert (page.status, {each.status for each in posts}) == (200, {0})
        finally:
            go.set()
        await asyncio.gather(*asking)
        assert {each.status for each in posts} == {200}

    asyncio.run(ask())


def test_the_queue_of_the_pool_is_bounded() -> None:
    pool, go, begun = Pool(1, waiting_each=2), threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go.wait(10)

    assert pool.submit(wait)
    assert begun.wait(10)
    assert [pool.submit(wait) for _ in range(3)] == [True, True, False]
    go.set()
    assert asyncio.run(pool.step(threading.active_count)) > 1
    assert pool.submit(wait)


def test_threads_come_as_there_is_work_for_them() -> None:
    pool, barrier = Pool(3), threading.Barrier(4)
    assert pool._threads == []
    assert asyncio.run(pool.step(lambda: 1)) == 1
    for _ in range(3):
        pool.submit(barrier.wait, 10)
    barrier.wait(10)
    assert len(pool._threads) == 3
    with pytest.raises(OSError, match="no disk"):
        asyncio.run(pool.step(_fail))


def test_a_thread_that_is_free_takes_the_work_and_no_other_starts() -> None:
    pool, ended = Pool(16), threading.Semaphore(0)
    for number in range(200):
        pool.submit(ended.release)
        assert ended.acquire(timeout=10)
        # The thread is free a moment after its work has ended.
        assert eventually(lambda: pool.idle == len(pool._threads), 10.0), number
    assert len(pool._threads) == 1


def _fail() -> None:
    raise OSError("no disk")
