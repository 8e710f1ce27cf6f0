"""Threads for each index: how many, who waits, and what one failure does."""

from __future__ import annotations

import threading
import weakref

import pytest

from pypiserver.errors import NotFound, Unavailable
from pypiserver.proxy.lanes import Jobs, Lanes, Waiters, wait_for

from ..waiting import eventually


def test_a_slow_index_holds_its_own_threads_only() -> None:
    lanes, gate, done = Lanes(2, waiting=1), threading.Event(), threading.Event()
    running = threading.Semaphore(0)

    def stall() -> None:
        running.release()
        gate.wait(10)

    for _ in range(3):
        lanes.run("slow", stall)
    with pytest.raises(Unavailable):
        lanes.run("slow", stall)
    lanes.run("fast", done.set)
    assert done.wait(10)
    gate.set()
    for _ in range(3):
        assert running.acquire(timeout=10)


def test_the_next_work_is_done_by_the_thread_that_is_there() -> None:
    lanes, threads, done = Lanes(2, linger=60.0), set(), threading.Semaphore(0)

    def work() -> None:
        threads.add(threading.get_ident())
        done.release()

    for number in range(20):
        lanes.run("index", work)
        assert done.acquire(timeout=10)
        assert eventually(lambda: lanes._lanes["index"].idle > 0)
        assert lanes._lanes["index"].threads == 1, number
    assert len(threads) == 1


def test_a_thread_without_work_ends() -> None:
    lanes, done = Lanes(2, linger=0.01), threading.Event()
    lanes.run("index", done.set)
    assert done.wait(10)
    assert eventually(lambda: lanes._lanes["index"].threads == 0)
    assert (lanes._lanes["index"].idle, not lanes._lanes["index"].queue) == (0, True)
    done.clear()
    lanes.run("index", done.set)
    assert done.wait(10)


def test_a_thread_without_work_keeps_nothing_of_the_last() -> None:
    class Held:
        def __call__(self) -> None:
            done.release()

    lanes, done = Lanes(2, linger=60.0), threading.Semaphore(0)
    for _ in range(2):
        held = Held()
        alive = weakref.ref(held)
        lanes.run("index", held)
        del held
        assert done.acquire(timeout=10)
        assert eventually(lambda gone=alive: gone() is None)
        assert eventually(lambda: lanes._lanes["index"].idle == lanes._lanes["index"].threads == 1)


def test_work_that_finds_idle_threads_taken_begins_another() -> None:
    lanes, gate, begun = Lanes(3, linger=60.0), threading.Event(), threading.Semaphore(0)
    for _ in range(3):
        lanes.run("index", lambda: begun.release() or gate.wait(10))
    for _ in range(3):
        assert begun.acquire(timeout=10)
    gate.set()
    assert eventually(lambda: lanes._lanes["index"].idle == 3)
    gate.clear()
    for _ in range(3):
        lanes.run("index", lambda: begun.release() or gate.wait(10))
    for _ in range(3):
        assert begun.acquire(timeout=10)
    gate.set()


def test_many_requests_for_the_same_thing_are_one_job() -> None:
    jobs, gate, made = Jobs(Lanes(2)), threading.Event(), []

    def make() -> str:
        gate.wait(10)
        made.append(1)
        return "made"

    first, second, other = (jobs.begin(key, "index", make) for key in ("a", "a", "b"))
    assert first is second is not other
    with pytest.raises(Unavailable):
        first.result()
    gate.set()
    assert wait_for(first.when_ready, 10)
    assert wait_for(other.when_ready, 10)
    assert (first.result(), len(made)) == ("made", 2)


def test_each_who_waits_gets_the_error() -> None:
    jobs = Jobs(Lanes(1))

    def make() -> str:
        raise NotFound("gone", filename="x")

    job = jobs.begin("a", "index", make)
    assert wait_for(job.when_ready, 10)
    errors = []
    for _ in range(2):
        with pytest.raises(NotFound) as caught:
            job.result()
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert errors[0].filename == "x"


def test_to_tell_many_who_wait_is_linear_and_forgets_no_one() -> None:
    compared, woken = 0, list[object]()

    class Call:
        def __call__(self) -> None:
            woken.append(self)

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return True

    waiters, ready = Waiters(), set[str]()
    for _ in range(300):
        waiters.when(lambda: "first" in ready, Call())
    waiters.when(lambda: "second" in ready, Call())
    ready.add("first")
    waiters.tell()
    assert (len(woken), compared) == (300, 0)
    ready.add("second")
    waiters.tell()
    assert len(woken) == 301
