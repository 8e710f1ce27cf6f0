"""What is between a WSGI server and the handlers: addresses in bytes, bodies no one reads, headers given away."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

import bottle
import pytest

from pypiserver.web.html.pages import Frame
from pypiserver.web.http.dispatch import Dispatch
from pypiserver.web.http.prepared_response import PreparedResponse

Ask = Callable[..., tuple[str, list[tuple[str, str]], Any]]


class File(io.BytesIO):
    """A body that can be read and closed."""


@pytest.fixture
def application() -> Dispatch:
    def unmatched(error: bottle.HTTPError) -> bottle.HTTPResponse:
        return PreparedResponse(b"unmatched", [("Content-Type", "text/plain")], status=error.status_line)

    return Dispatch(unmatched, Frame())


@pytest.fixture
def ask(application: Dispatch) -> Ask:
    def ask(method: str, path: str, **more: Any) -> tuple[str, list[tuple[str, str]], Any]:
        seen: list[Any] = []
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, **more}
        body = application(environ, lambda status, headers: seen.extend((status, headers)))
        return seen[0], seen[1], body

    return ask


def test_a_server_may_change_the_headers_it_was_given(application: Dispatch, ask: Ask) -> None:
    answer = PreparedResponse(b"x", [("Content-Type", "text/plain")])
    application.route("/", "GET", lambda: answer)
    ask("GET", "/")[1].append(("Date", "now"))
    assert ask("GET", "/") == ("200 OK", [("Content-Type", "text/plain")], [b"x"])


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "204 No Content")]
)
def test_a_body_that_is_not_sent_is_closed(application: Dispatch, ask: Ask, method: str, status: str) -> None:
    file = File(b"x")
    application.route("/", "GET", lambda: PreparedResponse(file, [], status=status))
    assert ask(method, "/")[2] == []
    assert file.closed


def test_a_file_goes_through_the_wrapper_of_the_server(application: Dispatch, ask: Ask) -> None:
    file = File(b"x")
    application.route("/", "GET", lambda: PreparedResponse(file, []))
    assert ask("GET", "/", **{"wsgi.file_wrapper": lambda body: ("wrapped", body)})[2] == ("wrapped", file)


def test_an_iterator_is_handed_over_as_it_is(application: Dispatch, ask: Ask) -> None:
    blocks = iter([b"x", b"y"])
    application.route("/", "GET", lambda: PreparedResponse(blocks, []))
    assert ask("GET", "/")[2] is blocks


@pytest.mark.parametrize(
    ("sent", "meant"), [("é", "é"), ("日本", "日本"), ("a", "a")], ids=["two bytes", "three bytes", "ASCII"]
)
def test_an_address_is_bytes_of_utf_8(application: Dispatch, ask: Ask, sent: str, meant: str) -> None:
    found: list[str] = []

    def handler(name: str) -> PreparedResponse:
        found.append(name)
        return PreparedResponse(b"", [])

    application.route("/<name>", "GET", handler)
    ask("GET", "/" + sent.encode().decode("latin-1"))
    assert found == [meant]


@pytest.mark.parametrize(
    "path",
    [
        "/a\xffb",
        "/\xc1\xa1b",
        "/\xed\xa0\x80",
        "/ab\xc3",
        "/ab\n",
        "/ab\0",
        "/\x7fab",
        "/ab\xc2\x85",
        "/x/ab\n",
        "/x/\nab",
    ],
    ids=["byte", "overlong", "surrogate", "cut off", "line end", "nul", "delete", "next line", "behind", "before"],
)
def test_an_address_that_would_have_to_be_mended_is_refused(application: Dispatch, ask: Ask, path: str) -> None:
    """A proxy has rules for /ab, and sees another address."""
    application.route("/ab", "GET", lambda: PreparedResponse(b"found", []))
    application.route("/x/<name>", "GET", lambda name: PreparedResponse(b"found", []))
    assert ask("GET", path)[::2] == ("400 Bad Request", [b"unmatched"])
    assert ask("GET", "/ab")[2] == ask("GET", "/x/a b\u20ac".encode().decode("latin-1"))[2] == [b"found"]


def test_what_is_in_no_row_is_answered_by_one_function(application: Dispatch, ask: Ask) -> None:
    application.route("/", "GET", lambda: PreparedResponse(b"", []))
    assert ask("GET", "/other")[::2] == ("404 Not Found", [b"unmatched"])
    assert ask("POST", "/")[::2] == ("405 Method Not Allowed", [b"unmatched"])


def test_a_server_that_breaks_the_rules_gets_500(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """PEP 3333 allows no character above 255 in an address."""
    with caplog.at_level(logging.ERROR):
        assert ask("GET", "/日")[0].startswith("500 ")
    assert "UnicodeEncodeError" in caplog.text


@pytest.mark.parametrize("at", ["handler", "unmatched"])
def test_a_bug_is_an_answer_and_a_line_of_the_log(caplog: pytest.LogCaptureFixture, at: str) -> None:
    def fail(*_: object) -> PreparedResponse:
        raise RuntimeError("a bug")

    application = Dispatch(fail, Frame())
    application.route("/", "GET", fail)
    seen: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/" if at == "handler" else "/other"}
    with caplog.at_level(logging.ERROR):
        application(environ, lambda status, headers: seen.append(status))
    assert seen == ["500 Internal Server Error"]
    assert "RuntimeError: a bug" in caplog.text


def test_an_answer_that_is_raised_is_an_answer(application: Dispatch, ask: Ask) -> None:
    def refuse() -> PreparedResponse:
        raise PreparedResponse(b"no", [], status="403 Forbidden")

    application.route("/", "GET", refuse)
    assert ask("GET", "/") == ("403 Forbidden", [], [b"no"])


def test_without_an_address_it_is_the_root(application: Dispatch) -> None:
    application.route("/", "GET", lambda: PreparedResponse(b"root", []))
    assert application({"REQUEST_METHOD": "GET"}, lambda status, headers: None) == [b"root"]
