"""What an index is called, on every page and in the feed."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import html5lib
import pytest

from tests.make_archives import make_wheel

from ...wsgi import Client

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
TITLE = 'Ac<b>me & "Co" packages'
ADDRESSES = ["/", "/projects/", "/project/foo/", "/project/foo/1.0/", "/packages/", "/simple/nothing/", "/no/where/"]


@pytest.fixture
def client(serve: Callable[..., Client], put: Callable[..., Path]) -> Client:
    put(*make_wheel("foo", "1.0"))
    return serve(title=TITLE, fallback=False)


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_page_has_the_title_of_the_index(client: Client, path: str) -> None:
    page = client.get(path, HTTP_ACCEPT=BROWSER)
    html5lib.HTMLParser(strict=True).parse(page.body, transport_encoding="utf-8")
    assert f" · {escape(TITLE)}</title>" in page.text.replace("&#039;", "&#x27;")
    assert f'aria-hidden="true"></span>{escape(TITLE)}</a>' in page.text
    assert "<b>me" not in page.text


def test_the_welcome_page_is_headed_by_it(client: Client, serve: Callable[..., Client]) -> None:
    assert f"<h1>{escape(TITLE)}</h1>" in client.get("/", HTTP_ACCEPT=BROWSER).text
    assert f"<h1>{escape(TITLE)}</h1>" in client.get("/", HTTP_ACCEPT="*/*").text
    untitled = serve()
    assert "<h1>Python package index</h1>" in untitled.get("/", HTTP_ACCEPT=BROWSER).text
    assert "<h1>A Python package index</h1>" in untitled.get("/", HTTP_ACCEPT="*/*").text


def test_the_feed_is_named_by_it(client: Client) -> None:
    feed = ElementTree.fromstring(client.get("/projects/feed.atom").body)
    atom = "{http://www.w3.org/2005/Atom}"
    assert (feed.findtext(f"{atom}title"), feed.findtext(f"{atom}author/{atom}name")) == (
        f"{TITLE}: new uploads",
        TITLE,
    )


def test_a_welcome_page_of_ones_own_can_show_it(serve: Callable[..., Client], tmp_path: Path) -> None:
    page = tmp_path / "welcome.html"
    page.write_text("{{TITLE}}", "utf-8")
    assert serve(title="Acme", welcome=page).get("/").text == "Acme"
    assert serve(welcome=page).get("/").text == "pypiserver"
