"""The health endpoint and what is below it: alive, ready, and why not."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import bottle
import pytest

from pypiserver.catalog.sqlite.leader_lock import FileLeaderLock
from pypiserver.errors import ConfigError
from pypiserver.server.graceful_shutdown import ENVIRON_KEY
from pypiserver.web.api.health import NOT_READY, Status
from tests.raising import raises

from ...wsgi import Answer, Client

Serve = Callable[..., Client]


def wait_for(client: Client, path: str, status: int) -> Answer:
    deadline = time.monotonic() + 20
    while (answer := client.get(path)).status != status:
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)
    return answer


def test_a_server_is_alive_before_it_is_ready(serve: Serve, tmp_path: Path) -> None:
    """Another process still scans: it holds the lock, and has not said that it is done."""
    other = FileLeaderLock(tmp_path / "catalog-0.sqlite.lock")
    assert other.acquire()
    client = serve()
    began = time.monotonic()
    answer = client.get("/health/ready")
    assert (answer.status, answer.text) == (503, "The package folders are still being read.\n")
    assert answer.headers["retry-after"] == "2"
    assert client.get("/health/live").status == 200
    assert time.monotonic() - began < 5
    other.release()
    assert wait_for(client, "/health/ready", 200).text == "Ok\n"


def test_a_server_that_is_about_to_end_is_alive_and_not_ready(serve: Serve) -> None:
    client = serve()
    wait_for(client, "/health/ready", 200)
    answer = client.request("GET", "/health/ready", **{ENVIRON_KEY: "yes"})
    assert (answer.status, answer.text) == (503, "The server is about to end.\n")
    assert client.request("GET", "/health", **{ENVIRON_KEY: "yes"}).status == 200


def test_a_server_whose_folder_is_lost_is_alive_and_not_ready(
    serve: Serve, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve()
    wait_for(client, "/health/ready", 200)
    root.rename(root.with_name("away"))
    answer = client.get("/health/ready")
    assert (answer.status, answer.text) == (503, f"{NOT_READY}\n")
    assert client.get("/health/ready").status == 503
    # The log has the reason, once for as many probes as there are.
    assert caplog.text.count(f"The folder {root} cannot be read") == 1
    assert client.get("/health/live").status == 200
    root.with_name("away").rename(root)
    wait_for(client, "/health/ready", 200)


def test_a_catalog_that_cannot_be_read_is_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    def serial() -> int:
        raise sqlite3.OperationalError("disk I/O error")

    backend = SimpleNamespace(
        indexer=SimpleNamespace(state=lambda: None),
        storage=SimpleNamespace(check=lambda: None),
        catalog=SimpleNamespace(serial=serial),
    )
    # What the test before asked is this thread's request until there is another one.
    bottle.request.bind({})
    answer = Status(SimpleNamespace(), backend).ready()
    assert (answer.status_code, answer.body) == (503, f"{NOT_READY}\n".encode())
    assert "The catalog cannot be read: disk I/O error." in caplog.text


def test_they_are_below_the_health_endpoint_and_need_no_password(serve: Serve) -> None:
    client = serve(health_endpoint="/up/", authenticate="update,download,list", auther=lambda user, password: False)
    assert [client.get(path).status for path in ("/up/", "/up/live")] == [200, 200]
    wait_for(client, "/up/ready", 200)
    assert client.get("/health/live").status == 404


@pytest.mark.parametrize("endpoint", ["/simple/", "/packages"])
def test_an_endpoint_of_the_index_is_still_refused(serve: Serve, endpoint: str) -> None:
    with raises(ConfigError, kind="contradiction", setting="health_endpoint", value=endpoint):
        serve(health_endpoint=endpoint)
