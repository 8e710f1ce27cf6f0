"""What the deploy commands print, given to the programs that read it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.test_live_log import wait_until
from tests.live.test_reload import status
from tests.live_server import LiveServer, answers, pypi_server, running
from tests.make_archives import make_wheel
from tests.ports import free_port
from tests.unit.cli.commands.test_deploy import LARGE, LARGE_BYTES, NGINX, get, printed

pytestmark = pytest.mark.live
WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")


@contextlib.contextmanager
def nginx_with(block: str, folder: Path) -> Iterator[str]:
    """nginx with the printed configuration, on a port of its own, started without a warning; gives its address."""
    asked = re.search(r"listen (\d+);", block)
    outer = free_port() if asked is None or asked[1] == "80" else int(asked[1])
    block = re.sub(r"listen \d+;", f"listen 127.0.0.1:{outer};", block)
    block = block.replace("/var/cache/nginx-pypiserver", f"{folder}/pages")
    temporary = "".join(
        f"{each}_temp_path {folder}/{each};\n" for each in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body")
    )
    user = "user root;\n" if hasattr(os, "getuid") and os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log stderr warn;\n{user}events {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{block}}}\n"
    )
    command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0 and "[warn]" not in checked.stderr, checked.stderr
    with subprocess.Popen(command) as process:
        try:
            yield f"http://127.0.0.1:{outer}"
        finally:
            process.terminate()


@pytest.fixture
def served(request: pytest.FixtureRequest, root: Path, tmp_path: Path) -> Iterator[LiveServer]:
    """The server as the printed configuration says it should be started, below the prefix of a test that has one."""
    prefix = getattr(request.node, "callspec", None) and request.node.callspec.params.get("prefix")
    told: tuple[str, ...] = ()
    address = ""
    if prefix:
        # The address it prints is the one it is told, so its port must be known.
        port, outer = free_port(), free_port()
        told = ("--server-base-url", f"http://127.0.0.1:{outer}{prefix}/", "-p", str(port), "-i", "127.0.0.1")
        address = f"http://127.0.0.1:{port}"
    (root / WHEEL).write_bytes(WHEEL_BYTES)
    (root / LARGE).write_bytes(LARGE_BYTES)
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = pypi_server("--accel", "nginx", "--disable-fallback", "--log-stream", "stdout", *told, root)
    with running(command, environ=environ, cwd=tmp_path, address=address) as live:
        yield live


def recipe(live: LiveServer, capsys: pytest.CaptureFixture[str], root: Path, *more: str) -> str:
    return printed(capsys, "nginx", "-p", live.url.rpartition(":")[2], *more, str(root))


with_nginx = pytest.mark.skipif(NGINX is None, reason="no nginx here")


@with_nginx
@pytest.mark.parametrize("prefix", ["", "/pypi"])
def test_pip_installs_through_the_nginx_that_is_printed(
    prefix: str, served: LiveServer, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "http://127.0.0.1"
    if prefix:
        own = re.compile(rf"http://127.0.0.1:\d+{prefix}")
        # It may answer before it has printed its address.
        wait_until(lambda: own.search(served.output) is not None)
        told = own.findall(served.output)[0]
    block = recipe(served, capsys, root, "--server-base-url", f"{told}/")
    with nginx_with(block, tmp_path) as address:
        url = f"{address}{prefix}"
        wait_until(lambda: answers(f"{url}/health"))
        pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "download", "--no-deps",
               "--no-cache-dir", "-d", str(tmp_path / "got"), "--index-url", f"{url}/simple/", "foo"]  # fmt: skip
        subprocess.run(pip, check=True, capture_output=True, timeout=120)
        # Told its address, the server says that one.
        assert f"{told if prefix else url}/simple/" in get(f"{url}/").decode()
        for name, data in ((WHEEL, WHEEL_BYTES), (LARGE, LARGE_BYTES)):
            assert get(f"{url}/packages/{name}", Range="bytes=2-5") == data[2:6]
            assert get(f"{url}/packages/{name}") == data
        assert get(f"{served.url}/packages/{LARGE}") == b""
        for hidden in (f"/protected{root}/{WHEEL}", f"{prefix}/protected{root}/{WHEEL}"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(f"{address}{hidden}")
        served.url = url
        assert status(served, "/simple/Foo/") == 302
    assert (tmp_path / "got" / WHEEL).read_bytes() == WHEEL_BYTES


@with_nginx
def test_nginx_keeps_pages_and_asks_whether_they_changed(
    served: LiveServer, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer, newer_bytes = make_wheel("foo", "2.0")
    asked = re.compile(r'"GET /simple/foo/" (\d+)')
    with nginx_with(recipe(served, capsys, root), tmp_path) as url:
        page = f"{url}/simple/foo/"
        wait_until(lambda: answers(f"{url}/health"))
        for _ in range(60):
            assert get(page).startswith(b"<!DOCTYPE html>")
            assert get(page, Accept="application/vnd.pypi.simple.v1+json").startswith(b"{")
        wait_until(lambda: get(page) != b"" and "304" in asked.findall(served.output))
        assert len(asked.findall(served.output)) < 60
        (root / newer).write_bytes(newer_bytes)
        wait_until(lambda: newer.encode() in get(page))


@with_nginx
@pytest.mark.parametrize("prefix", ["", "/pypi"])
def test_a_stranger_puts_no_page_in_the_place_of_another(
    prefix: str, served: LiveServer, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--server-base-url", f"http://127.0.0.1{prefix}/") if prefix else ()
    with nginx_with(recipe(served, capsys, root, *flags), tmp_path) as address:
        wait_until(lambda: answers(f"{address}{prefix}/health"))
        for at in ("/simple/foo/", "/simple/", f"/packages/{WHEEL}", f"/packages/{WHEEL}.metadata"):
            right = get(f"{served.url}{at}")
            bare = at.rstrip("/")
            for mark in ("-", "_"):
                for host in ("h", "h:80", "h, h"):
                    evil = {
                        f"X{mark}Forwarded{mark}Prefix": bare,
                        f"X{mark}Forwarded{mark}Host": host + bare,
                        "Forwarded": f"host=h{bare}",
                        "Host": "pypi",
                    }
                    assert get(f"{address}{prefix}{at}", **evil) == right
            # The key of the cache has the host, which is the client's own.
            for _ in range(3):
                assert get(f"{address}{prefix}{at}", Host="pypi") == get(f"{address}{prefix}{at}") == right


@with_nginx
def test_nginx_keeps_small_files_until_they_are_gone(
    served: LiveServer, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = re.compile(rf'"GET /packages/{WHEEL}" (\d+)')
    with nginx_with(recipe(served, capsys, root), tmp_path) as url:
        address = f"{url}/packages/{WHEEL}"
        wait_until(lambda: answers(f"{url}/health"))
        for _ in range(60):
            assert get(address) == WHEEL_BYTES
        wait_until(lambda: get(address) == WHEEL_BYTES and "304" in asked.findall(served.output))
        assert len(asked.findall(served.output)) < 60
        (root / WHEEL).unlink()
        served.url = url
        wait_until(lambda: status(served, f"/packages/{WHEEL}") == 404)
