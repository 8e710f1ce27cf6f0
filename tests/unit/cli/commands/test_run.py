"""What the log says of the start and the end of a server."""

from __future__ import annotations

import logging
import threading

import pytest

from pypiserver.cli.commands import run
from pypiserver.cli.commands.run import Lifetime

_LOG = logging.getLogger("pypiserver.server")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, _LOG.name)
    return caplog


def tell(server: str, port: int) -> None:
    _LOG.info("start")


def test_the_end_is_logged_after_the_start_though_that_is_told_slowly(said: pytest.LogCaptureFixture) -> None:
    """A thread tells of the start, and the server may be told to end meanwhile."""
    lifetime, is_telling, may_tell = Lifetime(), threading.Event(), threading.Event()

    def slowly(server: str, port: int) -> None:
        is_telling.set()
        may_tell.wait(60)
        tell(server, port)

    starting = threading.Thread(target=lifetime.starting(slowly), args=("granian", 1))
    starting.start()
    assert is_telling.wait(60)
    ending = threading.Thread(target=lifetime.end)
    ending.start()
    ending.join(0.01)
    may_tell.set()
    for thread in (starting, ending):
        thread.join(60)
    assert said.messages == ["start", "pypiserver has ended."]


def test_a_start_that_is_told_after_the_end_is_not_logged(said: pytest.LogCaptureFixture) -> None:
    lifetime = Lifetime()
    ready = lifetime.starting(tell)
    lifetime.end()
    ready("granian", 1)
    assert said.messages == []


def test_a_start_that_cannot_be_told_delays_the_end_for_some_seconds_only(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output is a pipe that is full."""
    monkeypatch.setattr(run, "TELL_SECONDS", 0.01)
    lifetime, is_telling, may_tell = Lifetime(), threading.Event(), threading.Event()
    starting = threading.Thread(
        target=lifetime.starting(lambda *_: is_telling.set() or may_tell.wait(60)),  # type: ignore[func-returns-value]
        args=("granian", 1),
    )
    starting.start()
    assert is_telling.wait(60)
    lifetime.end()
    may_tell.set()
    starting.join(60)
    assert said.messages == ["pypiserver has ended."]


def test_a_forked_worker_does_not_log_the_end(said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    lifetime = Lifetime()
    lifetime.starting(tell)("granian", 1)
    monkeypatch.setattr(lifetime, "pid", lifetime.pid + 1)
    lifetime.end()
    assert said.messages == ["start"]
