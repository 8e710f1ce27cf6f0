"""A body whose index fails while it is sent: no client takes it for whole, and the log has one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fake_upstream import FakeUpstream, noise, upstream
from tests.live_server import REPOSITORY, LiveServer, running
from tests.ports import free_port
from tests.unit.waiting import eventually

from .servers import get, proxying

pytestmark = pytest.mark.live
SIZE = 400_000
# An application for servers that are not ours.
APPLICATION = """
import os, pypiserver
application = pypiserver.app(
    roots=["packages"], password_file=".", authenticate=".", catalog=os.path.abspath("catalog.sqlite"),
    fallback_mode="cache", cache_folder=os.path.abspath("cache"), fallback_url=os.environ["UP"])
"""
# The standard library's, which many servers have inside.
WSGIREF = """
import socketserver, wsgiref.simple_server as simple, app
class Server(socketserver.ThreadingMixIn, simple.WSGIServer):
    daemon_threads = True
server = simple.make_server("127.0.0.1", 0, app.application, Server)
print(f"Listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


def command_of(name: str) -> list[str]:
    if name == "wsgiref":
        return [sys.executable, "-c", WSGIREF]
    port = str(free_port())
    if name == "gunicorn alone":
        return [sys.executable, "-m", "gunicorn", "-k", "gthread", "-b", f"127.0.0.1:{port}", "app:application"]
    return [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", port, "app:application"]


@contextmanager
def serving(name: str, up: FakeUpstream, home: Path) -> Iterator[LiveServer]:
    if name in ("granian", "waitress", "gunicorn"):
        with proxying(up, home, "--server", name) as live:
            yield live
        return
    (home / "packages").mkdir()
    (home / "app.py").write_text(APPLICATION)
    environ = {**os.environ, "UP": up.url, "PYTHONPATH": f"{home}:{REPOSITORY}"}
    with running(command_of(name), environ=environ, cwd=home) as live:
        yield live


@pytest.mark.parametrize("name", ["granian", "waitress", "gunicorn", "wsgiref", "gunicorn alone", "granian by WSGI"])
def test_the_body_is_cut_and_the_log_has_one_sentence(name: str, tmp_path: Path) -> None:
    with upstream() as up, serving(name, up, tmp_path) as live:
        file = up.add("raven", "raven-1.0.tar.gz", noise(SIZE))
        # Slowly, so that the client has the head before the index fails.
        up.spoil(file.path, cut_after=SIZE // 2, bytes_per_second=500_000)
        for _ in range(2):
            got = get(live, file.path)
            assert got.status in (0, 200)
            assert not got.is_whole
        up.heal()
        # The next connection is served.
        assert get(live, file.path).body == file.data
        # Each is said a moment after its client was told.
        expected = up.count(file.path) - 1
        assert eventually(lambda: live.output.count("broke off") >= expected), live.output
        said = live.output
    # granian itself writes one where it calls an application by WSGI.
    if name != "granian by WSGI":
        assert "Traceback" not in said, said
        assert "Interrupted" not in said, said
    lines = [line for line in said.splitlines() if "broke off" in line]
    assert len(lines) == expected, said
