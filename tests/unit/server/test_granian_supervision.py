"""The end of granian's workers, and what is said of it."""

from __future__ import annotations

import logging

import pytest

from pypiserver.server import contract
from pypiserver.server.granian_supervision import News, end


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("_granian", logging.WARNING, "", 0, message, None, None)


@pytest.mark.parametrize(
    ("passed", "is_said"), [(None, False), (0.0, False), (0.01, False), (7.9, False), (8.0, True), (9.0, True)]
)
def test_requests_are_said_to_be_cut_off_only_when_their_time_has_passed(passed: float | None, is_said: bool) -> None:
    now = 50_000.0
    news = News(clock=lambda: now)
    if passed is not None:
        news.note_end()
        now += passed
    killed = record("Killing worker-1 after it refused to gracefully stop")
    assert news.is_news(killed) is is_said and killed.getMessage() == contract.OUTLASTED
    assert news.is_news(record("Unexpected exit from worker-1"))


class Ending:
    """A worker of granian's whose end another thread learns of first: ``join`` returns, and it is alive for a while."""

    def __init__(self, looks: float) -> None:
        self.looks = looks
        self.told: list[str] = []

    def terminate(self) -> None:
        self.told.append("terminate")

    def is_alive(self) -> bool:
        self.looks -= 1
        return self.looks > 0

    def join(self, timeout: float) -> None:
        self.told.append(f"join {timeout:g}")


def test_a_worker_that_has_just_ended_is_waited_for() -> None:
    first, second = Ending(3), Ending(0)
    end([first, second], clock=lambda: 50_000.0)
    assert (first.told, second.told) == (["terminate", "join 8", "join 8"], ["terminate"])
    assert not first.is_alive()


def test_a_worker_that_does_not_end_is_not_waited_for_longer_than_requests_have() -> None:
    times = iter([50_000.0, 50_000.0, 50_005.0, 50_008.0, 50_008.0])
    workers = [Ending(float("inf")), Ending(float("inf"))]
    end(workers, clock=lambda: next(times))
    assert [worker.told for worker in workers] == [["terminate", "join 8", "join 3"], ["terminate"]]
