"""Who may do what, for every address, method, spelling and login (P25, P26, P27)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

import pypiserver
from pypiserver.factory.application import Application
from pypiserver.web.application import build
from pypiserver.web.html.pages import _names as names
from pypiserver.web.routes import action_of_post
from tests.fake_upstream import FakeUpstream, upstream
from tests.make_archives import make_wheel
from tests.unit.wsgi import Answer, Client, form

Serve = Callable[..., Client]
Put = Callable[..., Path]

# Words that stand nowhere but in what is protected.
WHEEL, WHEEL_BYTES = make_wheel("quokka", "7.77.7", summary="zebrafish", requires_python=">=3.8")
SHA256 = hashlib.sha256(WHEEL_BYTES).hexdigest()
SECRETS = ("7.77.7", "zebrafish", SHA256, "signature-of-quokka", "wombat")
RIGHT = "Basic " + base64.b64encode(b"ada:right").decode()
WRONG = "Basic " + base64.b64encode(b"ada:wrong").decode()
LOGINS = {"anonymous": {}, "wrong": {"HTTP_AUTHORIZATION": WRONG}, "junk": {"HTTP_AUTHORIZATION": "Basic \x80="}}
ACTIONS = ("list", "download", "update")
SEARCH = (
    b"<?xml version='1.0'?><methodCall><methodName>search</methodName><params><param><value><struct><member><name>name"
)
SEARCH += b"</name><value><string>quokka</string></value></member></struct></value></param></params></methodCall>"

# method and rule (with its parameters left out) -> the action that protects it; None is open to everyone.
OPEN, BY_CONTENT = None, action_of_post
TABLE: dict[tuple[str, str], object] = {
    ("GET", "/"): OPEN,
    ("GET", "/static/<name>"): OPEN,
    ("GET", "/health"): OPEN,
    ("GET", "/health/live"): OPEN,
    ("GET", "/health/ready"): OPEN,
    ("GET", "/metrics"): "metrics",
    ("GET", "/favicon.ico"): OPEN,
    ("GET", "/simple"): OPEN,
    ("GET", "/simple/"): "list",
    ("GET", "/simple/<project>"): OPEN,
    ("GET", "/simple/<project>/"): "list",
    ("GET", "/+simple"): OPEN,
    ("GET", "/+simple/"): "list",
    ("GET", "/+simple/<project>"): OPEN,
    ("GET", "/+simple/<project>/"): "list",
    ("GET", "/packages"): OPEN,
    ("GET", "/packages/"): "list",
    ("GET", "/packages/<path>"): "download",
    ("GET", "/pypi/<project>/json"): "list",
    ("GET", "/pypi/<project>/<version>/json"): "list",
    ("GET", "/<project>/json"): "list",
    ("GET", "/projects"): OPEN,
    ("GET", "/projects/"): "list",
    ("GET", "/projects/feed.atom"): "list",
    ("GET", "/project/<project>"): OPEN,
    ("GET", "/project/<project>/"): "list",
    ("GET", "/project/<project>/feed.atom"): "list",
    ("GET", "/project/<project>/<version>"): OPEN,
    ("GET", "/project/<project>/<version>/"): "list",
    ("GET", "/<project>/<version>/json"): "list",
    **{("GET", f"{pypi}/<project>/<version>{slash}"): OPEN for pypi in ("", "/pypi") for slash in ("", "/")},
    ("GET", "/pypi/<project>"): OPEN,
    ("GET", "/pypi/<project>/"): OPEN,
    ("GET", "/<project>"): OPEN,
    ("GET", "/<project>/"): OPEN,
    **{("POST", rule): BY_CONTENT for rule in ("/", "/pypi", "/pypi/")},
    **{("POST", rule): "list" for rule in ("/RPC2", "/RPC2/")},
    **{("POST", rule): "update" for rule in ("/simple", "/simple/", "/legacy", "/legacy/")},
}
# Every address that answers with something protected, by its rule.
PATHS = {
    "/static/<name>": [f"/static/{names()[name]}" for name in ("style.css", "icon.svg")],
    "/project/<project>": ["/project/quokka"],
    "/project/<project>/": ["/project/quokka/"],
    "/project/<project>/feed.atom": ["/project/quokka/feed.atom"],
    "/project/<project>/<version>": ["/project/quokka/7.77.7"],
    "/project/<project>/<version>/": ["/project/quokka/7.77.7/"],
    "/simple/<project>": ["/simple/quokka"],
    "/simple/<project>/": ["/simple/quokka/"],
    "/+simple/<project>": ["/+simple/quokka"],
    "/+simple/<project>/": ["/+simple/quokka/"],
    "/packages/<path>": [f"/packages/{WHEEL}{suffix}" for suffix in ("", ".metadata", ".asc", ".provenance")],
    "/pypi/<project>/json": ["/pypi/quokka/json"],
    "/pypi/<project>/<version>/json": ["/pypi/quokka/7.77.7/json"],
    "/<project>/json": ["/quokka/json"],
    "/<project>/<version>/json": ["/quokka/7.77.7/json"],
    "/<project>/<version>": ["/quokka/7.77.7"],
    "/<project>/<version>/": ["/quokka/7.77.7/"],
    "/pypi/<project>": ["/pypi/quokka"],
    "/pypi/<project>/": ["/pypi/quokka/"],
    "/pypi/<project>/<version>": ["/pypi/quokka/7.77.7"],
    "/pypi/<project>/<version>/": ["/pypi/quokka/7.77.7/"],
    "/<project>": ["/quokka"],
    "/<project>/": ["/quokka/"],
}
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda path: path,
    "double slash in front": lambda path: "/" + path,
    "double slashes": lambda path: path.replace("/", "//"),
    "slash behind": lambda path: path + "/",
    "slash encoded": lambda path: "/" + path[1:].replace("/", "%2F"),
    "first letter encoded": lambda path: path[:1] + "".join(f"%{ord(letter):02x}" for letter in path[1:2]) + path[2:],
    "dots": lambda path: "/x/.." + path,
    "dots encoded": lambda path: "/x/%2e%2e" + path,
    "dot": lambda path: "/." + path,
    "upper case": str.upper,
    "capitals": str.title,
    "parameters": lambda path: path + ";a=b",
    "parameters within": lambda path: path.replace("/", "/;x/", 1),
    "blank behind": lambda path: path + "%20",
    "nul behind": lambda path: path + "%00",
    "query": lambda path: path + "?format=application/json&user=ada",
    "backslashes": lambda path: "/" + path[1:].replace("/", "%5C"),
}


def bare(rule: str) -> str:
    """A rule without the patterns of its parameters."""
    return re.sub(r"<(\w+):.*?>(?=/|$)", r"<\1>", rule)


@pytest.fixture(autouse=True)
def packages(put: Put) -> None:
    put(WHEEL, WHEEL_BYTES)
    put(f"{WHEEL}.asc", b"signature-of-quokka")
    put(f"{WHEEL}.provenance", b'{"wombat": true}')


def protected(serve: Serve, *actions: str) -> Client:
    return serve(
        authenticate=list(actions) or ".",
        auther=lambda user, password: (user, password) == ("ada", "right"),
        metrics=True,
    )


def ask(client: Client, method: str, spelled: str, **headers: str) -> Answer:
    """Ask as a server does, which decodes the path's escapes once."""
    path, _, query = spelled.partition("?")
    decoded = unquote_to_bytes(path).decode("latin-1").encode("latin-1").decode("utf-8", "replace")
    return client.request(method, decoded + (f"?{query}" if query else ""), **headers)


def told(answer: Answer, asked: str) -> list[str]:
    """The protected words in an answer that whoever asked did not say first."""
    text = answer.body.decode("utf-8", "replace") + repr(answer.headers) + answer.reason
    return [word for word in SECRETS if word in text and word not in asked]


def test_every_route_is_in_the_table_and_protected_as_it_says() -> None:
    application = pypiserver.app(password_file=".", authenticate=".", metrics=True)
    assert {(each.method, bare(each.rule)): each.action for each in application.routes} == TABLE


def test_nothing_is_routed_past_the_table() -> None:
    application: Application = pypiserver.app(password_file=".", authenticate=".")  # type: ignore[assignment]
    routed = sorted((route.method, route.rule) for route in build(application.web).routes)
    assert routed == sorted((each.method, each.rule) for each in application.routes)


def addresses() -> Iterator[tuple[str, str, object]]:
    for (method, rule), action in TABLE.items():
        for path in PATHS.get(rule, [rule]):
            yield method, path, action


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")  # of the validator between us and the application
@pytest.mark.parametrize("login", LOGINS)
def test_no_spelling_of_no_address_tells_what_a_login_protects(serve: Serve, login: str) -> None:
    client = protected(serve, *ACTIONS)
    count = 0
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get")
    for (_, path, _), spelling, method in product(addresses(), SPELLINGS.values(), methods):
        spelled = spelling(path)
        answer = ask(client, method, spelled, **LOGINS[login])
        expected = (400,) if "%00" in spelled else (200, 302, 401, 403, 404, 405)
        assert answer.status in expected, (method, spelled, answer)
        assert told(answer, spelled) == [], (method, spelled, answer)
        count += 1
    assert count > 3000


@pytest.mark.parametrize("action", ACTIONS)
def test_each_address_asks_for_the_login_of_its_own_action_only(serve: Serve, action: str) -> None:
    client = protected(serve, action)
    for method, path, needed in addresses():
        headers = {}
        body = b""
        if method == "POST":
            body, headers["CONTENT_TYPE"] = form({":action": "file_upload"}, *make_wheel("quokka", "8"))
        if needed is BY_CONTENT:
            needed = "update"
        elif method == "POST" and needed == "list":
            body, headers["CONTENT_TYPE"] = SEARCH, "text/xml"
        refused = client.request(method, path, body, **headers)
        wrong = client.request(method, path, body, **headers, HTTP_AUTHORIZATION=WRONG)
        right = client.request(method, path, body, **headers, HTTP_AUTHORIZATION=RIGHT)
        # Metrics are an action of their own, which -a protects together with the lists.
        needed = "list" if needed == "metrics" else needed
        asks = (401, 401) if needed == action else (right.status, right.status)
        assert (refused.status, wrong.status) == asks, (method, path)
        assert right.status in (200, 302), (method, path, right)
        assert ("www-authenticate" in refused.headers) == (refused.status == 401)


def test_a_search_at_an_upload_address_needs_the_right_to_list(serve: Serve) -> None:
    for path in ("/", "/pypi", "/pypi/", "/RPC2"):
        for kind in ("text/xml", "TEXT/XML", "text/xml; charset=x", "application/xml"):
            body = protected(serve, "list").post(path, SEARCH, CONTENT_TYPE=kind)
            assert body.status == 401 and told(body, "") == []
            assert protected(serve, "update").post(path, SEARCH, CONTENT_TYPE=kind).status == 200


def test_an_upload_to_a_search_address_is_none(serve: Serve, root: Path) -> None:
    body, kind = form({":action": "file_upload"}, *make_wheel("quokka", "9"))
    client = protected(serve, "update")
    for path in ("/RPC2", "/RPC2/"):
        client.post(path, body, CONTENT_TYPE=kind)
    for kind in ("text/xml", "application/xml"):
        client.post("/", body, CONTENT_TYPE=kind)
    assert [path.name for path in root.iterdir() if "-9-" in path.name] == []


@pytest.mark.parametrize("path", ["/simple/", "/simple/quokka/", f"/packages/{WHEEL}", f"/packages/{WHEEL}.metadata"])
def test_a_validator_tells_nothing_without_a_login(serve: Serve, path: str) -> None:
    client = protected(serve, *ACTIONS)
    right = client.get(path, HTTP_AUTHORIZATION=RIGHT)
    validators = {"HTTP_IF_NONE_MATCH": right.headers["etag"], "HTTP_RANGE": "bytes=0-0"}
    assert client.get(path, **validators, HTTP_AUTHORIZATION=RIGHT).status == 304
    for method, headers in product(("GET", "HEAD"), ({}, validators, {"HTTP_IF_NONE_MATCH": "*"})):
        answer = client.request(method, path, **headers)
        assert answer.status == 401
        assert not {"etag", "last-modified", "content-range"} & set(answer.headers)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize(
    "address",
    ["/simple/{}/", "/simple/{}", "/+simple/{}/", "/packages/{}-7.77.7-py3-none-any.whl", "/packages/{}", "/{}",
     "/packages/{}-7.77.7-py3-none-any.whl.metadata", "/pypi/{}/json", "/pypi/{}/7.77.7/json", "/{}/json",
     "/project/{}/", "/project/{}/7.77.7/", "/project/{}/feed.atom"],
)  # fmt: skip
def test_what_exists_answers_like_what_does_not(serve: Serve, method: str, login: str, address: str) -> None:
    client = protected(serve, *ACTIONS)
    here = client.request(method, address.format("quokka"), **LOGINS[login])
    absent = client.request(method, address.format("absent"), **LOGINS[login])
    for_absent = (absent.status, repr(absent.headers).replace("absent", "quokka"), absent.body)
    assert (here.status, repr(here.headers), here.body) == for_absent


def test_the_welcome_page_counts_for_those_who_may_list(serve: Serve, put: Put) -> None:
    for number in range(41):
        put(*make_wheel("quokka", f"1.{number}"))
    client = protected(serve, "list")
    assert "42" not in client.get("/").text.replace("#42", "")
    assert "42" in client.get("/", HTTP_AUTHORIZATION=RIGHT).text


def test_a_protected_page_is_for_no_shared_cache(serve: Serve) -> None:
    client = protected(serve, "list", "download")
    for method, path, action in addresses():
        if method == "GET" and action in ("list", "download", "metrics"):
            control = client.get(path, HTTP_AUTHORIZATION=RIGHT).headers["cache-control"]
            assert "private" in control or "no-store" in control, path
            assert "public" not in control, path


# -- what other indexes have ------------------------------------------------------------------------------------------


PROXIED, PROXIED_BYTES = make_wheel("ocelot", "7.77.7", summary="zebrafish")
MODES = ("proxy", "cache")


def of_other_index(up: FakeUpstream) -> list[str]:
    """Every address of a project that another index has: pages, and files in both forms, with their sidecars."""
    own = up.add("ocelot", PROXIED, PROXIED_BYTES, metadata=b"zebrafish", provenance=b'{"wombat": true}')
    other = up.add("ocelot", PROXIED.replace("7.77.7", "8"), PROXIED_BYTES, path=f"/x/{PROXIED}")
    assert other.path
    index = f"127-0-0-1-{up.port}"
    folders = [own.path.rpartition("/")[0], f"/packages/@{index}/ocelot"]
    files = [f"{folder}/{PROXIED}{each}" for folder in folders for each in ("", ".metadata", ".asc", ".provenance")]
    pages = ["/simple/ocelot", "/simple/ocelot/", "/project/ocelot/", "/ocelot/json", "/pypi/ocelot/json"]
    return [*pages, "/+simple/ocelot/", "/project/ocelot/7.77.7/", "/pypi/ocelot/7.77.7/json", *files]


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("login", LOGINS)
def test_without_a_login_no_other_index_is_asked_and_nothing_kept_is_told(
    serve: Serve, login: str, mode: str, tmp_path: Path
) -> None:
    with upstream() as up:
        paths = of_other_index(up)
        client = serve(
            authenticate=list(ACTIONS),
            auther=lambda user, password: (user, password) == ("ada", "right"),
            fallback_mode=mode,
            fallback_url=up.url,
            cache_folder=tmp_path / "cache",
        )
        for again in (False, True):
            up.seen.clear()
            for path, spelling, method in product(paths, SPELLINGS.values(), ("GET", "HEAD", "POST", "OPTIONS")):
                spelled = spelling(path)
                answer = ask(client, method, spelled, **LOGINS[login])
                assert told(answer, spelled) == [], (method, spelled, answer)
                assert answer.status != 200 or "ocelot" not in answer.text, (method, spelled)
            assert up.seen == []
            if not again:
                # Now everything is kept.
                got = [client.get(path, HTTP_AUTHORIZATION=RIGHT).status for path in paths]
                assert got.count(200) > 4 and up.seen


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("action", "part"), [("list", "/simple/"), ("download", "/packages/")])
def test_an_address_of_another_index_needs_the_login_of_its_action(
    serve: Serve, action: str, part: str, mode: str, tmp_path: Path
) -> None:
    with upstream() as up:
        paths = [path for path in of_other_index(up) if path.startswith(("/simple/", "/packages/"))]
        client = serve(
            authenticate=[action],
            auther=lambda user, password: (user, password) == ("ada", "right"),
            fallback_mode=mode,
            fallback_url=up.url,
            cache_folder=tmp_path / "cache",
        )
        for path in paths:
            if path.endswith("/ocelot"):
                continue
            status = client.get(path).status
            assert (status == 401) == path.startswith(part), (path, status)
            right = client.get(path, HTTP_AUTHORIZATION=RIGHT)
            assert right.status in (200, 404)
            if right.status == 200 and path.startswith(part):
                assert "public" not in right.headers["cache-control"]
