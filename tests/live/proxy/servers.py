"""A real server in front of the hostile index, and raw requests to it."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.fake_upstream import FakeUpstream
from tests.live_server import LiveServer, pypi_server, running


@dataclass
class Got:
    """What a client got of a response before it ended; ``is_whole`` if that is as much as was announced."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = False
    error: str = ""


@contextmanager
def proxying(up: FakeUpstream, home: Path, *flags: str, mode: str = "cache") -> Iterator[LiveServer]:
    """A server that asks this index; its cache is ``home/cache``, its own packages ``home/packages``."""
    (home / "packages").mkdir(exist_ok=True)
    command = pypi_server(
        *("--fallback-mode", mode, "--cache-folder", home / "cache", "--fallback-url", up.url, "-a", ".", "-P", "."),
        *("--catalog", home / "catalog.sqlite", *flags, home / "packages"),
    )
    with running(command, environ=os.environ, cwd=home) as server:
        yield server


def get(server: LiveServer, path: str, method: str = "GET", timeout: float = 60.0, **headers: str) -> Got:
    """Ask for a path, and read whatever comes."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout)
    got = Got()
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        got.status = response.status
        got.headers = {name.lower(): value for name, value in response.getheaders()}
        body = bytearray()
        try:
            while block := response.read1(1 << 18):
                body += block
        finally:
            got.body = bytes(body)
        got.is_whole = len(body) == int(got.headers.get("content-length", -1))
    except (http.client.HTTPException, OSError) as error:
        got.error = repr(error)
    finally:
        connection.close()
    return got


@contextmanager
def opened(server: LiveServer, path: str, timeout: float = 30.0) -> Iterator[http.client.HTTPResponse]:
    """A response whose body is read by the caller."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout)
    try:
        connection.request("GET", path)
        yield connection.getresponse()
    finally:
        connection.close()


def together(count: int, ask: Callable[[int], Any]) -> list[Any]:
    """What is got by threads at once."""
    found: list[Any] = [None] * count

    def run(number: int) -> None:
        found[number] = ask(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def visible(cache: Path) -> list[Path]:
    """The files of the cache that a server of it alone may see."""
    return [
        path
        for path in cache.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(cache).parts)
    ]


def growing(cache: Path) -> list[Path]:
    """What is being fetched, or was when its process died."""
    return list(cache.rglob(".upload-*.part"))
