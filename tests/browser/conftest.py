"""Fixtures of the browser tests: one server over made-up packages, one browser, and a page that reports its troubles.

They need Debian's chromium (apt-get install chromium) and Playwright (the extra ``browser``); nothing is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import library
from tests.browser.chromium import chromium, context
from tests.live_server import LiveServer, pypi_server, running

PICTURES = Path(__file__).resolve().parents[2] / ".cache" / "screenshots"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LiveServer]]:
    """Start a server over a new folder that `fill` fills; it ends with the session."""
    running_servers = []

    def serve(*fill: Callable[[Path], None]) -> LiveServer:
        folder = tmp_path_factory.mktemp("server")
        packages = folder / "packages"
        packages.mkdir()
        for each in fill:
            each(packages)
        environ = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
        flags = ("-P", ".", "-a", ".", "--stats", folder / "downloads.sqlite")
        server = running(pypi_server(*flags, packages), environ=environ, cwd=folder)
        running_servers.append(server)
        started = server.__enter__()
        library.have_all_read(started.url)
        return started

    yield serve
    for server in running_servers:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def server(serve: Callable[..., LiveServer]) -> LiveServer:
    return serve(library.fill, lambda folder: library.fill_many(folder, 60))


@pytest.fixture(scope="session")
def empty(serve: Callable[..., LiveServer]) -> LiveServer:
    return serve()


@pytest.fixture(scope="session")
def hostile(serve: Callable[..., LiveServer]) -> LiveServer:
    return serve(library.fill_hostile)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address in a new profile; the test fails when a page logs, blocks, fails or leaves this machine."""
    contexts = []
    troubles: list[str] = []

    def visit(url: str, *, size: str = "desktop", scheme: str = "light") -> Page:
        made = context(browser, size=size, scheme=scheme)
        contexts.append(made)
        page = made.new_page()
        page.on("console", lambda message: troubles.append(f"console: {message.type} {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("requestfailed", lambda request: _note(request.url, str(request.failure), troubles))
        page.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("response", lambda answer: _check(answer.status, answer.url, troubles))
        page.on("request", lambda request: _stay(request.url, troubles))
        page.goto(url)
        return page

    yield visit
    for made in contexts:
        made.close()
    assert troubles == []


def _note(url: str, failure: str, troubles: list[str]) -> None:
    # The browser continued by itself: to a page that turned out to be a file to keep, or before an icon was there.
    if failure != "net::ERR_ABORTED":
        troubles.append(f"failed: {url} {failure}")


def _check(status: int, url: str, troubles: list[str]) -> None:
    if status >= 400:
        troubles.append(f"{status}: {url}")


def _stay(url: str, troubles: list[str]) -> None:
    if not url.startswith("http://127.0.0.1:"):
        troubles.append(f"elsewhere: {url}")
