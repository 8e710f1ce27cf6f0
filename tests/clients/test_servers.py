"""Every server `--server` can name: it serves a page, a file and a part of it, takes an upload, and ends when told to.

Those that do not install today (bjoern without libev, meinheld, flup's FastCGI, gae) are not here; what is said when a
server is missing is a unit test.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.clients.harness import GetClient, get, listed, server_environ, wait_until_listed
from tests.hostile import connect, upload_request
from tests.live_server import running
from tests.make_archives import make_wheel

SERVERS = [
    *("auto", "granian", "waitress", "wsgiref", "aiohttp", "cheroot", "cherrypy", "eventlet", "gevent", "paste"),
    *("tornado", "twisted", "uvloop"),
]
# Told to end within a request, tornado does not answer it, and twisted may wait for its own threads forever.
CUTS, WAITS = ("tornado",), ("twisted",)
# Is told to end while it answers a page, by the main thread where that answers, under aiohttp in one of its tasks.
TOLD_WITHIN = """
import os, signal, sys, threading
from pypiserver import __main__
from pypiserver.server import run

own = os.getpid()

def tell(path):
    if path == "/simple/demo/":
        os.kill(own, signal.SIGTERM)
    if path == "/simple/thread/":
        thread = threading.Thread(target=os.kill, args=(own, signal.SIGTERM))
        thread.start()
        thread.join()

def wrapped(make, options, **more):
    def telling():
        application = make()
        def answer(environ, start_response):
            if not in_task:
                tell(environ["PATH_INFO"])
            return application(environ, start_response)
        return answer

    in_task = options.name in ("aiohttp", "uvloop")
    if in_task:
        from aiohttp_wsgi import WSGIHandler
        handle = WSGIHandler.handle_request
        async def handle_and_tell(self, request):
            response = await handle(self, request)
            tell(request.path)
            return response
        WSGIHandler.handle_request = handle_and_tell
    serve(telling, options, **more)

serve, run.run = run.run, wrapped
sys.exit(__main__.main())
"""
FILLING = random.Random(0).randbytes(5 << 20)


@pytest.mark.parametrize("name", SERVERS)
def test_server_serves_and_takes_uploads(name: str, client: GetClient, packages: Path, tmp_path: Path) -> None:
    filename, content = make_wheel("demo", "1.0", extra_members={"demo.bin": FILLING})
    new_filename, new_content = make_wheel("demo", "2.0", extra_members={"demo.bin": FILLING})
    last_filename, last_content = make_wheel("demo", "3.0")
    (packages / filename).write_bytes(content)
    (tmp_path / new_filename).write_bytes(new_content)
    environ = server_environ(tmp_path / "server")
    options = ("-i", "127.0.0.1", "-p", "0", "-P", ".", "-a", ".", "--disable-fallback", "--server", name)
    command = [client("servers").python, "-m", "pypiserver", *options, packages]
    with running(command, environ=environ, cwd=tmp_path) as server:
        file_url = f"{server.url}/packages/{filename}"
        assert listed(server.url, "demo") == [filename]
        assert get(file_url) == content
        assert get(file_url, {"Range": "bytes=-1000"}) == content[-1000:]
        form = ("-F", ":action=file_upload", "-F", f"content=@{tmp_path / new_filename}")
        sent = subprocess.run(
            ["curl", "-sS", "--fail-with-body", *form, server.url], capture_output=True, text=True, check=False
        )
        assert sent.returncode == 0, sent.stdout + sent.stderr
        assert (packages / new_filename).read_bytes() == new_content
        assert listed(server.url, "demo") == [filename, new_filename]
        (packages / last_filename).write_bytes(last_content)
        wait_until_listed(server.url, "demo", filename, new_filename, last_filename)
        assert server.stop() == 0
    assert "Traceback" not in server.output


@pytest.mark.parametrize("name", [name for name in SERVERS if name not in WAITS])
def test_server_told_to_end_within_a_request_answers_it(
    name: str, client: GetClient, packages: Path, tmp_path: Path
) -> None:
    """The interrupt is no failure of the application's, or of a task's, and it is not lost."""
    filename, content = make_wheel("demo", "1.0")
    (packages / filename).write_bytes(content)
    options = ("-i", "127.0.0.1", "-p", "0", "-P", ".", "-a", ".", "--disable-fallback", "--server", name)
    command = [client("servers").python, "-c", TOLD_WITHIN, *options, packages]
    with running(command, environ=server_environ(tmp_path / "server"), cwd=tmp_path) as server:
        with contextlib.suppress(*[ConnectionError] if name in CUTS else []):
            assert listed(server.url, "demo") == [filename]
        assert server.process.wait(20) == 0
    for word in ("Traceback", "never retrieved", "ignored", "destroyed"):
        assert word not in server.output


@pytest.mark.parametrize("name", [name for name in SERVERS if name not in WAITS])
def test_server_told_to_end_within_a_thread_of_its_own_ends(
    name: str, client: GetClient, packages: Path, tmp_path: Path
) -> None:
    """A thread of gevent's or eventlet's is a greenlet of the main thread, which runs handlers of signals."""
    options = ("-i", "127.0.0.1", "-p", "0", "-P", ".", "-a", ".", "--disable-fallback", "--server", name)
    command = [client("servers").python, "-c", TOLD_WITHIN, *options, packages]
    with running(command, environ=server_environ(tmp_path / "server"), cwd=tmp_path) as server:
        with contextlib.suppress(ConnectionError, HTTPError):
            get(f"{server.url}/simple/thread/")
        assert server.process.wait(20) == 0
    assert "Traceback" not in server.output


@pytest.mark.parametrize("name", [name for name in SERVERS if name not in (*WAITS, "paste")])
def test_server_told_to_end_while_a_client_does_not_send_its_upload_ends(
    name: str, client: GetClient, packages: Path, tmp_path: Path
) -> None:
    """paste waits for its threads."""
    options = ("-i", "127.0.0.1", "-p", "0", "-P", ".", "-a", ".", "--disable-fallback", "--server", name)
    command = [client("servers").python, "-m", "pypiserver", *options, packages]
    head, body = upload_request(*make_wheel("demo", "1.0"))
    environ = server_environ(tmp_path / "server")
    with running(command, environ=environ, cwd=tmp_path) as server, connect(server.url) as connection:
        connection.sendall(head + body[:100])
        # It waits for the rest.
        time.sleep(0.5)
        server.process.terminate()
        assert server.process.wait(20) == 0
