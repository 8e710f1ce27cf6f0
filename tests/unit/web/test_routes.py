"""The application as a client sees it: addresses, redirects, validators, the guard, failures."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urljoin

import pytest

from pypiserver.settings.config import default_fallback_url
from pypiserver.web.html import pages
from pypiserver.web.routes import NAME, RELEASE, VERSION
from tests.make_archives import make_sdist, make_wheel

from ..conftest import OLD
from ..wsgi import Client

WHEEL, WHEEL_BYTES = make_wheel("foo_bar", "1.0", requires_python=">=3.8", summary="A foo")
SDIST, SDIST_BYTES = make_sdist("foo_bar", "1.1")
JSON = "application/vnd.pypi.simple.v1+json"
Serve = Callable[..., Client]
Put = Callable[..., Path]


@pytest.fixture(autouse=True)
def packages(put: Put) -> None:
    put(WHEEL, WHEEL_BYTES)
    put(f"sub dir/{SDIST}", SDIST_BYTES)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/simple", "simple/"),
        ("/simple/foo-bar", "foo-bar/"),
        ("/simple/Foo_Bar/", "../foo-bar/"),
        ("/simple/FOO.BAR/?format=x&y=%0d", "../foo-bar/?format=x&y=%0d"),
        ("/packages", "packages/"),
        ("/foo_bar", "simple/foo_bar/"),
        ("/foo_bar/", "../simple/foo_bar/"),
        ("/foo_bar/1.0", "../project/foo_bar/1.0/"),
        ("/foo_bar/1!1.0+local/?x=y", "../../project/foo_bar/1%211.0%2Blocal/?x=y"),
        ("/foo_bar/v1.0/", "../../project/foo_bar/v1.0/"),
        ("/pypi/Foo_Bar", "../project/Foo_Bar/"),
        ("/pypi/Foo_Bar/", "../../project/Foo_Bar/"),
        ("/pypi/foo_bar/1.0", "../../project/foo_bar/1.0/"),
        ("/pypi/foo_bar/1.0/", "../../../project/foo_bar/1.0/"),
        ("/simple/unknown/", default_fallback_url() + "unknown/"),
        ("/+simple", "+simple/"),
        ("/+simple/foo-bar", "foo-bar/"),
        ("/+simple/Foo_Bar/", "../foo-bar/"),
    ],
)
def test_redirects_are_temporary_and_relative(serve: Serve, path: str, location: str) -> None:
    answer = serve().get(path)
    assert (answer.status, answer.headers["location"]) == (302, location)
    assert "max-age=0" in answer.headers["cache-control"]


@pytest.mark.parametrize("slashes", ["//", "///"])
def test_slashes_too_many_in_front_mean_no_other_address(serve: Serve, slashes: str) -> None:
    """Joined addresses have them, and some servers take them away before we see them."""
    client = serve()
    assert client.get(f"{slashes}foo-bar/json").status == 200
    for path in ("simple/", "simple/foo-bar/", f"packages/{WHEEL}"):
        one, many = client.get(f"/{path}"), client.get(slashes + path)
        assert (many.status, many.body) == (200, one.body)
    # What a browser would take for another host is never the beginning of an address.
    assert client.get(f"{slashes}evil.example").headers["location"] == "simple/evil.example/"
    assert client.get(f"{slashes}evil.example/").headers["location"] == "../simple/evil.example/"


@pytest.mark.parametrize("path", ["/simple/foo-bar/", "/simple/Foo_Bar/", "/simple/foo.bar/", "/foo-bar", "/FOO__bar"])
def test_a_project_that_is_here_is_never_sent_elsewhere(serve: Serve, path: str) -> None:
    client = serve()
    answer = client.get(path)
    assert answer.status == 200 or "://" not in answer.headers["location"]


def test_without_fallback_an_unknown_project_is_missing(serve: Serve) -> None:
    answer = serve(disable_fallback=True).get("/simple/unknown/")
    assert (answer.status, "'unknown'" in answer.text) == (404, True)


def test_a_private_name_never_leaves(serve: Serve, tmp_path: Path) -> None:
    names = tmp_path / "private.txt"
    names.write_text("# ours\nOther_Name\n")
    client = serve(private=["acme-*"], private_file=names)
    for path in ("/simple/acme-secret/", "/simple/other-name/"):
        assert client.get(path).status == 404
    assert client.get("/simple/Acme_Secret/").headers["location"] == "../acme-secret/"
    assert client.get("/simple/acme/").status == 302


def test_a_page_links_files_relatively_with_their_hash(serve: Serve) -> None:
    page = serve().get("/simple/foo-bar/").text
    assert f'href="../../packages/{WHEEL}#sha256={hashlib.sha256(WHEEL_BYTES).hexdigest()}"' in page
    assert f'href="../../packages/sub%20dir/{SDIST}#sha256=' in page
    assert 'data-requires-python="&gt;=3.8"' in page


def test_json_says_size_hash_and_upload_time(serve: Serve) -> None:
    answer = serve().get("/simple/foo-bar/", HTTP_ACCEPT=JSON)
    assert answer.headers["content-type"] == JSON
    value = answer.json()
    (wheel,) = [file for file in value["files"] if file["filename"] == WHEEL]
    assert value["name"] == "foo-bar" and value["versions"] == ["1.0", "1.1"]
    assert wheel["size"] == len(WHEEL_BYTES)
    assert wheel["hashes"]["sha256"] == hashlib.sha256(WHEEL_BYTES).hexdigest()
    assert wheel["upload-time"].startswith("2020-09-13T12:26:40")
    assert wheel["core-metadata"]["sha256"]


def test_touch_corrects_the_upload_time(serve: Serve, root: Path) -> None:
    client = serve()
    client.get("/simple/foo-bar/")
    os.utime(root / WHEEL, (OLD + 60, OLD + 60))
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    files = client.get("/simple/foo-bar/", HTTP_ACCEPT=JSON).json()["files"]
    assert [file["upload-time"][:19] for file in files if file["filename"] == WHEEL] == ["2020-09-13T12:27:40"]


def test_pages_have_validators_per_form_and_per_encoding(serve: Serve, put: Put) -> None:
    for number in range(20):
        put(*make_wheel("foo_bar", f"2.{number}"))
    client = serve()
    etags = set()
    for accept in ("text/html", JSON):
        for encoding in ("identity", "gzip"):
            headers = {"HTTP_ACCEPT": accept, "HTTP_ACCEPT_ENCODING": encoding}
            answer = client.get("/simple/foo-bar/", **headers)
            assert answer.headers["vary"] == "Accept, Accept-Encoding"
            assert answer.headers["cache-control"] == "max-age=0, must-revalidate"
            assert answer.headers.get("content-encoding", "identity") == encoding
            etags.add(answer.headers["etag"])
            again = client.get("/simple/foo-bar/", HTTP_IF_NONE_MATCH=f'"x", {answer.headers["etag"]}', **headers)
            assert (again.status, again.body, again.headers["vary"]) == (304, b"", "Accept, Accept-Encoding")
            if encoding == "gzip":
                plain = client.get("/simple/foo-bar/", HTTP_ACCEPT=accept)
                assert gzip.decompress(answer.body) == plain.body
    assert len(etags) == 4


def test_a_page_changes_with_the_folder(serve: Serve, put: Put) -> None:
    client = serve()
    before = client.get("/simple/foo-bar/")
    put(*make_wheel("foo_bar", "9.9"))
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    after = client.get("/simple/foo-bar/", HTTP_IF_NONE_MATCH=before.headers["etag"])
    assert after.status == 200 and "9.9" in after.text


def test_old_pip_gets_no_etag_it_would_trust_blindly(serve: Serve) -> None:
    client = serve()
    assert "etag" not in client.get("/simple/", HTTP_CACHE_CONTROL="max-age=600").headers
    assert "etag" in client.get("/simple/", HTTP_CACHE_CONTROL="max-age=0").headers


@pytest.mark.parametrize("path", ["", "/", "/pypi", "/simple", "/legacy"])
def test_an_upload_below_a_mount_point_needs_no_slash(serve: Serve, path: str) -> None:
    """mod_wsgi, paste and the like say where we are mounted; a redirect would lose the upload."""
    client = serve(auther=lambda user, password: True)
    answer = client.upload(
        *make_wheel("newcomer", "1.0"), path=path, SCRIPT_NAME="/index", HTTP_AUTHORIZATION=basic("a", "b")
    )
    assert (answer.status, client.get("/simple/newcomer/").status) == (200, 200)


@pytest.mark.parametrize("path", ["/+simple/unknown/", "/pypi/unknown/json", "/unknown/json"])
def test_whether_something_is_published_here_is_never_asked_elsewhere(serve: Serve, path: str) -> None:
    answer = serve().get(path)
    assert (answer.status, answer.headers.get("location")) == (404, None)


# For every GET row of the table: an address it takes; what differs from GET in none may differ in HEAD.
EXAMPLES = {
    "/": ["/"],
    "/health": ["/health"],
    "/health/live": ["/health/live"],
    "/health/ready": ["/health/ready"],
    "/favicon.ico": ["/favicon.ico"],
    "/simple": ["/simple"],
    "/simple/": ["/simple/", "/simple/?format=text/html"],
    f"/simple/{NAME}": ["/simple/foo_bar"],
    f"/simple/{NAME}/": ["/simple/foo-bar/", "/simple/Foo_Bar/", "/simple/unknown/"],
    "/+simple": ["/+simple"],
    "/+simple/": ["/+simple/"],
    f"/+simple/{NAME}": ["/+simple/foo_bar"],
    f"/+simple/{NAME}/": ["/+simple/foo-bar/", "/+simple/unknown/"],
    "/packages": ["/packages"],
    "/packages/": ["/packages/"],
    "/packages/<path:path>": [f"/packages/{WHEEL}", f"/packages/{WHEEL}.metadata", "/packages/nothing-1.0.zip"],
    "/static/<name>": [f"/static/{name}" for name in pages._names().values()] + ["/static/style.css"],
    "/projects": ["/projects"],
    "/projects/": ["/projects/", "/projects/?q=foo&sort=-date&page=7"],
    "/projects/feed.atom": ["/projects/feed.atom"],
    f"/project/{NAME}": ["/project/foo-bar"],
    f"/project/{NAME}/": ["/project/foo-bar/", "/project/Foo_Bar/", "/project/unknown/"],
    f"/project/{NAME}/feed.atom": ["/project/foo-bar/feed.atom", "/project/Foo_Bar/feed.atom"],
    f"/project/{NAME}/{VERSION}": ["/project/foo-bar/1.0"],
    f"/project/{NAME}/{VERSION}/": ["/project/foo-bar/1.0/", "/project/foo-bar/1/", "/project/foo-bar/9/"],
    f"/pypi/{NAME}/json": ["/pypi/foo-bar/json", "/pypi/unknown/json"],
    f"/pypi/{NAME}/{VERSION}/json": ["/pypi/foo-bar/1.0/json", "/pypi/foo-bar/9/json"],
    f"/{NAME}/json": ["/foo-bar/json"],
    f"/{NAME}/{RELEASE}/json": ["/foo-bar/1.0/json"],
    f"/{NAME}/{RELEASE}": ["/foo-bar/1.0"],
    f"/{NAME}/{RELEASE}/": ["/foo-bar/1.0/"],
    f"/pypi/{NAME}": ["/pypi/foo-bar"],
    f"/pypi/{NAME}/": ["/pypi/foo-bar/", "/pypi/simple/"],
    f"/pypi/{NAME}/{RELEASE}": ["/pypi/foo-bar/1.0"],
    f"/pypi/{NAME}/{RELEASE}/": ["/pypi/foo-bar/1.0/"],
    f"/{NAME}": ["/foo-bar"],
    f"/{NAME}/": ["/foo-bar/"],
}


@pytest.mark.parametrize("accept", ["text/html", JSON])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_head_equals_get_at_every_address(serve: Serve, put: Put, accept: str, coding: str) -> None:
    for number in range(10):
        put(*make_wheel("foo_bar", f"3.{number}"))
    client = serve()
    client.get("/simple/foo-bar/")
    client._application.backend.digester.digest_some()  # type: ignore[attr-defined]
    rules = {route.rule for route in client._application.routes if route.method == "GET"}  # type: ignore[attr-defined]
    assert rules == set(EXAMPLES)
    for path in [path for paths in EXAMPLES.values() for path in paths]:
        headers = {"HTTP_ACCEPT": accept, "HTTP_ACCEPT_ENCODING": coding}
        get, head = client.get(path, **headers), client.request("HEAD", path, **headers)
        assert (head.status, head.reason, head.body) == (get.status, get.reason, b""), path
        assert dict(head.headers) == dict(get.headers), path
        assert get.headers["content-length"] == str(len(get.body)), path
        assert get.headers.get("content-encoding", "identity") in ("identity", coding), path


@pytest.mark.parametrize("path", ["/foo-bar/1.0/", "/Foo_Bar/1.0", "/pypi/foo-bar/", "/pypi/foo.bar/1.0/"])
def test_an_address_that_people_make_up_leads_to_a_page(serve: Serve, path: str) -> None:
    client = serve()
    for _ in range(3):
        answer = client.get(path)
        if answer.status != 302:
            break
        path = urljoin(path, answer.headers["location"])
    assert answer.status == 200 and path.startswith("/project/foo-bar/")


@pytest.mark.parametrize("path", ["/pypi/simple/", "/pypi/packages", "/pypi/project/1.0/"])
def test_an_address_of_ours_is_no_projects(serve: Serve, path: str) -> None:
    assert serve().get(path).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/simple//foo-bar/",
        "/simple//foo-bar/",
        "//pypi.example/%2e%2e",
        "/simple/foo-bar./",
        "/simple/-foo/",
        "/simple/foo%2Fbar/",
        "/simple/foo/bar/",
        "/simple/föö/",
        "/simple/../simple/",
        "/foo-bar/json/",
        "/pypi/foo-bar/json/",
        "/foo-bar/latest/",
        "/foo-bar/1.0/2.0/",
        f"/{'x' * 3000}/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_odd_address_is_answered_with_the_right_ones(serve: Serve, path: str, method: str) -> None:
    answer = serve().request(method, path, b"x" if method == "POST" else b"")
    assert (answer.status, "location" in answer.headers) == (404, False)
    assert "simple/" in answer.text and "--index-url" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/metr\xffics",
        "/health\n",
        "/simple/foo\0bar/",
        "/pro\xffject/foo-bar/",
        "/\xc1\xb3imple/",
        "/simple/foo-bar/\n",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_address_that_is_no_text_is_refused(serve: Serve, path: str, method: str) -> None:
    """A proxy has rules for the address that it would be without those bytes."""
    client = serve(metrics=False)
    answer = client.request(method, "/", b"x" if method == "POST" else b"", PATH_INFO=path)
    assert (answer.status, "location" in answer.headers) == (400, False)


@pytest.mark.parametrize("way", [{"PATH_INFO": "//health"}, {"REQUEST_URI": "//health"}, {"RAW_URI": "///health"}])
def test_slashes_in_front_are_no_way_around_rules_about_health(serve: Serve, way: dict[str, str]) -> None:
    assert serve().request("GET", "/health", **way).status == 404


@pytest.mark.parametrize("path", ["/nowhere/at/all/", "/simple/foo-bar/", "/packages/"])
def test_an_upload_to_a_wrong_address_is_read_before_it_is_refused(serve: Serve, path: str) -> None:
    body = io.BytesIO(bytes(3_000_000))
    answer = serve().request("POST", path, CONTENT_LENGTH="3000000", **{"wsgi.input": body})  # type: ignore[arg-type]
    assert answer.status in (404, 405)
    assert body.read() == b""


def test_a_file_is_sent_as_it_is(serve: Serve) -> None:
    answer = serve().get(f"/packages/{WHEEL}", HTTP_ACCEPT_ENCODING="gzip, deflate")
    assert answer.body == WHEEL_BYTES
    assert answer.headers["etag"] == f'"{hashlib.sha256(WHEEL_BYTES).hexdigest()}"'
    assert answer.headers["cache-control"] == "max-age=0, must-revalidate"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["last-modified"] == formatdate(OLD, usegmt=True)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"overwrite": True}, "max-age=0, must-revalidate"),
        ({"cache_control": 60}, "max-age=60, public"),
        ({}, "max-age=0, must-revalidate"),
    ],
    ids=["overwrite", "told", "default"],
)
def test_cache_control_of_files(serve: Serve, settings: dict[str, object], expected: str) -> None:
    assert serve(**settings).get(f"/packages/{WHEEL}").headers["cache-control"] == expected


def test_metadata_is_the_bytes_inside_the_wheel(serve: Serve) -> None:
    client = serve()
    answer = client.get(f"/packages/{WHEEL}.metadata")
    page = client.get("/simple/foo-bar/").text
    assert b"Name: foo_bar" in answer.body or b"Name: foo-bar" in answer.body
    digest = hashlib.sha256(answer.body).hexdigest()
    assert f'data-core-metadata="sha256={digest}"' in page and f'data-dist-info-metadata="sha256={digest}"' in page


@pytest.mark.parametrize(
    "path",
    [
        "/packages/nothing-1.0.zip",
        f"/packages/elsewhere/{WHEEL}",
        f"/packages/../packages/{WHEEL}",
        "/packages/.hidden-1.0.zip",
        f"/packages/{WHEEL}.asc",
        f"/packages/{WHEEL}.provenance",
        "/packages//etc/passwd",
        "/packages/%2e%2e/secret",
        "/a/b/c/d",
        "/simple/foo-bar/extra/",
        "/unknown/json",
    ],
)
def test_what_is_not_there_is_missing(serve: Serve, path: str) -> None:
    assert serve().get(path).status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "POST"])
@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/simple/", "GET, HEAD, POST"),
        ("/", "GET, HEAD, POST"),
        ("/simple/foo-bar/", "GET, HEAD"),
        (f"/packages/{WHEEL}", "GET, HEAD"),
        ("/foo-bar/json", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(serve: Serve, method: str, path: str, allow: str) -> None:
    if method == "POST" and "POST" in allow:
        return
    answer = serve().request(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    assert f"This address takes {allow}." in answer.text and "uploads go to the root" in answer.text


def test_the_welcome_page_counts_for_those_who_may_list(serve: Serve) -> None:
    assert "2" in serve(welcome=None).get("/").text
    closed = serve(auther=lambda user, password: True, authenticate="list")
    assert "2 packages" not in closed.get("/").text


@pytest.mark.parametrize("path", ["/simple/", "/simple/foo-bar/", "/packages/", "/foo-bar/json", "/pypi/foo-bar/json"])
def test_a_protected_listing_asks_for_credentials(serve: Serve, path: str) -> None:
    client = serve(auther=lambda user, password: (user, password) == ("a", "b:ü"), authenticate="list")
    missing = client.get(path)
    assert (missing.status, missing.headers["www-authenticate"].split(",")[0]) == (401, 'Basic realm="pypi"')
    assert client.get(path, HTTP_AUTHORIZATION=basic("a", "wrong")).status == 401
    assert client.get(path, HTTP_AUTHORIZATION="Basic !!!").status == 401
    assert client.get(path, HTTP_AUTHORIZATION=basic("a", "b:ü")).status == 200


def test_a_protected_page_is_private(serve: Serve) -> None:
    client = serve(auther=lambda user, password: True, authenticate="list,download")
    for path in ("/simple/", f"/packages/{WHEEL}", "/packages/", "/foo-bar/json"):
        assert "private" in client.get(path, HTTP_AUTHORIZATION=basic("a", "b")).headers["cache-control"]


def test_a_sidecar_is_guarded_like_the_file(serve: Serve) -> None:
    client = serve(auther=lambda user, password: True, authenticate="download")
    for suffix in ("", ".metadata", ".asc", ".provenance"):
        assert client.get(f"/packages/{WHEEL}{suffix}").status == 401


def test_without_a_password_file_no_one_may_upload(serve: Serve) -> None:
    client = serve(authenticate="update", password_file=None)
    for headers in ({}, {"HTTP_AUTHORIZATION": basic("a", "b")}):
        answer = client.upload(*make_wheel("new", "1.0"), **headers)
        assert (answer.status, "www-authenticate" in answer.headers) == (403, False)


def test_a_lost_folder_is_an_outage_and_never_a_redirect(serve: Serve, root: Path) -> None:
    client = serve()
    assert client.get("/simple/").status == 200
    root.rename(root.with_name("away"))
    watch = client._application.backend.indexer  # type: ignore[attr-defined]
    for path in ("/simple/", "/simple/foo-bar/", "/simple/unknown/", f"/packages/{WHEEL}", "/health"):
        watch._scan()
        answer = client.get(path)
        assert (answer.status, "location" in answer.headers) == (503, False), path
    root.with_name("away").rename(root)
    watch._scan()
    assert client.get("/simple/foo-bar/").status == 200


def test_health_is_plain_and_may_move(serve: Serve) -> None:
    assert serve().get("/health").text == "Ok\n"
    assert serve(health_endpoint="/alive/now").get("/alive/now").status == 200


def test_a_quarantined_project_offers_nothing(serve: Serve, put: Put) -> None:
    put(".status/foo-bar", b"quarantined\nmalware\n")
    client = serve()
    value = client.get("/simple/foo-bar/", HTTP_ACCEPT=JSON).json()
    assert (value["files"], value["versions"]) == ([], [])
    assert value["project-status"] == {"status": "quarantined", "reason": "malware"}
    assert client.get(f"/packages/{WHEEL}").status == 403
