"""What needs a project, on its page and as a list."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import html5lib
import pytest

from pypiserver.web.html import browse
from tests.make_archives import core_metadata, make_wheel

from ...wsgi import Client

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def client(serve: Callable[..., Client], put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(browse, "NEEDED_BY", 2)
    put(*make_wheel("lib", "1.0"))
    for name in ("App.One", "app-two", "zebra"):
        put(*make_wheel(name, "1.0", metadata=core_metadata(name, "1.0", requires_dist=["Lib>=1", "absent"])))
    client = serve()
    application = client._application
    application.repository.serial()  # type: ignore[attr-defined]
    while application.backend.digester.digest_some():  # type: ignore[attr-defined]
        pass
    return client


def see(client: Client, path: str) -> str:
    answer = client.get(path, HTTP_ACCEPT=BROWSER)
    assert answer.status == 200
    html5lib.HTMLParser(strict=True).parse(answer.body, transport_encoding="utf-8")
    return answer.text


def test_a_page_says_what_needs_the_project_and_how_many_more(client: Client) -> None:
    part = see(client, "/project/lib/").partition("<h2>Needed by</h2>")[2].partition("</ul>")[0]
    assert re.findall('href="([^"]*)">([^<]*)<', part) == [
        ("../../project/app-one/", "App.One"),
        ("../../project/app-two/", "app-two"),
        ("../../projects/?needs=lib", "and 1 more"),
    ]
    assert "Needed by" not in see(client, "/project/zebra/")


def test_the_list_has_all_of_them(client: Client) -> None:
    page = see(client, "/projects/?needs=Lib")
    assert re.findall('<th scope="row"><a href="../project/([^/]*)/', page) == ["app-one", "app-two", "zebra"]
    assert "3 projects that need lib" in page and 'name="needs" value="lib"' in page
    assert 'href="?sort=date&amp;needs=lib"' in page
    assert "1 project for “zebra” that need lib" in see(client, "/projects/?q=zebra&needs=lib")
    assert "Nothing matches" in see(client, "/projects/?needs=%00<b>")
