"""One question for many threads: whose answer is for whom, and what becomes of those who wait."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Callable

import pytest

from pypiserver.catalog import CatalogError
from pypiserver.catalog.postgres.serial_cache import CoalescedQuery

PATIENCE = 60.0


class Clock:
    """A clock that stands still until it is told; `looks` counts who looked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = threading.Semaphore(0)

    def __call__(self) -> float:
        self.looks.release()
        return self.now


class Database:
    """Answers with how often it was asked, once it is let; `does` is done instead of the first answers."""

    def __init__(self, *does: Callable[[], None]) -> None:
        self.does = list(does)
        self.count = 0
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()

    def __call__(self) -> int:
        self.count += 1
        count = self.count
        self.is_asked.set()
        assert self.may_answer.wait(PATIENCE)
        if self.does:
            self.does.pop(0)()
        return count


class Waiting:
    """Threads that ask; what each was told, an answer or the words of a failure."""

    def __init__(self, shared: CoalescedQuery[int], clock: Clock) -> None:
        self.shared = shared
        self.clock = clock
        self.threads: list[threading.Thread] = []
        self.told: list[int | str] = []

    def add(self) -> None:
        """One more, which has looked at the clock when this returns."""
        while self.clock.looks.acquire(blocking=False):
            pass
        thread = threading.Thread(target=self._ask)
        self.threads.append(thread)
        thread.start()
        assert self.clock.looks.acquire(timeout=PATIENCE)

    def _ask(self) -> None:
        try:
            self.told.append(self.shared.ask())
        except (CatalogError, SystemExit) as error:
            self.told.append(str(error))

    def end(self) -> list[int | str]:
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        return sorted(self.told, key=str)


def asked(seconds: float, *does: Callable[[], None], patience: float = PATIENCE) -> tuple[Database, Clock, Waiting]:
    """A database that one thread has asked, and which does not answer yet."""
    database, clock = Database(*does), Clock()
    waiting = Waiting(CoalescedQuery(database, seconds=seconds, patience=patience, clock=clock), clock)
    waiting.add()
    assert database.is_asked.wait(PATIENCE)
    return database, clock, waiting


def test_an_answer_is_believed_since_its_question_began() -> None:
    clock = Clock()

    def later() -> None:
        clock.now += 3

    database = Database(later)
    database.may_answer.set()
    shared = CoalescedQuery(database, seconds=5, patience=PATIENCE, clock=clock)
    told = []
    for clock.now in (0, 4.9, 5, 9.9, 10):
        told.append(shared.ask())
    assert told == [1, 1, 2, 2, 3]


def test_those_who_came_in_time_share_the_answer_they_waited_for() -> None:
    database, clock, waiting = asked(5)
    for clock.now in (1, 4.9):
        waiting.add()
    database.may_answer.set()
    assert (waiting.end(), database.count) == ([1, 1, 1], 1)


@pytest.mark.parametrize("seconds", [0, 5])
def test_who_comes_too_late_for_an_answer_is_not_given_it(seconds: float) -> None:
    database, clock, waiting = asked(seconds)
    clock.now = seconds
    for _ in range(3):
        waiting.add()
    clock.now += 1
    database.may_answer.set()
    # The second question began after all three had come, so one is enough.
    assert (waiting.end(), database.count) == ([1, 2, 2, 2], 2)


def test_a_failure_reaches_all_who_wait_and_no_one_who_comes_later() -> None:
    def fail() -> None:
        clock.now += 1
        raise CatalogError("it is away")

    database, clock, waiting = asked(5, fail)
    for _ in range(3):
        waiting.add()
    database.may_answer.set()
    assert (waiting.end(), database.count) == (["it is away"] * 4, 1)
    assert waiting.shared.ask() == 2


def test_no_one_waits_for_a_database_that_failed_twice_but_one_who_tries() -> None:
    def fail() -> None:
        clock.now += 1
        raise CatalogError("it is away")

    database, clock, waiting = asked(5, fail, fail)
    database.may_answer.set()
    assert waiting.end() == ["it is away"]
    with pytest.raises(CatalogError, match="away"):
        waiting.shared.ask()
    database.may_answer.clear()
    database.is_asked.clear()
    waiting.add()
    assert database.is_asked.wait(PATIENCE)
    with pytest.raises(CatalogError, match="away"):
        waiting.shared.ask()
    database.may_answer.set()
    assert (waiting.end(), waiting.shared.ask(), database.count) == ([3, "it is away"], 3, 3)


def test_what_only_one_thread_meets_leaves_the_others_their_own_question() -> None:
    database, _, waiting = asked(5, lambda: sys.exit("told to end"))
    for _ in range(3):
        waiting.add()
    database.may_answer.set()
    assert waiting.end() == [2, 2, 2, "told to end"]


def test_who_waits_too_long_is_told() -> None:
    database, _, waiting = asked(5, patience=0.05)
    with pytest.raises(CatalogError, match="no answer"):
        waiting.shared.ask()
    database.may_answer.set()
    assert waiting.end() == [1]


def test_a_change_is_known_to_all_after_its_wait() -> None:
    state = [0, 0]
    shared = CoalescedQuery(lambda: state[0], seconds=0.002, patience=PATIENCE)
    wrong: list[tuple[int, int]] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            done = state[1]
            answer = shared.ask()
            if answer < done:
                wrong.append((answer, done))
            # Who never waits keeps the interpreter for 5 ms at a time, and each change waits for all the others.
            time.sleep(0)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        state[0] += 1
        time.sleep(0.0025)
        state[1] = state[0]
    is_over.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert (wrong, [thread for thread in threads if thread.is_alive()]) == ([], [])


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks here")
def test_a_fork_does_not_wait_for_a_thread_of_its_parent() -> None:
    context = multiprocessing.get_context("fork")
    database = Database()
    database.may_answer.set()
    shared = CoalescedQuery(database, seconds=0, patience=PATIENCE)
    answers = context.SimpleQueue()
    process = context.Process(target=lambda: answers.put([shared.ask(), shared.ask()]))
    with shared._asking.get():
        process.start()
        process.join(PATIENCE / 2)
        process.kill()
    assert process.exitcode == 0
    assert answers.get() == [1, 2]
    assert shared.ask() == 1
