"""Other programs that serve or cache packages, on loopback: devpi, proxpi, simple-repository-server, pypiron."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request

from tests.clients.environments import ensure
from tests.clients.harness import PASSWORD, USER, clean_environ
from tests.live_server import DIRECT, LiveServer, running
from tests.ports import free_ports

# devpi takes 5 seconds on a quiet machine.
START_SECONDS = 150.0


@contextmanager
def started(
    command: list[str | Path], home: Path, port: int, path: str, environ: Mapping[str, str] | None = None
) -> Iterator[LiveServer]:
    """Run a peer until the block ends; it answers at `path` when the block begins."""
    environment = clean_environ(home / "home") | dict(environ or {})
    address = f"http://127.0.0.1:{port}"
    arguments = {"cwd": home, "path": path, "address": address, "seconds": START_SECONDS}
    with running(command, environ=environment, **arguments) as server:
        yield server


@contextmanager
def devpi(home: Path, url: str, *, uploads: bool = False) -> Iterator[tuple[str, LiveServer]]:
    """A mirror of the index at `url`, or an index of its own that takes uploads of root."""
    home.mkdir()
    programs, (port,) = ensure("devpi"), free_ports(1)
    folder = ("--serverdir", home / "data")
    init = [str(programs / "devpi-init"), *map(str, folder), "--root-passwd", PASSWORD]
    subprocess.run(init, env=clean_environ(home / "home"), cwd=home, check=True, capture_output=True)
    command = [programs / "devpi-server", *folder, "--host", "127.0.0.1", "--port", str(port)]
    with started(command, home, port, "/+api") as server:
        token = devpi_token(server.url)
        if uploads:
            ask(f"{server.url}/root/own", "PUT", {"type": "stage", "bases": [], "volatile": True}, token)
            yield f"{server.url}/root/own/+simple/", server
        else:
            # A list of names that has only our own would hide all others.
            settings = [f"mirror_url={url}", "mirror_cache_expiry=1", "mirror_no_project_list=true"]
            ask(f"{server.url}/root/pypi", "PATCH", settings, token)
            yield f"{server.url}/root/pypi/+simple/", server


def devpi_token(url: str) -> str:
    """What a request of root carries."""
    said = ask(f"{url}/+login", "POST", {"user": "root", "password": PASSWORD})
    return base64.b64encode(f"root:{said['result']['password']}".encode()).decode()


def ask(url: str, method: str, body: Any, token: str = "") -> Any:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["X-Devpi-Auth"] = token
    request = Request(url, json.dumps(body).encode(), headers, method=method)
    with DIRECT.open(request, timeout=30) as answer:
        return json.load(answer)


@contextmanager
def proxpi(home: Path, url: str) -> Iterator[tuple[str, LiveServer]]:
    home.mkdir()
    (port,) = free_ports(1)
    environ = {"PROXPI_INDEX_URL": url, "PROXPI_INDEX_TTL": "1", "PROXPI_CACHE_DIR": str(home)}
    command: list[str | Path] = [ensure("proxpi") / "flask", "--app", "proxpi.server", "run", "-p", str(port)]
    with started(command, home, port, "/health", environ) as server:
        yield f"{server.url}/index/", server


@contextmanager
def simple_repository(home: Path, url: str) -> Iterator[tuple[str, LiveServer]]:
    home.mkdir()
    (port,) = free_ports(1)
    program = ensure("simple-repository") / "simple-repository-server"
    with started([program, "--host", "127.0.0.1", "--port", str(port), url], home, port, "/simple/") as server:
        yield f"{server.url}/simple/", server


@contextmanager
def pypiron(home: Path, url: str, *, uploads: bool = False) -> Iterator[tuple[str, LiveServer]]:
    home.mkdir()
    (port,) = free_ports(1)
    command: list[str | Path] = [ensure("pypiron") / "pypiron", "serve", "--data-dir", home / "data"]
    # It asks a feed of advisories of its own accord.
    command += ["--bind-addr", f"127.0.0.1:{port}", "--index-cache-ttl-secs", "1", "--advisory-feed", ""]
    if uploads:
        command += ["--uploader-user", USER, "--uploader-pass", PASSWORD]
    else:
        command += ["--proxy-upstream", url, "--allow-insecure-upstream", "--proxy-allow-cidr", "127.0.0.0/8"]
    with started(command, home, port, "/simple/") as server:
        yield f"{server.url}/simple/", server


Peer = Callable[..., AbstractContextManager[tuple[str, LiveServer]]]
PEERS: Mapping[str, Peer] = {
    "devpi": devpi,
    "proxpi": proxpi,
    "simple-repository": simple_repository,
    "pypiron": pypiron,
}
