"""A notebook in the browser that installs from our index: micropip in Pyodide, from a page of another origin."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page

from tests.clients.harness import PASSWORD, USER, write_password_file
from tests.clients.samples import fill
from tests.live_server import LiveServer, pypi_server, running
from tests.ports import free_port

from .chromium import context
from .pyodide import notebook

SERVERS = ["granian", "waitress"]
INSTALL = """
import micropip
await micropip.install("demo==2.0", index_urls={index!r}{more})
import demo, demo_helper
[demo.__version__, demo_helper.__version__]
"""
READ = """
from pyodide.http import pyfetch
login = {{"Authorization": "Basic {login}"}}
refused = await pyfetch("{url}/simple/demo/")
page = await pyfetch("{url}/simple/demo/", headers={{**login, "Accept": "application/vnd.pypi.simple.v1+json"}})
files = (await page.json())["files"]
file = await pyfetch(files[0]["url"], headers=login)
[refused.status, page.status, file.status, len(files)]
"""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with notebook() as address:
        yield address


@pytest.fixture
def page(browser: Browser, origin: str) -> Iterator[Page]:
    made = context(browser)
    made.set_default_timeout(120_000)
    page = made.new_page()
    page.goto(f"{origin}/index.html")
    yield page
    made.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., LiveServer]]:
    """A server that knows its own address, as micropip demands; it ends with the test."""
    with ExitStack() as stack:

        def serve(*flags: str | Path) -> LiveServer:
            packages = tmp_path / "packages"
            packages.mkdir()
            fill(packages)
            port = str(free_port())
            environ = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
            address = ("-p", port, "--server-base-url", f"http://127.0.0.1:{port}")
            command = pypi_server("--disable-fallback", *address, *flags, packages)
            return stack.enter_context(running(command, environ=environ, cwd=tmp_path))

        yield serve


def install(page: Page, server: LiveServer, more: str = "") -> list[str]:
    found = page.evaluate(
        "async code => (await python(code)).toJs()", INSTALL.format(index=f"{server.url}/simple", more=more)
    )
    return list(found)


@pytest.mark.parametrize("server_name", SERVERS)
@pytest.mark.parametrize("named", ["*", "by name"])
def test_micropip_installs_what_it_may_read(
    page: Page, origin: str, serve: Callable[..., LiveServer], server_name: str, named: str
) -> None:
    server = serve("--server", server_name, "--allow-origin", origin if named == "by name" else "*")
    # The newest is for a Python no one has, where micropip does not look.
    assert install(page, server) == ["2.0", "1.5"]


@pytest.mark.parametrize("flags", [(), ("--allow-origin", "https://notebooks.example")], ids=["default", "another"])
def test_micropip_reads_nothing_by_default_nor_for_another_origin(
    page: Page, origin: str, serve: Callable[..., LiveServer], flags: tuple[str, ...]
) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    server = serve(*flags)
    with pytest.raises(Error):
        install(page, server)
    # The browser itself says why: the server answered, and the page was not let read it.
    refused = f"Access to fetch at '{server.url}/simple/demo/' from origin '{origin}' has been blocked by CORS policy"
    assert any(refused in line for line in said), said


@pytest.mark.parametrize("server_name", SERVERS)
def test_a_page_reads_with_a_password(
    page: Page, serve: Callable[..., LiveServer], tmp_path: Path, server_name: str
) -> None:
    """The browser asks first, and without the password, whether it may send one; micropip itself can send none."""
    htpasswd = write_password_file(tmp_path / "htpasswd")
    server = serve("--server", server_name, "--allow-origin", "*", "-P", htpasswd, "-a", "update,download,list")
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    read = READ.format(url=server.url, login=login)
    assert page.evaluate("async code => (await python(code)).toJs()", read) == [401, 200, 200, 3]
