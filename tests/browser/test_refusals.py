"""Pages of refusals: each in the frame, with a search for what was asked for, light, dark and on a phone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.live_server import LiveServer, pypi_server, running
from tests.make_archives import make_wheel

from .chromium import context
from .conftest import PICTURES
from .test_pages import CONTRAST, OVERFLOW, looks

FALLBACK = ("--fallback-url", "https://other.example/simple/", "--title", "Harbor packages")


def environ(home: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refusals")
    (folder / "packages" / ".status").mkdir(parents=True)
    for name in ("lantern", "bad"):
        filename, data = make_wheel(name, "1.0")
        (folder / "packages" / filename).write_bytes(data)
    (folder / "packages" / ".status" / "bad").write_text("quarantined\nit steals")
    return folder


@pytest.fixture(scope="module")
def open_server(folder: Path) -> Iterator[LiveServer]:
    with running(
        pypi_server("-P", ".", "-a", ".", *FALLBACK, folder / "packages"), environ=environ(folder), cwd=folder
    ) as server:
        yield server


@pytest.fixture(scope="module")
def closed(folder: Path) -> Iterator[LiveServer]:
    """A server that wants a password of which no one has one."""
    (folder / "htpasswd").write_text("a:$apr1$x$y\n")
    flags = ("-P", folder / "htpasswd", "-a", "list,download,update", "--catalog", folder / "closed.sqlite")
    with running(pypi_server(*flags, folder / "packages"), environ=environ(folder), cwd=folder) as server:
        yield server


def cancel(route: Route) -> None:
    """Show the page as a browser does whose user gives no password; this one shows an error of its own."""
    answer = route.fetch()
    headers = {name: value for name, value in answer.headers.items() if name != "www-authenticate"}
    route.fulfill(response=answer, headers=headers)


def look(browser: Browser, url: str, status: int, name: str, size: str, scheme: str) -> Page:
    page = context(browser, size=size, scheme=scheme).new_page()
    page.route(url, cancel)
    answer = page.goto(url)
    assert answer is not None and answer.status == status
    check(page, f"{status}-{name or 'none'}-{size}-{scheme}")
    expect(page.get_by_label("Search projects")).to_have_value(name)
    return page


def check(page: Page, picture: str) -> None:
    page.screenshot(path=PICTURES / f"refusal-{picture}.png", full_page=True)
    assert (page.evaluate(OVERFLOW), page.evaluate(CONTRAST)) == ([0], [])
    expect(page.get_by_role("heading", level=1)).to_have_count(1)


@looks
def test_a_project_that_is_not_here(browser: Browser, open_server: LiveServer, size: str, scheme: str) -> None:
    page = look(browser, open_server.url + "/project/no.such-thing/", 404, "no-such-thing", size, scheme)
    link = page.get_by_role("link", name="Look for no-such-thing on other.example")
    expect(link).to_have_attribute("href", "https://other.example/simple/no-such-thing/")
    expect(page.get_by_role("link", name="Harbor packages")).to_be_visible()
    page.get_by_label("Search projects").fill("lant")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name="lantern")).to_be_visible()


@looks
def test_a_password_that_was_not_given(browser: Browser, closed: LiveServer, size: str, scheme: str) -> None:
    page = look(browser, closed.url + "/project/lantern/", 401, "lantern", size, scheme)
    expect(page.get_by_role("heading", name="Unauthorized")).to_be_visible()


@looks
def test_a_file_that_may_not_be_read(browser: Browser, open_server: LiveServer, size: str, scheme: str) -> None:
    look(browser, open_server.url + "/packages/bad-1.0-py3-none-any.whl", 403, "bad", size, scheme)


@looks
def test_a_method_that_an_address_does_not_take(
    browser: Browser, open_server: LiveServer, size: str, scheme: str
) -> None:
    page = context(browser, size=size, scheme=scheme).new_page()
    page.route("**/form", lambda route: route.fulfill(body=f'<form method=post action="{open_server.url}/projects/">'
               "<button>Send</button></form>", content_type="text/html"))  # fmt: skip
    page.goto(open_server.url + "/form")
    with page.expect_navigation() as answer:
        page.get_by_role("button").click()
    assert answer.value.status == 405
    check(page, f"405-{size}-{scheme}")


@pytest.fixture(scope="module")
def broken(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose folder is gone."""
    home = tmp_path_factory.mktemp("broken")
    shutil.copytree(folder / "packages", home / "packages")
    command = pypi_server("-P", ".", "-a", ".", *FALLBACK, home / "packages")
    with running(command, environ=environ(home), cwd=home) as server:
        (home / "packages").rename(home / "gone")
        yield server


@looks
def test_an_outage(browser: Browser, broken: LiveServer, size: str, scheme: str) -> None:
    page = look(browser, broken.url + "/project/other-thing/", 503, "other-thing", size, scheme)
    expect(page.get_by_text("Look for")).to_have_count(0)
