"""What several requests want at once is made by one of them, and no one gets what was made too early."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pypiserver.errors import CatalogUnavailable, NotFound, Unavailable
from pypiserver.web.http.single_flight import SingleFlight

Make = Callable[[], str]


class Kitchen:
    """Makes numbered dishes, each begun when asked for and done when allowed; knows how many wait for one."""

    def __init__(self) -> None:
        self.flights = SingleFlight[str]()
        self.begun: list[threading.Event] = [threading.Event() for _ in range(9)]
        self.allowed: list[threading.Event] = [threading.Event() for _ in range(9)]
        self.made = 0
        self.failure: Exception | None = None
        self.current: str | None = None

    def make(self) -> str:
        number = self.made
        self.made += 1
        self.begun[number].set()
        assert self.allowed[number].wait(10)
        if self.failure is not None:
            raise self.failure
        return f"dish {number}"

    def get(self) -> str:
        return self.flights.get("key", lambda: self.current, self.make)

    def wait_until_waiting(self, count: int) -> None:
        end = threading.Event()
        while self.flights._flights["key"].requests < count:
            end.wait(0.001)


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


def ask(pool: ThreadPoolExecutor, kitchen: Kitchen, count: int, waiting: int) -> list[Future[str]]:
    futures = [pool.submit(kitchen.get) for _ in range(count)]
    kitchen.wait_until_waiting(waiting)
    return futures


def test_one_makes_it_and_the_others_take_what_is_current(kitchen: Kitchen) -> None:
    with ThreadPoolExecutor(8) as pool:
        futures = ask(pool, kitchen, 8, waiting=8)
        kitchen.current = "dish 0"
        kitchen.allowed[0].set()
        assert {future.result(10) for future in futures} == {"dish 0"}
    assert (kitchen.made, kitchen.flights._flights) == (1, {})


def test_what_was_begun_before_a_request_is_not_taken_once_it_is_outdated(kitchen: Kitchen) -> None:
    with ThreadPoolExecutor(4) as pool:
        (early,) = ask(pool, kitchen, 1, waiting=1)
        assert kitchen.begun[0].wait(10)
        late = ask(pool, kitchen, 3, waiting=4)
        kitchen.allowed[0].set()
        assert kitchen.begun[1].wait(10)
        kitchen.allowed[1].set()
        # What was begun after they came is right for them, even if it is outdated again by now.
        assert (early.result(10), {future.result(10) for future in late}) == ("dish 0", {"dish 1"})
    assert kitchen.made == 2


def test_those_who_waited_for_a_catalog_that_failed_fail_with_it(kitchen: Kitchen) -> None:
    kitchen.failure = CatalogUnavailable("The catalog is away.")
    with ThreadPoolExecutor(5) as pool:
        futures = ask(pool, kitchen, 5, waiting=5)
        kitchen.allowed[0].set()
        assert {str(future.exception(10)) for future in futures} == {"The catalog is away."}
        assert {type(future.exception(10)) for future in futures} == {CatalogUnavailable}
    assert kitchen.made == 1
    kitchen.failure = None
    kitchen.allowed[1].set()
    assert kitchen.get() == "dish 1"


def test_who_waited_for_what_was_not_there_looks_for_himself(kitchen: Kitchen) -> None:
    kitchen.failure = NotFound("No project.")
    for allowed in kitchen.allowed:
        allowed.set()
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(kitchen.get) for _ in range(3)]
        assert {type(future.exception(10)) for future in futures} == {NotFound}
    assert (kitchen.made, kitchen.flights._flights) == (3, {})


def test_other_keys_do_not_wait(kitchen: Kitchen) -> None:
    with ThreadPoolExecutor(1) as pool:
        (future,) = ask(pool, kitchen, 1, waiting=1)
        assert kitchen.flights.get("other", lambda: None, lambda: "at once") == "at once"
        kitchen.allowed[0].set()
        assert future.result(10) == "dish 0"


def test_who_waited_learns_as_much_as_who_asked_first(kitchen: Kitchen) -> None:
    said = Unavailable("It is damaged.", public="It cannot be had.", is_passing=False, kind="unlisted", project="foo")
    kitchen.failure = said
    with ThreadPoolExecutor(2) as pool:
        futures = ask(pool, kitchen, 2, waiting=2)
        kitchen.allowed[0].set()
        errors = [future.exception() for future in futures]
    assert len({id(error) for error in errors}) == 2
    assert [(type(error), str(error), vars(error)) for error in errors] == [(Unavailable, str(said), vars(said))] * 2
