"""SIGHUP: the settings are read again, and no request is lost."""

from __future__ import annotations

import contextlib
import os
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
from pypiserver.server_reload import Reloadable
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
        (tmp_path / "pypiserver.toml").write_text("prot = 1")
        live.process.send_signal(signal.SIGHUP)
        # gunicorn's new workers know the settings from its start only.
        log = tmp_path / ("log" if server == "gunicorn" else "other")
        words = "prot: there is no such setting; did you mean 'port'?"
        wait_until(lambda: bool(everywhere(live, "/health")) and words in log.read_text())
        assert everywhere(live, "/simple/unknown/") == ({404} if server == "gunicorn" else {302})
        assert live.process.poll() is None


@pytest.mark.parametrize("server", ["granian", "waitress"])
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

    application = Reloadable(make)
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

    application = Reloadable(make)
    application.reload()
    assert application({}, lambda *_: None) == [b"before"]
    assert "Nothing was reloaded: The welcome page is broken." in caplog.text
