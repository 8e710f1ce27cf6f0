"""A refusal in the form that its reader can show: a problem, a page, or a sentence."""

from __future__ import annotations

import http
import json
import re
from collections.abc import Callable
from pathlib import Path

import html5lib
import pytest

from pypiserver.errors import PypiServerError
from pypiserver.settings.config import default_fallback_url
from pypiserver.web.http.problem_details import Reading, form_for
from tests.make_archives import make_wheel

from ...wsgi import Answer, Client

Serve = Callable[..., Client]
Put = Callable[..., Path]
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


def fail(user: str, password: str) -> bool:
    raise OSError("the directory is down")


CLOSED = "list,download"
REFUSALS: dict[int, dict[str, object]] = {
    401: {"auther": lambda user, password: False, "authenticate": CLOSED},
    403: {"authenticate": CLOSED},
    404: {"fallback": False},
    503: {"auther": fail, "authenticate": CLOSED},
}


@pytest.mark.parametrize("path", PATHS[:4])
@pytest.mark.parametrize("status", REFUSALS)
def test_every_refusal_of_a_page_metadata_or_a_file_is_a_problem_for_programs(
    serve: Serve, status: int, path: str
) -> None:
    client = serve(**REFUSALS[status])
    login = {"HTTP_AUTHORIZATION": "Basic YTpi"}
    # What old clients got, they get: pip 9, setup.py, Poetry and twine send one of these.
    sentences = {client.get(path, **login, **accept).text for accept in ({}, {"HTTP_ACCEPT": "*/*"})}
    assert len(sentences) == 1
    for fields in (
        {"HTTP_ACCEPT": UV_PAGE},
        {"HTTP_ACCEPT": PIP},
        {"HTTP_ACCEPT": "*/*", "HTTP_USER_AGENT": "uv/0.13 {}"},
    ):
        problem = client.get(path, **login, **fields)
        assert (problem.status, problem.headers["content-type"]) == (status, "application/problem+json")
        detail = sentences.copy().pop().rstrip("\n")
        assert problem.json() == {"title": http.HTTPStatus(status).phrase, "status": status, "detail": detail}
        assert ("www-authenticate" in problem.headers) is (status == 401)
        assert ("retry-after" in problem.headers) is (status == 503)
        assert "directory" not in problem.text


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


@pytest.mark.parametrize(
    ("path", "status", "name"),
    [
        ("/project/nothing/", 404, "nothing"),
        ("/project/Not.Here/1.0/", 404, "not-here"),
        ("/pypi/nothing/json", 404, "nothing"),
        ("/packages/not_here-1.0-py3-none-any.whl", 404, "not-here"),
        ("/packages/<b>", 404, ""),
        ("/project/foo/9/", 404, "foo"),
        ("/no/where/", 404, ""),
    ],
)
def test_a_page_of_a_refusal_searches_for_the_name(serve: Serve, put: Put, path: str, status: int, name: str) -> None:
    put(*make_wheel("foo", "1.0"))
    answer = serve(fallback_url="https://pypi.example/simple/").get(path, HTTP_ACCEPT=FIREFOX)
    html5lib.HTMLParser(strict=True).parse(answer.body, transport_encoding="utf-8")
    assert (answer.status, re.findall('name="q" value="([^"]*)"', answer.text)) == (status, [name])


@pytest.mark.parametrize(
    ("settings", "fields"),
    [({"auther": lambda user, password: False, "authenticate": "list"}, {}), ({}, {"REQUEST_METHOD": "POST"})],
)
def test_every_refusal_of_a_page_is_a_page(serve: Serve, settings: dict[str, object], fields: dict[str, str]) -> None:
    answer = serve(**settings).request(fields.get("REQUEST_METHOD", "GET"), "/project/foo/", HTTP_ACCEPT=FIREFOX)
    assert answer.status == (405 if fields else 401)
    html5lib.HTMLParser(strict=True).parse(answer.body, transport_encoding="utf-8")
    assert 'role="search"' in answer.text and "Look for" not in answer.text


def elsewhere(answer: Answer) -> list[tuple[str, str]]:
    return re.findall('<a class="button" href="([^"]*)"[^>]*>([^<]*)</a>', answer.text)


def test_a_page_leaves_out_the_addresses_for_programs(serve: Serve) -> None:
    for method, sentence in (("GET", "There is nothing at this address."), ("DELETE", "This address takes")):
        path = "/no/where/" if method == "GET" else "/projects/"
        client = serve()
        page = client.request(method, path, HTTP_ACCEPT=FIREFOX)
        lead = re.findall('<p class="lead">([^<]*)</p>', page.text)[0]
        assert lead.startswith(sentence) and lead.count(".") == 1 and "simple/" not in lead
        assert "simple/" in client.request(method, path).text


def test_an_unknown_project_is_looked_for_where_clients_are_sent(serve: Serve, put: Put) -> None:
    client = serve(fallback_url="https://other.example/root/+simple", private="acme-*")
    found = [("https://other.example/root/+simple/not-here/", "Look for not-here on other.example")]
    for path in ("/project/not-here/", "/project/not-here/1.0/", "/packages/not_here-1.0.zip", "/pypi/not-here/1/json"):
        assert elsewhere(client.get(path, HTTP_ACCEPT=FIREFOX)) == found
    put(*make_wheel("foo", "1.0"))
    for path in (
        "/project/acme-secret/", "/project/Acme_Secret/1/", "/packages/acme_secret-1.0.zip", "/pypi/acme-secret/json",
        "/packages/foo-2.0.zip", "/project/foo/2.0/", "/packages/no-package", "/no/where/",
    ):  # fmt: skip
        answer = client.get(path, HTTP_ACCEPT=FIREFOX)
        assert (answer.status, elsewhere(answer)) == (404, [])
    assert elsewhere(serve(fallback=False).get("/project/not-here/", HTTP_ACCEPT=FIREFOX)) == []


def test_on_pypi_people_look_at_the_page_for_people(serve: Serve) -> None:
    public = default_fallback_url()
    page = (public.replace("/simple/", "/project/") + "not-here/", "Look for not-here on PyPI")
    assert elsewhere(serve().get("/project/not-here/", HTTP_ACCEPT=FIREFOX)) == [page]


def test_an_outage_leads_nowhere_else(serve: Serve, root: Path) -> None:
    client = serve(fallback_url="https://other.example/simple/")
    client.get("/project/foo/")
    root.rename(root.with_name("gone"))
    answer = client.get("/project/foo/", HTTP_ACCEPT=FIREFOX)
    assert (answer.status, elsewhere(answer), 'value="foo"' in answer.text) == (503, [], True)


def test_a_mistake_of_ours_has_these_forms_too(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve()

    def fail(*arguments: object) -> object:
        raise RuntimeError("/srv/secret")

    monkeypatch.setattr(type(client._application.repository), "project", fail)  # type: ignore[attr-defined]
    for accept in (UV_PAGE, FIREFOX, "*/*"):
        answer = client.get("/simple/nothing/", HTTP_ACCEPT=accept)
        assert answer.status == 500 and "secret" not in answer.text
        assert PypiServerError.general in answer.text


def test_a_problem_is_ascii(serve: Serve) -> None:
    answer = serve(fallback=False).get("/packages/é😀-1.0.zip", HTTP_ACCEPT="application/problem+json")
    assert answer.status == 404 and answer.body.isascii()
    assert "é😀-1.0.zip" in json.loads(answer.body)["detail"]
