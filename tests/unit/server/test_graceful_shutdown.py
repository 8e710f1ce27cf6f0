"""Before a server ends it says for a while that it is not ready, and goes on answering: in every process of it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from pypiserver.server.graceful_shutdown import ENVIRON_KEY, GracefulShutdown
from tests.hostile import serving
from tests.live_server import DIRECT, LiveServer

SIGNALS_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
SERVERS = ("granian", "waitress", "gunicorn", "wsgiref")


def status_of(live: LiveServer, path: str) -> int:
    try:
        with DIRECT.open(live.url + path, timeout=30) as answer:
            status: int = answer.status
            return status
    except HTTPError as error:
        error.close()
        return error.code


def wait_for(live: LiveServer, path: str, status: int, times: int = 1) -> None:
    """Wait until the path is answered so, as often in a row."""
    deadline, seen = time.monotonic() + 60, 0
    while seen < times:
        assert time.monotonic() < deadline, live.output
        seen = seen + 1 if status_of(live, path) == status else 0


@pytest.mark.live
@SIGNALS_ONLY
@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_drains_is_not_ready_and_answers(server: str, tmp_path: Path) -> None:
    workers = ("--workers", "2") if server in ("granian", "gunicorn") else ()
    with serving(tmp_path, "--server", server, "--drain-seconds", "600", *workers) as live:
        wait_for(live, "/health/ready", 200)
        live.process.send_signal(signal.SIGTERM)
        # So often that each of two workers was asked.
        wait_for(live, "/health/ready", 503, times=20)
        assert [status_of(live, path) for path in ("/health/live", "/health", "/simple/")] == [200, 200, 200]
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(60) == 0


@pytest.mark.live
@SIGNALS_ONLY
@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_has_drained_ends(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--server", server, "--drain-seconds", "1") as live:
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(60) == 0


@pytest.mark.live
@SIGNALS_ONLY
@pytest.mark.parametrize("server", SERVERS)
def test_an_interrupt_from_the_keyboard_does_not_wait(server: str, tmp_path: Path) -> None:
    # Who started the tests in the background made them ignore it, which a process inherits.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with serving(tmp_path, "--server", server, "--drain-seconds", "600") as live:
        signal.signal(signal.SIGINT, before)
        live.process.send_signal(signal.SIGINT)
        live.process.wait(60)


@SIGNALS_ONLY
def test_the_first_sigterm_only_marks_and_the_second_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    drain = GracefulShutdown(600)
    monkeypatch.setattr(os, "kill", lambda *_: None)
    handler = drain.before(lambda number, frame: ended.append(number))
    handler(signal.SIGTERM, None)
    assert (drain.has_begun, ended) == (True, [])
    handler(signal.SIGTERM, None)
    assert ended == [signal.SIGTERM]


def test_without_draining_nothing_stands_in_between() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return []

    def end(number: int, frame: object) -> None: ...

    drain = GracefulShutdown(0)
    assert (drain.before(end), drain.told_to(application)) == (end, application)


def test_each_request_is_told_whether_it_has_begun() -> None:
    told: list[object] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        told.append(environ[ENVIRON_KEY])
        return []

    drain = GracefulShutdown(600)
    telling = drain.told_to(application)
    telling({}, None)  # type: ignore[arg-type]
    drain._begun.value = 1
    telling({}, None)  # type: ignore[arg-type]
    assert told == [False, True]
