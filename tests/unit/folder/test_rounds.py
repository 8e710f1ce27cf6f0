"""What many ask for at once is done once, after they asked."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pypiserver.errors import NotFound, Unavailable
from pypiserver.folder import presence
from pypiserver.folder.presence import Presence
from pypiserver.folder.rounds import Rounds
from pypiserver.folder.storage import Folders

ASKERS = 8
Put = Callable[..., Path]


class Gate:
    """Work that waits until it is let continue."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.times = 0

    def pass_through(self) -> int:
        self.times += 1
        self.begun.release()
        assert self.go_on.acquire(timeout=20)
        return self.times


def wait_for_waiters(rounds: Rounds[Any], number: int) -> None:
    until = time.monotonic() + 20
    while len(rounds._changed._waiters) < number:  # type: ignore[attr-defined]
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(ASKERS + 1) as executor:
        yield executor


def test_all_who_ask_meanwhile_get_what_the_next_round_finds(pool: ThreadPoolExecutor) -> None:
    gate = Gate()
    rounds = Rounds(gate.pass_through)
    first = pool.submit(rounds.ask)
    gate.begun.acquire()
    others = [pool.submit(rounds.ask) for _ in range(ASKERS)]
    wait_for_waiters(rounds, ASKERS)
    gate.go_on.release(2)
    assert first.result(20) == 1 and {each.result(20) for each in others} == {2}
    gate.go_on.release()
    assert (rounds.ask(), gate.times) == (3, 3)


def test_a_failure_is_told_to_all_who_waited_for_it_and_to_no_other(pool: ThreadPoolExecutor) -> None:
    gate, is_failing = Gate(), [False]

    def work() -> int:
        number = gate.pass_through()
        if is_failing[0]:
            raise NotFound("it is not here", public="gone")
        return number

    rounds = Rounds(work)
    first = pool.submit(rounds.ask)
    gate.begun.acquire()
    others = [pool.submit(rounds.ask) for _ in range(ASKERS)]
    wait_for_waiters(rounds, ASKERS)
    is_failing[0] = True
    gate.go_on.release(2)
    errors = [each.exception(20) for each in (first, *others)]
    assert all(isinstance(error, NotFound) and error.public == "gone" for error in errors[1:])
    assert len({id(error) for error in errors[1:]}) == ASKERS
    is_failing[0] = False
    gate.go_on.release()
    assert rounds.ask() == 3


def test_no_one_waits_longer_than_told(pool: ThreadPoolExecutor) -> None:
    gate = Gate()
    rounds = Rounds(gate.pass_through, patience=0.001)
    first = pool.submit(rounds.ask)
    gate.begun.acquire()
    with pytest.raises(Unavailable):
        rounds.ask()
    gate.go_on.release()
    assert first.result(20) == 1


@pytest.mark.parametrize("is_large", [False, True])
def test_who_asks_while_a_slow_folder_is_listed_shares_the_next_listing(
    is_large: bool, root: Path, put: Put, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "MOST_FOLDERS", 0 if is_large else 64)
    names = Presence(Folders([root]))
    assert not names.holding(["foo"])
    gate, real = Gate(), os.scandir

    def slow(place: str) -> Any:
        gate.pass_through()
        return real(place)

    monkeypatch.setattr(presence.os, "scandir", slow)
    first = pool.submit(names.holding, ["bar"])
    gate.begun.acquire()
    others = [pool.submit(names.holding, [f"foo{number}"]) for number in range(ASKERS)]
    wait_for_waiters(names._root_listing if is_large else names._listing, ASKERS)
    for number in range(ASKERS):
        put(f"foo{number}-1.0.zip", b"x")
    gate.go_on.release(2)
    assert not first.result(20)
    assert [each.result(20) for each in others] == [[(0, f"foo{number}-1.0.zip")] for number in range(ASKERS)]
    assert gate.times == 2
