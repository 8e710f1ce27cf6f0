"""Servers that drain: not ready, answering, and then ended."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.hostile import serving
from tests.live_server import DIRECT, LiveServer
from tests.unit.server.test_graceful_shutdown import SIGNALS_ONLY

pytestmark = pytest.mark.live
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


@SIGNALS_ONLY
@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_has_drained_ends(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--server", server, "--drain-seconds", "1") as live:
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(60) == 0


@SIGNALS_ONLY
@pytest.mark.parametrize("server", SERVERS)
def test_an_interrupt_from_the_keyboard_does_not_wait(server: str, tmp_path: Path) -> None:
    # Who started the tests in the background made them ignore it, which a process inherits.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with serving(tmp_path, "--server", server, "--drain-seconds", "600") as live:
        signal.signal(signal.SIGINT, before)
        live.process.send_signal(signal.SIGINT)
        live.process.wait(60)
