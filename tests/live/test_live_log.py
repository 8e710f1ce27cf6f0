"""The log of real servers with several workers: one file gets everything, from every process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live_server import DIRECT, LiveServer

from .test_servers import OPEN, serving

pytestmark = pytest.mark.live

WITH_WORKERS = ["granian", "gunicorn"] if sys.platform != "win32" else ["granian"]
FORM = "%(process)d|%(name)s|%(levelname)s|%(message)s"


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask(live: LiveServer, path: str) -> None:
    with DIRECT.open(live.url + path, timeout=20) as answer:
        answer.read()


def asked(log: Path) -> list[str]:
    return [line.split("|")[0] for line in log.read_text().splitlines() if "/simple/" in line]


@pytest.mark.parametrize("server", WITH_WORKERS)
def test_the_log_file_gets_the_lines_of_all_workers_and_of_the_server(server: str, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    flags = ("--server", server, "--workers", "4", "--log-file", log, "--log-stream", "none", "--log-frmt", FORM)
    with serving(tmp_path, *flags, *OPEN) as live:
        rounds = 0
        # Whichever worker is ready first answers alone until another one is.
        while rounds < 50 and (not rounds or len(set(asked(log))) == 1):
            rounds += 1
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda _: ask(live, "/simple/"), range(200)))
            wait_until(lambda expected=200 * rounds: len(asked(log)) == expected)
        assert len(set(asked(log))) > 1
        os.kill(int(asked(log)[0]), signal.SIGKILL)
        wait_until(lambda: bool(re.search(r"\|(_granian|gunicorn\.error)\|(ERROR|WARNING)\|.*\w", log.read_text())))
        log.rename(tmp_path / "server.log.1")
        done = 0
        while done < 20:
            # What waited for the worker that was killed is lost with it.
            with contextlib.suppress(OSError):
                ask(live, "/simple/")
                done += 1
        wait_until(lambda: log.exists() and len(asked(log)) >= 20)
        assert "access" not in live.output


@pytest.mark.parametrize("server", ["granian", "waitress"])
def test_what_was_asked_last_is_logged_when_the_server_ends(server: str, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with serving(tmp_path, "--server", server, "--log-file", log, *OPEN) as live:
        ask(live, "/simple/")
        assert live.stop() == 0
    assert len(asked(log)) == 1
    assert "Traceback" not in live.output


def test_the_log_file_gets_what_waitress_has_to_say(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    flags = ("--server", "waitress", "--threads", "1", "--log-file", log, "--log-stream", "none", "--log-frmt", FORM)
    with serving(tmp_path, *flags, *OPEN) as live, ThreadPoolExecutor(8) as pool:
        # It warns when more requests wait than threads.
        def is_told() -> bool:
            list(pool.map(lambda _: ask(live, "/simple/"), range(40)))
            return re.search(r"\|waitress\.queue\|WARNING\|Task queue depth is \d", log.read_text()) is not None

        wait_until(is_told)
        assert live.output.count("waitress.queue") == 0
