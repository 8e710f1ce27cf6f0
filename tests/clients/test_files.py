"""Files over each server, as it comes: validators, one range, HEAD, and a download that is cut off and resumed."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients.harness import GetClient, Record, Serve, installed, server_environ
from tests.clients.samples import add_wheel
from tests.live_server import LiveServer, pypi_server, running

SERVERS = ["granian", "waitress", "gunicorn"]
NAME = "demo-1.0-py2.py3-none-any.whl"
REVALIDATE = "max-age=0, must-revalidate"
# More than any buffer between us and the client, so that a body is sent in pieces.
SIZE = 3_000_000


@pytest.fixture
def wheel(packages: Path) -> bytes:
    return add_wheel(packages, "demo", "1.0", ballast=SIZE).read_bytes()


@pytest.fixture(params=SERVERS)
def server(
    request: pytest.FixtureRequest, client: GetClient, stack: ExitStack, packages: Path, tmp_path: Path, wheel: bytes
) -> LiveServer:
    environ = server_environ(tmp_path / "server")
    if request.param == "gunicorn":
        modules = next((client("gunicorn").bin.parent / "lib").glob("python*/site-packages"))
        environ["PYTHONPATH"] += f":{modules}"
    command = pypi_server(
        "--disable-fallback", "--server", request.param, "--catalog", tmp_path / "catalog.sqlite", packages
    )
    # Asked whether it is there at an address for which it needs to know nothing of the folder.
    return stack.enter_context(running(command, environ=environ, cwd=tmp_path, path="/favicon.ico"))


@pytest.fixture
def ask(server: LiveServer) -> Iterator[Callable[..., tuple[int, dict[str, str], bytes]]]:
    """Ask for the wheel, or what is next to it, again and again on one connection."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)

    def ask(method: str = "GET", *, suffix: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/packages/{NAME}{suffix}", headers={"Accept-Encoding": "gzip", **given})
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body

    yield ask
    connection.close()


def test_a_file_is_the_same_over_every_server(
    ask: Callable[..., tuple[int, dict[str, str], bytes]], wheel: bytes, packages: Path
) -> None:
    etag, size = f'"{hashlib.sha256(wheel).hexdigest()}"', len(wheel)
    status, headers, body = ask()
    assert (status, body == wheel, headers["etag"]) == (200, True, etag)
    assert (headers["content-length"], headers["accept-ranges"]) == (str(size), "bytes")
    assert (headers["cache-control"], headers.get("content-encoding")) == (REVALIDATE, None)
    modified = headers["last-modified"]
    status, head, body = ask("HEAD")
    assert (status, body) == (200, b"")
    assert {**head, "date": ""} == {**headers, "date": ""}
    for known in (etag, f'"other", W/{etag}', "*"):
        status, headers, body = ask(If_None_Match=known)
        assert (status, body, headers["etag"], headers["cache-control"]) == (304, b"", etag, REVALIDATE)
    assert ask(If_None_Match='"other"')[0] == 200
    assert ask(If_Modified_Since=modified)[0] == 304
    half = size // 2
    for wanted, start, stop in (
        (f"bytes={half}-", half, size),
        (f"bytes={half}-{half + 9}", half, half + 10),
        ("bytes=-10000", size - 10_000, size),
        (f"bytes=-{size + 5}", 0, size),
    ):
        for more in ({}, {"If_Range": etag}):
            status, headers, body = ask(Range=wanted, **more)
            assert (status, body == wheel[start:stop]) == (206, True), wanted
            assert headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
            assert headers["content-length"] == str(stop - start)
    for ignored in ({"Range": "bytes=5-9", "If_Range": '"other"'}, {"Range": "bytes=0-1,5-6"}):
        status, _, body = ask(**ignored)
        assert (status, body == wheel) == (200, True)
    status, headers, _ = ask(Range=f"bytes={size}-")
    assert (status, headers["content-range"]) == (416, f"bytes */{size}")


def test_files_are_read_before_anyone_asks(server: LiveServer, wheel: bytes, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as catalog:
        until = time.monotonic() + 20
        while not (known := catalog.execute("SELECT sha256 FROM file WHERE sha256 <> ''").fetchall()):
            assert time.monotonic() < until, server.output
            time.sleep(0.05)
    assert known == [(hashlib.sha256(wheel).hexdigest(),)]


def test_metadata_is_that_of_the_wheel_whatever_is_next_to_it(
    ask: Callable[..., tuple[int, dict[str, str], bytes]], packages: Path
) -> None:
    (packages / f"{NAME}.metadata").write_text("Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: evil\n")
    status, headers, body = ask(suffix=".metadata")
    assert (status, headers["cache-control"]) == (200, REVALIDATE)
    assert headers["etag"] == f'"{hashlib.sha256(body).hexdigest()}"'
    assert b"Name: demo\n" in body and b"evil" not in body
    assert ask(suffix=".metadata", If_None_Match=headers["etag"])[0] == 304


def test_pip_resumes_a_download_that_was_cut_off(
    client: GetClient, serve: Serve, record: Record, wheel: bytes, tmp_path: Path
) -> None:
    recorder = record(serve())
    recorder.cut = 1_000_000
    tool = client("pip")
    tool.run(*tool.installer, "--target", tmp_path / "site", "--index-url", f"{recorder.url}/simple/", "demo")
    assert installed(tmp_path / "site") == {"demo": "1.0"}
    first, second = [request for request in recorder.requests if request.kind in ("file", "range")]
    assert (first.status, second.status) == (200, 206)
    # It resumes only what is surely the same file.
    assert second.headers["if-range"] == f'"{hashlib.sha256(wheel).hexdigest()}"'
    assert second.headers["range"].startswith("bytes=")
