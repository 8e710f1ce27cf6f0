"""``/packages/`` as a browser gets it: a page of the files, with a search; programs get all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import html5lib
import pytest

from pypiserver.web.html import file_search
from tests.make_archives import make_sdist, make_wheel

from ...wsgi import Answer, Client

Serve = Callable[..., Client]
Put = Callable[..., Path]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
PROGRAMS = [
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
    "text/html",
    "text/html, */*; q=0.01",
    "*/*",
]


@pytest.fixture
def client(serve: Serve, put: Put, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(file_search, "PAGE", 3)
    for name in ("Bee", "ant", "Cat", "dog", "Eel"):
        put(*make_wheel(name, "1.0"))
    put(*make_sdist("ant", "1.0"))
    return serve()


def see(client: Client, path: str) -> Answer:
    answer = client.get(path, HTTP_ACCEPT=BROWSER)
    assert (answer.status, "Accept" in answer.headers["vary"]) == (200, True)
    html5lib.HTMLParser(strict=True).parse(answer.body, transport_encoding="utf-8")
    return answer


def files(answer: Answer) -> list[str]:
    return re.findall(r'<td><a href="[^"]*">([^<]*)</a>', answer.text)


def link(answer: Answer, relation: str) -> str:
    return urljoin("/packages/", unescape(re.findall(f'rel="{relation}" href="([^"]*)"', answer.text)[0]))


def test_pages_of_the_files(client: Client) -> None:
    first = see(client, "/packages/")
    assert files(first) == ["ant-1.0-py3-none-any.whl", "ant-1.0.tar.gz", "Bee-1.0-py3-none-any.whl"]
    assert 'rel="prev"' not in first.text and "6 files" in first.text
    second = see(client, link(first, "next"))
    assert files(second) == ["Cat-1.0-py3-none-any.whl", "dog-1.0-py3-none-any.whl", "Eel-1.0-py3-none-any.whl"]
    assert 'rel="next"' not in second.text
    assert files(see(client, link(second, "prev"))) == files(first)


def test_a_letter_leads_to_the_projects_from_there_on(client: Client) -> None:
    assert files(see(client, "/packages/?from=C"))[0] == "Cat-1.0-py3-none-any.whl"
    assert files(see(client, "/packages/?from=x")) == []


def test_a_search_of_files(client: Client) -> None:
    assert files(see(client, "/packages/?q=ANT")) == ["ant-1.0-py3-none-any.whl", "ant-1.0.tar.gz"]
    narrow = see(client, "/packages/?q=tar")
    assert files(narrow) == []
    wide = urljoin("/packages/", unescape(re.findall('href="([^"]*anywhere=1)"', narrow.text)[0]))
    assert files(see(client, wide)) == ["ant-1.0.tar.gz"]


@pytest.mark.parametrize("accept", PROGRAMS)
def test_programs_get_every_file(client: Client, accept: str) -> None:
    answer = client.get("/packages/", HTTP_ACCEPT=accept)
    assert len(re.findall(r"(?:whl|gz)(?:#[^\"]*)?\">", answer.text)) == 6
    assert "Accept" in answer.headers["vary"].split(", ")


def test_a_person_can_have_all_on_one_page(client: Client) -> None:
    assert files(see(client, "/packages/?all=1")) == files(client.get("/packages/"))


@pytest.mark.parametrize(
    "query",
    ["?after=", "?after=a", "?after=%00/x", "?after=%ED%A0%80/x", "?before=zzz/", "?after=~/~", "?from=%00", "?q=%00",
     "?q=%25", "?q=%ff", f"?after={'a' * 5000}/x", "?q=<script>alert(1)</script>", "?from=<b>&before=x/<b>"],
)  # fmt: skip
def test_a_query_that_means_nothing_does_no_harm(client: Client, query: str) -> None:
    assert "<script" not in see(client, f"/packages/{query}").text
