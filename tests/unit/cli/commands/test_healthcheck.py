"""Whether a server answers, as a container asks."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from pypiserver.cli import parser
from pypiserver.cli.commands.healthcheck import HealthCheck

from ...commandline import pypi_server

Capture = pytest.CaptureFixture[str]


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response({"/health": 200, "/health/ready": 503}.get(self.path, 404))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_server_that_answers_is_well(port: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert pypi_server(capsys, "healthcheck", "-p", port) == (0, "", "")
    monkeypatch.setenv("PYPISERVER_PORT", str(port))
    assert pypi_server(capsys, "healthcheck") == (0, "", "")


def test_a_server_that_is_not_ready_or_gone_is_not(port: int, capsys: Capture) -> None:
    outcome = pypi_server(capsys, "healthcheck", "-p", port, "--health-endpoint", "/health/ready")
    assert outcome.status == 1 and "/health/ready answers 503" in outcome.err
    outcome = pypi_server(capsys, "healthcheck", "-p", "9", "-i", "127.0.0.1")
    assert outcome.status == 1 and outcome.err.endswith("127.0.0.1:9/health does not answer: Connection refused.\n")


@pytest.mark.parametrize(
    ("flags", "url"),
    [
        ([], "http://127.0.0.1:8080/health"),
        (["-i", "::", "-p", "81"], "http://[::1]:81/health"),
        (["-i", "10.0.0.1", "--certificate", "c", "--key", "k"], "https://10.0.0.1:8080/health"),
    ],
)
def test_it_asks_on_this_machine(flags: list[str], url: str) -> None:
    command = parser.parse(["healthcheck", *flags], {})
    assert isinstance(command, HealthCheck) and command.url == url
