"""Every server `--server` can name: it serves a page, a file and a part of it, takes an upload, and ends when told to.

Those that do not install today (bjoern without libev, meinheld, flup's FastCGI, gae) are not here; what is said when a
server is missing is a unit test.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from tests.clients.harness import GetClient, get, listed, server_environ, wait_until_listed
from tests.live_server import running
from tests.make_archives import make_wheel

SERVERS = [
    *("auto", "granian", "waitress", "wsgiref", "aiohttp", "cheroot", "cherrypy", "eventlet", "gevent", "paste"),
    *("tornado", "twisted", "uvloop"),
]
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
