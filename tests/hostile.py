"""Clients that do not play along, and the servers that must bear them: everything on loopback, everything bounded."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib.util
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.live_server import REPOSITORY, LiveServer, pypi_server, running
from tests.make_archives import make_wheel
from tests.unit.wsgi import form

# Every server we recommend.
SERVERS = ("granian", "waitress", "gunicorn")
OPEN = ("-P", ".", "-a", ".", "--disable-fallback")
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
every_server = pytest.mark.parametrize("server", SERVERS)


def modules_of(server: str) -> list[str]:
    """Where a server is that is not installed next to us; the test is skipped where no one made that environment."""
    if server != "gunicorn" or importlib.util.find_spec(server) is not None:
        return []
    found = sorted((REPOSITORY / ".cache" / "clients" / "gunicorn" / "lib").glob("python3*/site-packages"))
    if not found:
        pytest.skip("there is no gunicorn; make one with: .venv/bin/python tests/clients/environments.py")
    return [str(found[0])]


def environ_for(server: str, home: Path) -> dict[str, str]:
    """The environment of a server under test, which keeps what it must keep below ``home``."""
    path = os.pathsep.join([str(REPOSITORY), *modules_of(server)])
    (home / "tmp").mkdir(exist_ok=True)
    own = {"XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home / "tmp")}
    return {**os.environ, **own, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def serving(
    home: Path, *arguments: str | Path, server: str = "granian", folder: Path | None = None
) -> Iterator[LiveServer]:
    """A server over ``packages`` below ``home``, or another folder; it ends with the block."""
    if folder is None:
        folder = home / "packages"
        folder.mkdir(exist_ok=True)
    command = pypi_server("--server", server, *arguments, folder)
    with running(command, environ=environ_for(server, home), cwd=home) as live:
        yield live


@dataclass(frozen=True)
class Reply:
    """What came back, and after how many seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


def ask(
    url: str, path: str, *, method: str = "GET", body: bytes | None = None, timeout: float = 30, **headers: str
) -> Reply:
    """One request on a connection of its own; header names are given with ``_`` for ``-``."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
    try:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers={"Connection": "close", **fields})
        answer = connection.getresponse()
        data = answer.read()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, data, time.monotonic() - began)
    finally:
        connection.close()


def connect(url: str, *, receive_bytes: int = 0) -> socket.socket:
    """A bare connection; a small buffer makes a reader that does not read felt at the other end."""
    parts = urlsplit(url)
    bare = socket.socket()
    if receive_bytes:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    bare.settimeout(20)
    bare.connect((parts.hostname or "127.0.0.1", parts.port or 80))
    return bare


def upload_request(filename: str, content: bytes, *, path: str = "/", **headers: str) -> tuple[bytes, bytes]:
    """The head and the body of an upload as twine sends it."""
    body, kind = form({":action": "file_upload"}, filename, content)
    fields = {"Host": "x", "Content-Type": kind, "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode(), body


def upload(url: str, filename: str, content: bytes, *, timeout: float = 30, **headers: str) -> Reply:
    body, kind = form({":action": "file_upload"}, filename, content)
    return ask(url, "/", method="POST", body=body, timeout=timeout, Content_Type=kind, **headers)


def wheel(project: str, version: str = "1.0", *, filler: int = 0) -> tuple[str, bytes]:
    """A wheel with ``filler`` bytes that do not compress."""
    extra = {"filler.bin": os.urandom(filler)} if filler else None
    return make_wheel(project, version, extra_members=extra)


class NotYetError(AssertionError):
    """The index says 503 of a project, as it does while its files are copied."""


def listed(url: str, project: str) -> dict[str, str]:
    """File name and sha256 of what the index shows of a project, nothing for one that is unknown.

    Raises NotYetError for 503, which :func:`eventually` waits for.
    """
    reply = ask(url, f"/simple/{project}/", Accept=JSON_TYPE)
    if reply.status == 404:
        return {}
    if reply.status == 503:
        raise NotYetError(reply)
    assert reply.status == 200, reply
    return {file["filename"]: file["hashes"]["sha256"] for file in json.loads(reply.body)["files"]}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def visible(folder: Path) -> list[str]:
    """The names in a folder that are not hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def leftovers(folder: Path) -> list[str]:
    """The hidden names in a folder, and among the statuses in it: none is expected once nothing is under way."""
    statuses = folder / ".status"
    names = [*folder.iterdir(), *(statuses.iterdir() if statuses.is_dir() else ())]
    return sorted(path.name for path in names if path.name.startswith(".") and path != statuses)


def eventually(question: object, *, seconds: float = 15.0) -> None:
    """Wait until a question is answered with something true, and not with NotYetError; fails with the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := question():  # type: ignore[operator]
                return
        except NotYetError as error:
            answer = error
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
