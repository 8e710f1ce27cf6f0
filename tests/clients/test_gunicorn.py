"""The library under gunicorn: each of four workers must be right, and so must an app mounted below a prefix."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients.harness import JSON_TYPE, PASSWORD, GetClient, installed, server_environ, wait_until_listed
from tests.clients.samples import SHELF, add_project, add_wheel, fill
from tests.clients.uploaders import UPLOADS, built, stored
from tests.live_server import LiveServer, running

WORKERS = 4
ROUNDS = 60
MOUNT = """
import pypiserver

inner = pypiserver.app(root={root!r}, password_file={passwords!r})


def application(environ, start_response):
    prefix, path = "/team/index", environ["PATH_INFO"]
    if not path.startswith(prefix + "/"):
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"not below the prefix"]
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = environ.get("SCRIPT_NAME", "") + prefix, path[len(prefix):]
    return inner(environ, start_response)
"""
Gunicorn = Callable[..., LiveServer]


@pytest.fixture
def gunicorn(client: GetClient, stack: ExitStack, tmp_path: Path) -> Gunicorn:
    """Start gunicorn with an application, on the Python that runs the tests."""
    modules = next((client("gunicorn").bin.parent / "lib").glob("python*/site-packages"))

    def gunicorn(application: str, *, workers: int = WORKERS) -> LiveServer:
        environ = server_environ(tmp_path / "server")
        environ["PYTHONPATH"] += f":{modules}:{tmp_path}"
        log = ("--access-logfile", "-", "--access-logformat", "%(p)s %(r)s")
        command = [sys.executable, "-m", "gunicorn", f"-w{workers}", "-b", "127.0.0.1:0", *log, application]
        return stack.enter_context(running(command, environ=environ, cwd=tmp_path, path="/"))

    return gunicorn


def page_files(url: str, token: int) -> tuple[str, ...]:
    """File names on demo's page, asked for on a connection of its own, so that any worker may answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request("GET", f"/simple/demo/?token={token}", headers={"Accept": JSON_TYPE, "Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
        return tuple(file["filename"] for file in json.loads(body)["files"]) if answer.status == 200 else ()
    finally:
        connection.close()


@pytest.fixture
def tokens() -> Iterator[int]:
    return count()


def every_worker_lists(server: LiveServer, tokens: Iterator[int], expected: tuple[str, ...]) -> None:
    """Ask until all workers have answered; each answer must be the expected one."""
    asked: set[int] = set()
    for _ in range(ROUNDS):
        group = [next(tokens) for _ in range(4 * WORKERS)]
        asked.update(group)
        with ThreadPoolExecutor(len(group)) as pool:
            assert set(pool.map(lambda token: page_files(server.url, token), group)) == {expected}
        answered = re.findall(r"<?(\d+)>? GET /simple/demo/\?token=(\d+) ", server.output)
        if len({pid for pid, token in answered if int(token) in asked}) == WORKERS:
            return
    raise AssertionError(f"not all of {WORKERS} workers answered within {ROUNDS} rounds")


def test_every_worker_knows_an_upload_at_once(
    gunicorn: Gunicorn,
    client: GetClient,
    packages: Path,
    password_file: Path,
    tmp_path: Path,
    tokens: Iterator[int],
) -> None:
    server = gunicorn(f"pypiserver:app(root={str(packages)!r}, password_file={str(password_file)!r})")
    name, upload = UPLOADS["twine 7"]
    tool = client(name)
    seen: tuple[str, ...] = ()
    for version in ("1.0", "1.1", "1.2"):
        project = add_project(tmp_path / version, "demo", version)
        status, output = upload(tool, project, f"{server.url}/", PASSWORD)
        assert status == 0, output
        seen = (*seen, *sorted(built(project)))
        every_worker_lists(server, tokens, seen)
    assert sorted(stored(packages)) == sorted(seen)


def test_every_worker_shows_a_copied_file(
    gunicorn: Gunicorn, packages: Path, tmp_path: Path, tokens: Iterator[int]
) -> None:
    first = add_wheel(packages, "demo", "1.0").name
    server = gunicorn(f"pypiserver:app(root={str(packages)!r})")
    every_worker_lists(server, tokens, (first,))
    second = add_wheel(tmp_path, "demo", "1.1")
    shutil.copyfile(second, packages / second.name)
    wait_until_listed(server.url, "demo", first, second.name)
    every_worker_lists(server, tokens, (first, second.name))
    (packages / first).unlink()
    wait_until_listed(server.url, "demo", second.name)
    every_worker_lists(server, tokens, (second.name,))


def test_several_roots(gunicorn: Gunicorn, client: GetClient, packages: Path, tmp_path: Path) -> None:
    fill(packages)
    experimental = tmp_path / "experimental"
    experimental.mkdir()
    add_wheel(experimental, "demo", "2.5")
    server = gunicorn(f"pypiserver:app(root={[str(packages), str(experimental)]!r})", workers=2)
    site = tmp_path / "site"
    client("pip").pip("install", "--no-deps", "--target", site, "--index-url", f"{server.url}/simple/", "demo")
    assert installed(site) == {"demo": "2.5"}


@pytest.mark.parametrize("name", ["pip", "uv"])
def test_mounted_below_a_prefix(
    name: str, gunicorn: Gunicorn, client: GetClient, packages: Path, password_file: Path, tmp_path: Path
) -> None:
    fill(packages)
    (tmp_path / "mounted.py").write_text(MOUNT.format(root=str(packages), passwords=str(password_file)))
    server = gunicorn("mounted:application", workers=2)
    url = f"{server.url}/team/index"
    project = add_project(tmp_path / "project", "newcomer", "1.0")
    uploader, upload = UPLOADS["twine 7"]
    status, output = upload(client(uploader), project, f"{url}/", PASSWORD)
    assert status == 0, output
    tool = client(name)
    for index in (f"{url}/simple/", url):
        site = tmp_path / f"site {len(index)}"
        tool.run(*tool.installer, "--target", site, "--index-url", index, "demo", "newcomer")
        assert installed(site) == SHELF | {"newcomer": "1.0"}
