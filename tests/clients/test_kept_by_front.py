"""Kept files of another index, sent by nginx as it is printed for the server's flags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from tests.clients.fronts import nginx_of, printed
from tests.clients.harness import get, server_environ
from tests.fake_upstream import FakeUpstream, upstream
from tests.hostile import eventually
from tests.live_server import DIRECT, LiveServer, pypi_server, running
from tests.ports import free_ports

LARGE = 300_000


@contextmanager
def fronted(up: FakeUpstream, packages: Path, folder: Path) -> Iterator[tuple[str, LiveServer]]:
    """The address of nginx, and the server behind it, which denies what is in ``folder/deny.txt``."""
    (folder / "deny.txt").write_text("# nothing yet\n")
    (port,) = free_ports(1)
    told: tuple[str | Path, ...] = ("--fallback-mode", "cache", "--fallback-url", up.url, "-i", "127.0.0.1")
    told = (*told, "--cache-folder", folder / "cache", "--deny-projects", folder / "deny.txt", "-p", str(port))
    command, address = pypi_server("--accel", "nginx", *told, packages), f"http://127.0.0.1:{port}"
    with (
        running(command, environ=server_environ(folder / "server"), cwd=folder, address=address) as server,
        nginx_of(printed(*told, packages), server.url) as front,
    ):
        yield front.url, server


def status(url: str) -> int:
    try:
        return len(get(url)) and 200
    except HTTPError as error:
        error.close()
        return error.code


def test_nginx_sends_kept_files_and_nothing_else(packages: Path, tmp_path: Path) -> None:
    with upstream() as up, fronted(up, packages, tmp_path) as (url, server):
        file = up.add_wheel("raven", "1.0", size=LARGE)
        # The first one comes from the server while it is fetched.
        assert get(url + file.path) == file.data
        # An empty body is what nginx takes for its own work.
        eventually(lambda: get(server.url + file.path) == b"")
        up.stop()
        with DIRECT.open(url + file.path) as answer:
            assert answer.read() == file.data
            etag = answer.headers["ETag"]
        assert etag == f'"{file.sha256}"'
        with DIRECT.open(Request(url + file.path, headers={"Range": "bytes=2-5"})) as answer:
            assert (answer.status, answer.read()) == (206, file.data[2:6])
        with pytest.raises(HTTPError, match="304"):
            get(url + file.path, {"If-None-Match": etag})
        assert get(f"{url}{file.path}.metadata") == file.metadata
        (kept,) = (tmp_path / "cache").rglob(file.filename)
        for path in (f"/protected{kept}", f"/protected{kept.parent}/../{kept.name}", f"{kept}"):
            assert status(url + path) in (400, 404), path
        (tmp_path / "deny.txt").write_text("raven # malware\n")
        eventually(lambda: status(url + file.path) == 403)
        with pytest.raises(HTTPError, match="403"):
            get(url + file.path, {"Range": "bytes=0-9"})
