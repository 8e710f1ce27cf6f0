"""The welcome page: the operator's own, with the variables of the reference, and the built-in one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import html5lib
import pytest

from pypiserver import __version__
from pypiserver.errors import ConfigError
from tests.make_archives import make_sdist, make_wheel
from tests.raising import raises

from ...wsgi import Client

Serve = Callable[..., Client]
Put = Callable[..., Path]


@pytest.fixture
def welcome(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "welcome.html"
        path.write_text(text, "utf-8")
        return path

    return write


@pytest.fixture(autouse=True)
def packages(put: Put) -> None:
    put(*make_wheel("foo", "1.0"))
    put(*make_sdist("foo", "1.0"))


def test_every_variable_of_the_reference_is_there(serve: Serve, welcome: Callable[[str], Path]) -> None:
    page = welcome("{{URL}}|{{VERSION}}|{{NUMPKGS}}|{{PACKAGES}}|{{SIMPLE}}|ü")
    answer = serve(welcome=page).get("/", HTTP_HOST="pypi.example")
    assert answer.text == f"http://pypi.example/|{__version__}|2|/packages/|/simple/|ü"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("settings", "fields", "url"),
    [
        ({"server_base_url": "/team/pypi/"}, {}, "http://pypi.example/team/pypi/"),
        ({"server_base_url": "https://other.example/a/"}, {}, "https://other.example/a/"),
        ({}, {"SCRIPT_NAME": "/unstable"}, "http://pypi.example/unstable/"),
        (
            {"forwarded_headers": "host"},
            {"HTTP_X_FORWARDED_HOST": "front.example/pp"},
            "http://front.example/pp/",
        ),
    ],
)
def test_the_lists_are_named_by_their_paths_as_in_older_versions(
    serve: Serve, welcome: Callable[[str], Path], settings: dict[str, str], fields: dict[str, str], url: str
) -> None:
    page = serve(welcome=welcome("{{URL}} {{PACKAGES}} {{SIMPLE}}"), **settings)
    path = "/" + url.split("/", 3)[3]
    assert page.get("/", HTTP_HOST="pypi.example", **fields).text == f"{url} {path}packages/ {path}simple/"


@pytest.mark.parametrize("host", ['"><script>', "a b", "x/y", "'onload='", ""])
def test_what_a_client_sends_is_no_markup(serve: Serve, welcome: Callable[[str], Path], host: str) -> None:
    page = serve(welcome=welcome("<a href='{{URL}}'>{{URL}}</a>")).get("/", HTTP_HOST=host).text
    assert page == "<a href='http://127.0.0.1:80/'>http://127.0.0.1:80/</a>"


def test_variables_are_escaped(serve: Serve, welcome: Callable[[str], Path]) -> None:
    page = serve(welcome=welcome("{{URL}}"), server_base_url="https://pypi.example/a&b").get("/").text
    assert page == "https://pypi.example/a&amp;b/"


def test_the_page_itself_can_be_given(serve: Serve) -> None:
    assert serve(welcome_msg="hi {{NUMPKGS}}").get("/").text == "hi 2"
    assert "A Python package index" in serve(welcome_msg="").get("/").text


@pytest.mark.parametrize("text", ["% if", "{{1 +}}"])
def test_a_page_that_is_no_template_is_refused_at_start(
    serve: Serve, welcome: Callable[[str], Path], text: str
) -> None:
    with raises(ConfigError, kind="template", setting="welcome"):
        serve(welcome=welcome(text))


def test_a_page_that_fails_is_a_line_of_the_log_and_stops_nothing_else(
    serve: Serve, welcome: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(welcome=welcome("{{URL.nothing}}"))
    answer = client.get("/")
    assert (answer.status, "welcome" in answer.text) == (500, False)
    assert "The welcome page cannot be shown: AttributeError" in caplog.text
    assert client.get("/simple/").status == 200


def test_a_missing_page_is_refused_at_start(serve: Serve, tmp_path: Path) -> None:
    with raises(ConfigError, kind="unreadable", setting="welcome", value=tmp_path / "nowhere.html"):
        serve(welcome=tmp_path / "nowhere.html")


@pytest.mark.parametrize("prefix", ["", "/pypi"])
def test_the_built_in_page_shows_the_address_to_use(serve: Serve, prefix: str) -> None:
    body = serve().get("/", HTTP_HOST="pypi.example:8080", SCRIPT_NAME=prefix).body
    assert f"http://pypi.example:8080{prefix}/simple/".encode() in body
    html5lib.HTMLParser(strict=True).parse(body, transport_encoding="utf-8")
