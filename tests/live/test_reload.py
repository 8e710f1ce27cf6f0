"""SIGHUP: the settings are read again, and no request is lost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypiserver.errors import ConfigError
from pypiserver.server.reload import ReloadableApp
from tests.live_server import DIRECT, LiveServer, pypi_server, running
from tests.make_archives import make_wheel

from .test_live_log import WITH_WORKERS, wait_until
from .test_servers import connected, upload_request

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP"),
]
WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")
SERVERS = [*WITH_WORKERS, "waitress"]
SETTINGS = """
roots = ["packages"]
password_file = "."
authenticate = "."
fallback = {fallback}
log_file = "{log}"
log_frmt = "%(process)d|%(name)s|%(levelname)s|%(message)s"
"""


@contextlib.contextmanager
def serving(tmp_path: Path, server: str) -> Iterator[LiveServer]:
    (tmp_path / "packages").mkdir()
    write(tmp_path)
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = pypi_server("--server", server, "--workers", "2" if server != "waitress" else "1")
    with running(command, environ=environ, cwd=tmp_path) as live:
        yield live


def write(tmp_path: Path, *, fallback: str = "false", log: str = "log") -> None:
    (tmp_path / "pypiserver.toml").write_text(SETTINGS.format(fallback=fallback, log=log))


def status(live: LiveServer, path: str) -> int:
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay)
    try:
        with opener.open(live.url + path, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def everywhere(live: LiveServer, path: str) -> set[int]:
    """The statuses of enough requests to have asked every worker."""
    return {status(live, path) for _ in range(20)}


@pytest.mark.parametrize("server", SERVERS)
def test_settings_are_read_again(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, server) as live:
        assert everywhere(live, "/simple/unknown/") == {404}
        write(tmp_path, fallback="true", log="other")
        live.process.send_signal(signal.SIGHUP)
        wait_until(lambda: everywhere(live, "/simple/unknown/") == {302})
        wait_until(lambda: "/simple/unknown/" in (tmp_path / "other").read_text())
        assert everywhere(live, "/health") == {200}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("prot = 1", "prot: no such setting; did you mean 'port'?"),
        (SETTINGS.format(fallback="false", log="third") + 'welcome = "nowhere"', "nowhere cannot be read"),
    ],
    ids=["a setting", "a file"],
)
def test_settings_that_cannot_be_used_change_nothing(server: str, broken: str, words: str, tmp_path: Path) -> None:
    with serving(tmp_path, server) as live:
        write(tmp_path, fallback="true", log="other")
        live.process.send_signal(signal.SIGHUP)
        log, workers = tmp_path / "other", 1 if server == "waitress" else 2
        wait_until(lambda: log.exists() and log.read_text().count("The settings were read again.") == workers)
        (tmp_path / "pypiserver.toml").write_text(broken)
        live.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.read_text().count("Nothing was reloaded: ") == workers)
        assert words in log.read_text()
        assert everywhere(live, "/simple/unknown/") == {302}
        assert not (tmp_path / "third").exists()
        assert live.process.poll() is None


@pytest.mark.parametrize("server", WITH_WORKERS)
def test_a_worker_that_is_started_later_has_the_last_settings_that_could_be_used(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, server) as live:
        write(tmp_path, fallback="true", log="other")
        live.process.send_signal(signal.SIGHUP)
        wait_until(lambda: everywhere(live, "/simple/unknown/") == {302})
        (tmp_path / "pypiserver.toml").write_text("prot = 1")
        log = tmp_path / "other"
        os.kill(pid_of_a_worker(log), signal.SIGKILL)
        # What the parent says of it, and the new worker, is in the log of now; the old one is as it was.
        wait_until(lambda: "A worker starts with the settings of before: " in log.read_text())
        wait_until(lambda: re.search(r"\|(_granian|gunicorn\.error)\|(ERROR|WARNING)\|", log.read_text()) is not None)
        wait_until(lambda: answered(live) and everywhere(live, "/simple/unknown/") == {302})
        assert not re.search(r"\|(_granian|gunicorn\.error)\|", (tmp_path / "log").read_text())


def pid_of_a_worker(log: Path) -> int:
    """The process that wrote the last line about a request; lines are written a moment after the answer."""
    wait_until(lambda: "/simple/" in log.read_text())
    return [int(line.split("|")[0]) for line in log.read_text().splitlines() if "/simple/" in line][-1]


def answered(live: LiveServer) -> bool:
    """Whether nothing waits any more for a worker that was killed."""
    try:
        return everywhere(live, "/health") == {200}
    except OSError:
        return False


@pytest.mark.parametrize("server", SERVERS)
def test_no_request_is_lost_and_an_upload_in_flight_ends(server: str, tmp_path: Path) -> None:
    faults: list[object] = []
    stop = threading.Event()

    def ask(live: LiveServer) -> None:
        while not stop.is_set():
            try:
                with DIRECT.open(live.url + "/simple/", timeout=20) as answer:
                    answer.read()
            except OSError as error:
                faults.append(error)

    head, body = upload_request(WHEEL_BYTES)
    with serving(tmp_path, server) as live, connected(live) as upload:
        askers = [threading.Thread(target=ask, args=(live,)) for _ in range(4)]
        for asker in askers:
            asker.start()
        upload.sendall(head + body[:100])
        for _ in range(3):
            write(tmp_path, fallback="true")
            live.process.send_signal(signal.SIGHUP)
            wait_until(lambda: everywhere(live, "/simple/unknown/") == {302})
            write(tmp_path)
            live.process.send_signal(signal.SIGHUP)
            wait_until(lambda: everywhere(live, "/simple/unknown/") == {404})
        upload.sendall(body[100:])
        assert upload.recv(4096).startswith(b"HTTP/1.1 200")
        stop.set()
        for asker in askers:
            asker.join(30)
    assert faults == []
    assert (tmp_path / "packages" / WHEEL).read_bytes() == WHEEL_BYTES


class Made:
    """An application that can be stopped in the middle of a request."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.go_on, self.entered, self.closed = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        self.entered.set()
        assert self.go_on.wait(20)
        return [str(self.number).encode()]

    def close(self) -> None:
        self.closed.set()


def test_the_old_application_is_closed_after_its_last_request() -> None:
    made: list[Made] = []

    def make(again: bool = False) -> Made:
        made.append(Made(len(made)))
        return made[-1]

    application = ReloadableApp(make)
    answers: list[Any] = []
    asker = threading.Thread(target=lambda: answers.append(application({}, lambda *_: None)))
    asker.start()
    assert made[0].entered.wait(20)
    application.reload()
    assert not made[0].closed.wait(0.05)
    made[1].go_on.set()
    assert application({}, lambda *_: None) == [b"1"]
    made[0].go_on.set()
    asker.join(20)
    assert answers == [[b"0"]]
    assert made[0].closed.wait(20)
    application.reload()
    assert made[1].closed.wait(20)
    assert not made[2].closed.is_set()


def test_what_cannot_be_made_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def make(again: bool = False) -> Any:
        if again:
            raise ConfigError("The welcome page is broken.")
        return lambda environ, start: [b"before"]

    application = ReloadableApp(make)
    application.reload()
    assert application({}, lambda *_: None) == [b"before"]
    assert "Nothing was reloaded: The welcome page is broken." in caplog.text
