"""The lines about requests: what formats select, and that they tell the truth and no secret."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.observability import request_lines

FORMATS = {
    "request_format": "%(bottle.request)s",
    "response_format": "%(status)s",
    "error_format": "%(body)s: %(exception)s \n%(traceback)s",
}


SECRET = base64.b64encode(b"alice:Correct-Horse").decode()


def environ(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"HTTP_HOST": "index.example", "PATH_INFO": "/simple/"}
    setup_testing_defaults(made)
    return {**made, **more}


def hello(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "session=1")])
    return [b"hello"]


def lines_of(
    caplog: pytest.LogCaptureFixture, application: Any = hello, request: dict[str, Any] | None = None, **formats: str
) -> list[str]:
    chosen = formats or {"request_format": "%(bottle.request)s"}
    with caplog.at_level(logging.INFO, "pypiserver"):
        wrapped = request_lines.wrap(application, **{**dict.fromkeys(FORMATS, ""), **chosen})
        list(wrapped(request or environ(), lambda *_: None))
    return [record.getMessage() for record in caplog.records if record.name == request_lines.REQUESTS]


def test_the_application_itself_comes_back_when_no_line_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "pypiserver"):
        assert request_lines.wrap(hello, **FORMATS) is hello
    with caplog.at_level(logging.INFO, "pypiserver"):
        assert request_lines.wrap(hello, **dict.fromkeys(FORMATS, "")) is hello
        assert request_lines.wrap(hello, **FORMATS) is not hello


def test_the_answer_passes_through_untouched(caplog: pytest.LogCaptureFixture) -> None:
    body, started = [b"file"], []

    def application(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        assert start_response("206 Partial Content", [("A", "b")]) == "write"
        return body

    with caplog.at_level(logging.INFO, "pypiserver"):
        wrapped = request_lines.wrap(application, **FORMATS)
        assert wrapped(environ(), lambda *given: started.append(given) or "write") is body
    assert started == [("206 Partial Content", [("A", "b")])]


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (FORMATS, ["<LocalRequest: GET http://index.example/simple/>", "200 OK"]),
        ({"request_format": "%(REQUEST_METHOD)s %(PATH_INFO)s"}, ["GET /simple/"]),
        ({"response_format": "%(PATH_INFO)s %(status_code)d %(content_type)s"}, ["/simple/ 200 text/plain"]),
        ({"response_format": "%(status_line)s %(set_cookie)s"}, ["200 OK ***"]),
        ({"request_format": "[%(NO_SUCH)s] 100%%"}, ["[] 100%"]),
        ({"request_format": "plain"}, ["plain"]),
    ],
)
def test_formats_select_properties(
    formats: dict[str, str], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert lines_of(caplog, **formats) == expected


def test_percent_s_shows_the_request_but_not_the_process_around_it(caplog: pytest.LogCaptureFixture) -> None:
    request = environ(HTTP_USER_AGENT="pip/26", HOME="/root", DEPLOY_KEY="hidden")
    (line,) = lines_of(caplog, request=request, request_format="%s")
    assert "'HTTP_USER_AGENT': 'pip/26'" in line
    assert "'PATH_INFO': '/simple/'" in line
    assert "HOME" not in line
    assert "hidden" not in line


@pytest.mark.parametrize("form", ["%s", "%(HTTP_AUTHORIZATION)s", "%(bottle.request)s", "%(HTTP_X_NOTE)s", "%r"])
@pytest.mark.parametrize("kind", FORMATS)
def test_no_password_or_token_is_written(form: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(request: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request[request_lines.EXCEPTION] = ValueError(f"cannot read Basic {SECRET}")
        start_response("401 Unauthorized", [("Set-Cookie", "sesame")])
        return [f"https://alice:sesame@index.example/ refused Basic {SECRET}".encode()]

    request = environ(
        HTTP_AUTHORIZATION=f"Basic {SECRET}", HTTP_COOKIE="sesame", HTTP_X_API_KEY="sesame",
        HTTP_X_NOTE=f"Bearer {SECRET} https://alice:sesame@index.example/",
        QUERY_STRING="access_token=sesame&password=sesame",
    )  # fmt: skip
    text = "\n".join(lines_of(caplog, refuse, request, **{kind: form + " %(body)s" * (form != "%s" and form != "%r")}))
    assert "sesame" not in text
    assert SECRET not in text


def test_an_error_line_has_body_exception_and_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request[request_lines.EXCEPTION] = OSError("disk\ngone")
        start_response("503 Service Unavailable", [])
        return [b"try ", b"again\n"]

    assert lines_of(caplog, fail, error_format=FORMATS["error_format"]) == [
        "try again: OSError('disk\\ngone') \nOSError: disk\\ngone"
    ]


def test_an_error_without_exception_ends_after_its_body(caplog: pytest.LogCaptureFixture) -> None:
    def missing(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("404 Not Found", [])
        return [b"no such project"]

    assert lines_of(caplog, missing, error_format=FORMATS["error_format"]) == ["no such project:"]


def test_an_exception_that_no_one_caught_is_logged_and_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> Iterable[bytes]:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        lines_of(caplog, broken, error_format="%(exception)s")
    assert [record.getMessage() for record in caplog.records] == ["KeyError('lost')"]


@given(
    value=st.text(st.characters(exclude_categories=())),
    form=st.sampled_from(["%s", "%(bottle.request)s|%(HTTP_X)s|%(PATH_INFO)s|%(status)s|%(headers)s|%(body)s"]),
)
def test_no_value_can_forge_a_line(value: str, form: str) -> None:
    request = environ(HTTP_X=value, PATH_INFO=value, QUERY_STRING=value, HTTP_HOST=value, REQUEST_METHOD=value)
    request[request_lines.EXCEPTION] = ValueError(value)
    assert (form % request_lines.request_fields(request)).isprintable()
    body = value.encode("utf-8", "surrogatepass")
    assert (form % request_lines.error_fields(request, (value, [(value, value)]), [body])).isprintable()
