"""A refusal in the form that its reader can show: a problem, a page, or a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pypiserver.web.http.problem_details import Reading, form_for

from ...wsgi import Client

Serve = Callable[..., Client]
# As the clients send them: uv 0.13.9, pip 26.3, Firefox 140, Chromium 140, pip 20.3.4.
UV_PAGE = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
UV_UPLOAD = "application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7"
PIP = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CHROMIUM = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)


@pytest.mark.parametrize(
    ("accept", "agent", "form"),
    [
        (UV_PAGE, "uv/0.13.9 {}", Reading.PROBLEM),
        (UV_UPLOAD, "uv/0.13.9 {}", Reading.PROBLEM),
        ("*/*", "uv/0.13.9 {}", Reading.PROBLEM),
        (PIP, "pip/26.3 {}", Reading.PROBLEM),
        ("application/problem+json", "", Reading.PROBLEM),
        ("application/json, text/plain;q=0.5", "", Reading.PROBLEM),
        ("application/vnd.pypi.simple.v1+json, */*;q=0.1", "poetry/2.5.1", Reading.PROBLEM),
        (FIREFOX, "Mozilla/5.0", Reading.PAGE),
        (CHROMIUM, "Mozilla/5.0", Reading.PAGE),
        ("text/html", "pip/20.3.4 {}", Reading.PAGE),
        ("text/html, application/json;q=0.5", "uv/1", Reading.PAGE),
        (None, "Python-urllib/3.6", Reading.SENTENCE),
        ("*/*", "curl/8.5.0", Reading.SENTENCE),
        ("*/*", "twine/7.0.0 CPython/3.11", Reading.SENTENCE),
        ("*/*", "Duv/1", Reading.SENTENCE),
        ("", "", Reading.SENTENCE),
        ("text/plain, application/json;q=0.9", "", Reading.SENTENCE),
        ("application/json;q=0", "", Reading.SENTENCE),
        ("image/png", "", Reading.SENTENCE),
        ("nonsense;;,", "", Reading.SENTENCE),
    ],
)
def test_who_reads_what(accept: str | None, agent: str, form: Reading) -> None:
    assert form_for({"HTTP_USER_AGENT": agent, **({} if accept is None else {"HTTP_ACCEPT": accept})}) is form


PATHS = ["/simple/nothing/", "/packages/nothing-1.0.tar.gz", "/packages/nothing-1.0.tar.gz.metadata",
         "/pypi/nothing/json", "/nowhere/at/all/", "/packages/nothing-1.0.tar.gz.asc"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_problem_says_what_the_sentence_says(serve: Serve, path: str) -> None:
    client = serve(fallback=False)
    sentence = client.get(path)
    assert (sentence.status, sentence.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    problem = client.get(path, HTTP_ACCEPT=UV_PAGE)
    # uv takes exactly this type, and RFC 9457 knows no parameter of it.
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json() == {"title": "Not Found", "status": 404, "detail": sentence.text.rstrip("\n")}
    assert (problem.status, problem.headers["cache-control"]) == (404, "no-store")
    assert int(problem.headers["content-length"]) == len(problem.body)
    assert client.request("HEAD", path, HTTP_ACCEPT=UV_PAGE).headers == problem.headers


def test_an_upload_is_refused_with_a_problem(serve: Serve) -> None:
    client = serve()
    for agent in ({"HTTP_ACCEPT": UV_UPLOAD}, {"HTTP_ACCEPT": "*/*", "HTTP_USER_AGENT": "uv/0.13.9 {}"}):
        sentence = client.upload("nothing", b"").text.rstrip("\n")
        problem = client.upload("nothing", b"", **agent).json()
        assert problem == {"title": "Bad Request", "status": 400, "detail": sentence}


def test_a_missing_password_is_asked_for_in_every_form(serve: Serve) -> None:
    client = serve(auther=lambda user, password: False, authenticate="list")
    for accept in (UV_PAGE, FIREFOX, "*/*"):
        answer = client.get("/simple/", HTTP_ACCEPT=accept)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="pypi", charset="UTF-8"')


@pytest.mark.parametrize(
    ("path", "up"),
    [
        ("/simple/nothing/", "../../"),
        ("/nowhere/at/all", "../../"),
        ("/packages/<b>-1.0.zip", "../"),
        ("/x/y/", "../../"),
    ],
)
def test_a_browser_gets_a_page_in_the_frame_of_all_pages(serve: Serve, path: str, up: str) -> None:
    answer = serve(fallback=False).get(path, HTTP_ACCEPT=FIREFOX)
    assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert f'href="{up}static/style.' in answer.text and f'href="{up}projects/"' in answer.text
    assert "<h1>Not Found</h1>" in answer.text and "<b>-1" not in answer.text


def test_a_mistake_of_ours_has_these_forms_too(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve()

    def fail(*arguments: object) -> object:
        raise RuntimeError("/srv/secret")

    monkeypatch.setattr(type(client._application.repository), "project", fail)  # type: ignore[attr-defined]
    for accept in (UV_PAGE, FIREFOX, "*/*"):
        answer = client.get("/simple/nothing/", HTTP_ACCEPT=accept)
        assert answer.status == 500 and "secret" not in answer.text
        assert "its log says what" in answer.text


def test_a_problem_is_ascii(serve: Serve) -> None:
    answer = serve(fallback=False).get("/packages/é😀-1.0.zip", HTTP_ACCEPT="application/problem+json")
    assert answer.status == 404 and answer.body.isascii()
    assert "é😀-1.0.zip" in json.loads(answer.body)["detail"]
