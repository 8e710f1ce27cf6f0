"""The Simple API's pages: against the specifications' own words, other people's parsers, and each other."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import operator
import random
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from html import escape
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

import html5lib
import pip
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version
from pip._internal.index.collector import IndexContent, parse_links

from pypiserver.bounded_cache import weight
from pypiserver.distributions.filename import parse_filename
from pypiserver.formats.negotiation import Form, accepts_encoding, negotiate
from pypiserver.formats.simple import API_VERSION, etag, render_index, render_project
from pypiserver.model import File, Project, ProjectStatus
from pypiserver.text import one_line
from pypiserver.web.http import compression, page_cache
from pypiserver.web.http.page_cache import PageMemory
from tests.make_archives import core_metadata, make_bdist_dumb, make_egg, make_sdist, make_wheel

from ..wsgi import Client

if TYPE_CHECKING:
    import pypi_simple

JSON = "application/vnd.pypi.simple.v1+json"
V1_HTML = "application/vnd.pypi.simple.v1+html"
PAGE = "http://127.0.0.1/simple/foo-bar/"
REASON = "broken & \"bad\" <b>bold</b> 'x' ü"
Serve = Callable[..., Client]
Put = Callable[..., Path]

# -- the pages of a folder with one file of every sort -------------------------------------------------------------

STATIC = make_sdist("foo-bar", "2.2", metadata_version="2.2")
DYNAMIC = make_sdist(
    "foo-bar",
    "2.3",
    metadata=core_metadata("foo-bar", "2.3", metadata_version="2.2", extra=["Dynamic: Requires-Dist"]),
)
PLAIN = make_wheel("foo_bar", "1.0")
PYTHON = make_wheel("foo_bar", "1.1", requires_python=">=3.8,<4")
INVALID = make_wheel("foo_bar", "1.2", requires_python=">3.5.*")
BUILD = ("foo_bar-1.0-2-py3-none-any.whl", PLAIN[1])
EPOCH = make_wheel("foo_bar", "1!0.1")
LOCAL = make_wheel("foo_bar", "1.0+abc.1")
OLD_SDIST = make_sdist("foo-bar", "0.1", metadata_version="1.0", format=".zip")
MIDDLE_SDIST = make_sdist("Foo.Bar", "0.2", metadata_version="2.1", format=".tar.bz2")
EGG = make_egg("foo_bar", "0.3")
WININST = ("foo-bar-0.4.win32-py2.7.exe", b"MZ installer")
DUMB = make_bdist_dumb("foo-bar", "0.5")
YANKED = make_wheel("foo_bar", "3.0")
WHY = make_wheel("foo_bar", "3.1")
SIGNED = make_wheel("foo_bar", "4.0")
CORPUS = [
    *[PLAIN, PYTHON, INVALID, BUILD, EPOCH, LOCAL, STATIC, DYNAMIC, OLD_SDIST, MIDDLE_SDIST, EGG, WININST, DUMB],
    *[YANKED, WHY, SIGNED],
]
BYTES = dict(CORPUS)


@pytest.fixture
def corpus(put: Put) -> None:
    for name, data in CORPUS:
        put(f"sub dir/{name}" if name == STATIC[0] else name, data)
    put(f"{YANKED[0]}.yanked", b"")
    put(f"{WHY[0]}.yanked", REASON.encode() + b"\n")
    put(f"{SIGNED[0]}.asc", b"signature")
    put(f"{SIGNED[0]}.provenance", b"{}")
    put(".status/foo-bar", b"deprecated\nuse <bar> & be happy\n")


HEX = "^[0-9a-f]+$"
SECURE = "^(https://.+|http://(127\\.0\\.0\\.1|localhost|\\[::1\\])([:/].*)?)$"
# PEP 691 with PEP 700 ("size" and "versions" are mandatory), 714, 740 and 792; other keys must begin with "_".
META = {
    "type": "object",
    "required": ["api-version"],
    "properties": {"api-version": {"const": "1.4"}},
    "patternProperties": {"^_": {}},
    "additionalProperties": False,
}
CORE_METADATA = {
    "oneOf": [
        {"type": "boolean"},
        {
            "type": "object",
            "properties": {"sha256": {"type": "string", "minLength": 64, "maxLength": 64, "pattern": HEX}},
            "required": ["sha256"],
            "additionalProperties": False,
        },
    ]
}
FILE = {
    "type": "object",
    "required": ["filename", "url", "hashes", "size"],
    "properties": {
        "filename": {"type": "string", "pattern": "^[^/]+$"},
        "url": {"type": "string", "format": "uri-reference", "pattern": "^[^#?]+$"},
        "hashes": {
            "type": "object",
            "required": ["sha256"],
            "propertyNames": {"enum": sorted(hashlib.algorithms_guaranteed)},
            "additionalProperties": {"type": "string", "pattern": HEX},
        },
        "requires-python": {"type": "string", "minLength": 1},
        "core-metadata": CORE_METADATA,
        "data-dist-info-metadata": CORE_METADATA,
        "gpg-sig": {"type": "boolean"},
        "yanked": {"oneOf": [{"type": "boolean"}, {"type": "string", "minLength": 1}]},
        "size": {"type": "integer", "minimum": 0},
        "upload-time": {
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z$",
        },
        "provenance": {"oneOf": [{"type": "null"}, {"type": "string", "pattern": SECURE}]},
    },
    "patternProperties": {"^_": {}},
    "additionalProperties": False,
}
PROJECT = {
    "type": "object",
    "required": ["meta", "name", "files", "versions"],
    "properties": {
        "meta": META,
        "name": {"type": "string", "pattern": "^([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])$"},
        "files": {"type": "array", "items": FILE},
        "versions": {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True},
        "project-status": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"enum": ["active", "archived", "quarantined", "deprecated"]},
                "reason": {"type": "string", "minLength": 1},
            },
            "additionalProperties": False,
        },
    },
    "patternProperties": {"^_": {}},
    "additionalProperties": False,
}
INDEX = {
    "type": "object",
    "required": ["meta", "projects"],
    "properties": {
        "meta": META,
        "projects": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string", "minLength": 1}},
                "patternProperties": {"^_": {}},
                "additionalProperties": False,
            },
        },
    },
    "patternProperties": {"^_": {}},
    "additionalProperties": False,
}


# Two libraries take as long to import as all of ours: only a process that needs them does.


def valid(value: Any, schema: Mapping[str, Any]) -> Any:
    import jsonschema

    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)
    return value


@pytest.mark.usefixtures("corpus")
def test_a_page_in_json_is_what_the_specifications_demand(serve: Serve) -> None:
    client = serve()
    answer = client.get("/simple/foo-bar/", HTTP_ACCEPT=JSON)
    value = valid(answer.json(), PROJECT)
    files = {file["filename"]: file for file in value["files"]}
    assert value["name"] == "foo-bar"
    assert set(files) == set(BYTES)
    # PEP 700: every file belongs to one of the versions.
    assert {parse_filename(name).version for name in files} == set(value["versions"])
    for name, file in files.items():
        assert file["size"] == len(BYTES[name])
        assert file["hashes"]["sha256"] == hashlib.sha256(BYTES[name]).hexdigest()
        assert file["upload-time"] == "2020-09-13T12:26:40.000000Z"
        path = urlsplit(urljoin(PAGE, file["url"])).path
        assert client.get(unquote(path)).body == BYTES[name]
        # PEP 658 and PEP 714: what is announced is there, with that hash; what is not announced is not there.
        metadata = client.get(unquote(path) + ".metadata")
        announced = file["core-metadata"]
        assert file["data-dist-info-metadata"] == announced
        assert (metadata.status == 200) == (announced is not False), name
        if announced:
            assert hashlib.sha256(metadata.body).hexdigest() == announced["sha256"]


@pytest.mark.usefixtures("corpus")
def test_each_file_says_what_is_known_about_it_and_no_more(serve: Serve) -> None:
    value = serve().get("/simple/foo-bar/", HTTP_ACCEPT=JSON).json()
    files = {file["filename"]: file for file in value["files"]}

    def those(key: str) -> dict[str, object]:
        return {name: file[key] for name, file in files.items() if file.get(key) not in (None, False)}

    assert those("requires-python") == {PYTHON[0]: ">=3.8,<4"}
    assert those("yanked") == {YANKED[0]: True, WHY[0]: REASON}
    assert those("gpg-sig") == {SIGNED[0]: True}
    assert those("provenance") == {SIGNED[0]: f"http://127.0.0.1/packages/{SIGNED[0]}.provenance"}
    assert set(those("core-metadata")) == {name for name in files if name.endswith(".whl")} | {STATIC[0]}
    assert value["project-status"] == {"status": "deprecated", "reason": "use <bar> & be happy"}


@pytest.mark.usefixtures("corpus")
def test_other_peoples_parsers_read_the_json(serve: Serve) -> None:
    import pypi_simple

    body = serve().get("/simple/foo-bar/", HTTP_ACCEPT=JSON).json()
    check_pypi_simple(pypi_simple.ProjectPage.from_json_data(body, base_url=PAGE))
    check_pip(json.dumps(body).encode(), JSON)
    for file in body["files"]:
        if file["filename"].endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(file["filename"])
            assert name == "foo-bar" and version in {Version(each) for each in body["versions"]}
        if file["filename"].endswith((".tar.gz", ".zip")) and "linux" not in file["filename"]:
            assert parse_sdist_filename(file["filename"])[0] == "foo-bar"
        SpecifierSet(file.get("requires-python", ""))


@pytest.mark.usefixtures("corpus")
@pytest.mark.parametrize("accept", ["text/html", V1_HTML, "*/*"])
def test_other_peoples_parsers_read_the_html(serve: Serve, accept: str) -> None:
    import pypi_simple

    answer = serve().get("/simple/foo-bar/", HTTP_ACCEPT=accept)
    check_pypi_simple(pypi_simple.ProjectPage.from_html("foo-bar", answer.text, base_url=PAGE))
    check_pip(answer.body, answer.headers["content-type"])


def check_pypi_simple(page: pypi_simple.ProjectPage) -> None:
    packages = {package.filename: package for package in page.packages}
    assert (page.project, page.repository_version) == ("foo-bar", "1.4")
    assert set(packages) == set(BYTES)
    for name, package in packages.items():
        assert package.digests["sha256"] == hashlib.sha256(BYTES[name]).hexdigest()
        assert bool(package.has_metadata) == (name.endswith(".whl") or name == STATIC[0])
    assert packages[PYTHON[0]].requires_python == ">=3.8,<4"
    assert (packages[YANKED[0]].is_yanked, packages[WHY[0]].yanked_reason) == (True, REASON)
    assert not packages[PLAIN[0]].is_yanked
    assert packages[SIGNED[0]].provenance_url == f"http://127.0.0.1/packages/{SIGNED[0]}.provenance"
    assert packages[EPOCH[0]].version == "1!0.1"
    assert packages[BUILD[0]].version == "1.0"


def check_pip(body: bytes, content_type: str) -> None:
    kind, _, _ = content_type.partition(";")
    header = Message()
    header["content-type"] = content_type
    # It keeps what it read from an address, and all pages here have the same.
    content = IndexContent(body, kind, "utf-8", PAGE, cache_link_parsing=False)
    links = {link.filename: link for link in parse_links(content)}
    assert set(links) == set(BYTES)
    for name, link in links.items():
        assert link.has_hash or kind == JSON
        assert (link._hashes or {}).get("sha256", link.hash) == hashlib.sha256(BYTES[name]).hexdigest()
    assert links[PYTHON[0]].requires_python == ">=3.8,<4"
    assert links[WHY[0]].yanked_reason == REASON
    assert links[YANKED[0]].is_yanked and not links[PLAIN[0]].is_yanked
    metadata = links[PLAIN[0]].metadata_link()
    # Its first name in JSON made pip crash before 23.2 learned the new one (PEP 714), so these get none there.
    if kind == JSON and Version(pip.__version__) < Version("23.2"):
        assert metadata is None
        return
    assert metadata is not None and metadata.url.endswith(f"{PLAIN[0]}.metadata")
    assert links[DYNAMIC[0]].metadata_link() is None


# -- HTML and JSON say the same ------------------------------------------------------------------------------------

NAMESPACE = "{http://www.w3.org/1999/xhtml}"


def parsed(body: bytes) -> Any:
    """The tree of a page without a single parse error."""
    return html5lib.HTMLParser(strict=True).parse(body, transport_encoding="utf-8")


def metas(tree: Any) -> dict[str, str]:
    return {meta.get("name"): meta.get("content") for meta in tree.iter(f"{NAMESPACE}meta") if meta.get("name")}


def from_html(body: bytes) -> dict[str, Any]:
    """What a page in HTML says, in the words of the JSON form."""
    tree = parsed(body)
    said = metas(tree)
    status = {"status": said["pypi:project-status"]}
    if "pypi:project-status-reason" in said:
        status["reason"] = said["pypi:project-status-reason"]
    return {
        "api-version": said["pypi:repository-version"],
        "project-status": status,
        "files": [file_of(anchor) for anchor in tree.iter(f"{NAMESPACE}a")],
    }


def file_of(anchor: Any) -> dict[str, Any]:
    url, _, fragment = anchor.get("href").partition("#")
    hashes = dict([fragment.split("=")]) if fragment else {}
    if anchor.get("data-sha256"):
        hashes["sha256"] = anchor.get("data-sha256")
    digest = anchor.get("data-core-metadata")
    assert anchor.get("data-dist-info-metadata") == digest
    yanked = anchor.get("data-yanked")
    file = {
        "filename": anchor.text,
        "url": url,
        "hashes": hashes,
        "core-metadata": {"sha256": digest.removeprefix("sha256=")} if digest else False,
        "yanked": False if yanked is None else yanked or True,
        "gpg-sig": anchor.get("data-gpg-sig") == "true",
    }
    for key in ("requires-python", "provenance"):
        if anchor.get(f"data-{key}") is not None:
            file[key] = anchor.get(f"data-{key}")
    return file


def from_json(body: bytes) -> dict[str, Any]:
    """What the JSON form says, without what the HTML form cannot say."""
    value = valid(json.loads(body), PROJECT)
    left_out = ("size", "upload-time", "data-dist-info-metadata")
    return {
        "api-version": value["meta"]["api-version"],
        "project-status": value["project-status"],
        "files": [{key: file[key] for key in file if key not in left_out} for file in value["files"]],
    }


LINES = st.text(max_size=40).map(one_line)
SOME_HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
PATHS = st.text(min_size=1, max_size=30).filter(
    lambda text: text.isprintable() and all(part.strip(". ") for part in text.split("/"))
)


@st.composite
def files(draw: st.DrawFn) -> File:
    path = draw(PATHS)
    sha256 = draw(SOME_HEX)
    return File(
        filename=path.rpartition("/")[2],
        project=canonicalize_name("foo"),
        name="foo",
        version=draw(st.sampled_from(["1.0", "1!2.0+abc.1"])),
        kind="sdist",
        path=path,
        root=0,
        size=draw(st.integers(0, 2**50)),
        mtime_ns=draw(st.integers(0, 4_000_000_000 * 10**9)),
        inode=1,
        sha256=sha256,
        link_digest=draw(st.sampled_from(["", f"sha256={sha256}", "md5=0123456789abcdef0123456789abcdef"])),
        requires_python=draw(st.none() | LINES.filter(bool)),
        metadata_sha256=draw(st.none() | SOME_HEX),
        yanked=draw(st.none() | LINES),
        has_signature=draw(st.booleans()),
        has_provenance=draw(st.booleans()),
    )


STATUSES = st.builds(ProjectStatus, st.sampled_from(["active", "archived", "deprecated", "quarantined"]), LINES)


@given(st.lists(files(), max_size=3), STATUSES)
def test_html_and_json_say_the_same_of_any_file(listed: list[File], status: ProjectStatus) -> None:
    name = canonicalize_name("foo")
    project = Project(name, "Foo", tuple(listed), ("1.0", "1!2.0+abc.1"), status, 7, 1)
    page = {"files_url": "../../packages/", "secure_files_url": "https://pypi.example/packages/"}
    html, value = (render_project(project, form, **page) for form in (Form.TEXT_HTML, Form.JSON))
    from_the_html, from_the_json = from_html(html), from_json(value)
    for said, file in zip(from_the_json["files"], listed, strict=True):
        # The fragment holds one digest: sha256 is next to it only when it is another one's.
        assert set(said["hashes"]) == {"sha256", *([file.link_digest.partition("=")[0]] if file.link_digest else [])}
        assert unquote(said["url"]) == f"../../packages/{file.path}"
    assert from_the_html == from_the_json


@given(st.lists(st.text(min_size=1, max_size=20).filter(str.isprintable), max_size=5))
def test_html_and_json_list_the_same_projects(names: list[str]) -> None:
    projects = [(canonicalize_name(f"name-{number}"), name, number + 1) for number, name in enumerate(names)]
    value = valid(json.loads(render_index(projects, Form.JSON)), INDEX)
    tree = parsed(render_index(projects, Form.HTML))
    anchors = [(anchor.get("href"), anchor.text) for anchor in tree.iter(f"{NAMESPACE}a")]
    assert anchors == [(f"{name}/", display) for name, display, _ in projects]
    assert [project["name"] for project in value["projects"]] == names
    assert [project["_last-serial"] for project in value["projects"]] == list(range(1, len(names) + 1))
    assert value["meta"]["_last-serial"] == max(len(names), 1)
    assert metas(tree) == {"pypi:repository-version": value["meta"]["api-version"]}


@given(st.lists(st.text(min_size=1, max_size=20), max_size=5), st.lists(st.sampled_from(("foo", "Foo_Bar.1", "a b"))))
def test_a_list_of_plain_names_is_written_as_any_other(odd: list[str], plain: list[str]) -> None:
    for names in (plain, plain + odd):
        projects = [(canonicalize_name(f"name-{number}"), name, number) for number, name in enumerate(names)]
        listed = [{"name": display, "_last-serial": serial} for _, display, serial in projects]
        value = {"meta": {"api-version": API_VERSION, "_last-serial": max(len(names) - 1, 0) or int(not names)}}
        value["projects"] = listed  # type: ignore[assignment]
        assert render_index(projects, Form.JSON) == json.dumps(value, separators=(",", ":")).encode()
        links = "\n".join(f'<a href="{name}/">{escape(display)}</a><br>' for name, display, _ in projects)
        body = f"<h1>Simple index</h1>\n{links}\n</body>".encode("utf-8", "replace")
        assert body in render_index(projects, Form.HTML)


@pytest.mark.usefixtures("corpus")
def test_the_pages_of_a_real_folder_say_the_same_in_html_and_json(serve: Serve) -> None:
    client = serve()
    html, value = (client.get("/simple/foo-bar/", HTTP_ACCEPT=accept).body for accept in ("text/html", JSON))
    assert from_html(html) == from_json(value)


@pytest.mark.parametrize(
    ("hash_algo", "fragment"), [("sha256", "sha256"), ("md5", "md5"), ("blake2b", "blake2b"), ("off", "")]
)
def test_the_hash_of_the_link_is_a_setting_and_sha256_is_always_there(
    serve: Serve, put: Put, hash_algo: str, fragment: str
) -> None:
    put(*PLAIN)
    client = serve(hash_algo=hash_algo)
    html, value = (client.get("/simple/foo-bar/", HTTP_ACCEPT=accept).body for accept in ("text/html", JSON))
    assert (f"#{fragment}=".encode() in html) if fragment else (b"#" not in html)
    assert from_html(html) == from_json(value)
    expected = {name: hashlib.new(name, PLAIN[1]).hexdigest() for name in {"sha256", fragment or "sha256"}}
    assert json.loads(value)["files"][0]["hashes"] == expected


@pytest.mark.usefixtures("corpus")
@pytest.mark.parametrize("path", ["/", "/simple/", "/packages/"])
def test_every_page_for_people_is_sound_html(serve: Serve, path: str) -> None:
    parsed(serve().get(path).body)


def test_a_project_has_each_version_once_however_it_is_spelled(serve: Serve, put: Put) -> None:
    put(*make_sdist("foo", "1.0-rc1"))
    put(*make_wheel("foo", "1.0rc1"))
    put(*make_wheel("foo", "1.0"))
    put(*make_sdist("foo", "1.0.0", format=".zip"))
    value = serve().get("/simple/foo/", HTTP_ACCEPT=JSON).json()
    assert [Version(version) for version in value["versions"]] == [Version("1.0rc1"), Version("1.0")]
    assert len(value["files"]) == 4


# -- provenance: a secure, absolute address or none (PEP 740) --------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"HTTP_HOST": "pypi.example", "wsgi.url_scheme": "https"}, "https://pypi.example/", id="https"),
        pytest.param(
            {"HTTP_HOST": "pypi.example", "wsgi.url_scheme": "https", "SCRIPT_NAME": "/pypi"},
            "https://pypi.example/pypi/",
            id="https below a prefix",
        ),
        pytest.param({"HTTP_HOST": "127.0.0.1:8080"}, "http://127.0.0.1:8080/", id="loopback"),
        pytest.param({"HTTP_HOST": "[::1]:8080"}, "http://[::1]:8080/", id="loopback by IPv6"),
        pytest.param({"HTTP_HOST": "localhost"}, "http://localhost/", id="localhost"),
        pytest.param({"HTTP_HOST": "pypi.example"}, None, id="plain http to another host"),
        pytest.param({"HTTP_HOST": "127.0.0.1.pypi.example"}, None, id="a name that only begins so"),
    ],
)
@pytest.mark.parametrize("form", ["text/html", JSON])
def test_provenance_is_advertised_at_a_secure_origin(
    serve: Serve, put: Put, headers: dict[str, str], expected: str | None, form: str
) -> None:
    put(*PLAIN)
    put(f"{PLAIN[0]}.provenance", b"{}")
    client = serve()
    # Another origin first: what was made for one must not be shown to the other.
    client.get("/simple/foo-bar/", HTTP_ACCEPT=form, HTTP_HOST="other.example", **{"wsgi.url_scheme": "https"})
    answer = client.get("/simple/foo-bar/", HTTP_ACCEPT=form, **headers)
    (file,) = (from_json if form == JSON else from_html)(answer.body)["files"]
    assert file.get("provenance") == (f"{expected}packages/{PLAIN[0]}.provenance" if expected else None)


def test_provenance_is_advertised_below_the_address_we_were_told(serve: Serve, put: Put) -> None:
    put(*PLAIN)
    put(f"{PLAIN[0]}.provenance", b"{}")
    page = serve(server_base_url="https://pypi.example/x").get("/simple/foo-bar/", HTTP_HOST="inside.example")
    (file,) = from_html(page.body)["files"]
    assert file["provenance"] == f"https://pypi.example/x/packages/{PLAIN[0]}.provenance"


# -- negotiation (PEP 691; standards section 4) ------------------------------------------------------------------------

LATEST = "application/vnd.pypi.simple.latest"
NEGOTIATED = [
    pytest.param(None, Form.TEXT_HTML, id="no header"),
    pytest.param("", Form.TEXT_HTML, id="empty"),
    pytest.param("*/*", Form.TEXT_HTML, id="pipenv and hatch"),
    pytest.param("text/html", Form.TEXT_HTML, id="pip to 21"),
    pytest.param("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form.TEXT_HTML, id="browser"),
    pytest.param(f"{JSON}, {V1_HTML}; q=0.1, text/html; q=0.01", Form.JSON, id="pip from 22.2"),
    pytest.param(f"{JSON}, {V1_HTML};q=0.2, text/html;q=0.01", Form.JSON, id="uv"),
    pytest.param(f"{JSON}, */*;q=0.1", Form.JSON, id="poetry"),
    pytest.param(f"{JSON}, {V1_HTML}, text/html;q=0.01", Form.JSON, id="pypi-simple"),
    pytest.param(f"text/html;q=0.01, {V1_HTML};q=0.1, {JSON}", Form.JSON, id="order carries no rank"),
    pytest.param(f"text/html, {V1_HTML}, {JSON}", Form.JSON, id="among equals JSON"),
    pytest.param(f"text/html, {V1_HTML}", Form.HTML, id="among equals text/html last"),
    pytest.param(f"{JSON};q=0.2, text/html;q=0.3", Form.TEXT_HTML, id="q ranks"),
    pytest.param(f"{JSON};q=0, {V1_HTML};q=0.1", Form.HTML, id="q=0 excludes"),
    pytest.param(f"{JSON};q=0, */*", Form.TEXT_HTML, id="q=0 and a wildcard"),
    pytest.param(f"{JSON};q=0.000", Form.TEXT_HTML, id="q=0.000"),
    pytest.param("text/html;q=0, */*", Form.HTML, id="HTML, but not by that name"),
    pytest.param(f"text/html;q=0, {V1_HTML};q=0, */*", Form.JSON, id="all but HTML"),
    pytest.param(f"text/html;q=0.4, {JSON.upper()};Q=0.5", Form.JSON, id="case"),
    pytest.param(f"{LATEST}+json", Form.JSON, id="latest json"),
    pytest.param(f"{LATEST}+html", Form.HTML, id="latest html"),
    pytest.param(f"text/html;q=0.5,{JSON};charset=utf-8", Form.JSON, id="parameters are ignored"),
    pytest.param(f"{JSON};q=x, text/html;q=0.1", Form.TEXT_HTML, id="a q that is none"),
    pytest.param(f"{JSON};q=7, text/html;q=0.1", Form.TEXT_HTML, id="a q out of bounds"),
    pytest.param(f"{JSON};q=nan, text/html;q=0.1", Form.TEXT_HTML, id="a q that is no number"),
    pytest.param("application/vnd.pypi.simple.v2+json", Form.TEXT_HTML, id="a version to come"),
    pytest.param("application/json", Form.TEXT_HTML, id="nothing acceptable"),
    pytest.param("application/*", Form.HTML, id="a wildcard below a type"),
    pytest.param("text/*", Form.TEXT_HTML, id="a wildcard below text"),
    pytest.param("text/*;q=0.5, application/*", Form.HTML, id="two wildcards below types"),
    pytest.param("application/*, text/*", Form.TEXT_HTML, id="two of one rank"),
    pytest.param("text/html;q=0.5, application/*", Form.HTML, id="a wildcard wanted more than a name"),
    pytest.param(f"{JSON}, application/*", Form.JSON, id="a name beside its wildcard"),
    pytest.param(f"{V1_HTML};q=0, application/*", Form.JSON, id="a wildcard but for one"),
    pytest.param("application/*;q=0, */*", Form.TEXT_HTML, id="everything but a type"),
    pytest.param("text/*;q=0, */*", Form.HTML, id="everything but text"),
    pytest.param("image/*", Form.TEXT_HTML, id="a wildcard below what we do not have"),
    pytest.param(",;,;q=1, ;", Form.TEXT_HTML, id="junk"),
]


@pytest.mark.parametrize(("accept", "form"), NEGOTIATED)
def test_negotiation(accept: str | None, form: Form) -> None:
    assert negotiate(accept, None) is form


@given(st.text(max_size=80))
def test_any_accept_header_gets_a_form(accept: str) -> None:
    assert negotiate(accept, accept) in Form


@pytest.mark.parametrize(
    ("query", "content_type"),
    [
        # The specification's own example has a bare plus in it, which a form would read as a space.
        (f"format={JSON}", JSON),
        (f"format={JSON.replace('+', '%2B')}", JSON),
        (f"x=1&format={V1_HTML}", f"{V1_HTML}; charset=utf-8"),
        ("format=text/html", "text/html; charset=utf-8"),
        (f"format={LATEST}+json", JSON),
        ("format=nonsense", JSON),
        ("format=", JSON),
    ],
)
@pytest.mark.usefixtures("corpus")
def test_a_format_in_the_address_wins_over_the_header(serve: Serve, query: str, content_type: str) -> None:
    client = serve()
    accept = JSON if content_type == JSON and ("nonsense" in query or query == "format=") else "text/html"
    accept = accept if content_type != "text/html; charset=utf-8" else JSON
    for path in ("/simple/", "/simple/foo-bar/"):
        answer = client.get(f"{path}?{query}", HTTP_ACCEPT=accept)
        assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, zstd", "zstd"),
        ("zstd;q=0.1, gzip", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.0, *", "zstd"),
        ("zstd;q=0, gzip;q=0", None),
        ("*;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("br, deflate", None),
        ("gzip;q=junk", None),
    ],
)
def test_the_content_coding_is_the_clients_choice(header: str | None, coding: str | None) -> None:
    assert accepts_encoding(header, ("gzip", "zstd")) == coding


@pytest.mark.usefixtures("corpus")
def test_each_form_and_coding_has_a_strong_validator_of_its_own(serve: Serve) -> None:
    client = serve()
    etags: dict[str, tuple[str, str]] = {}
    for accept in ("text/html", V1_HTML, JSON):
        for coding in ("identity", "gzip"):
            headers = {"HTTP_ACCEPT": accept, "HTTP_ACCEPT_ENCODING": coding}
            answer = client.get("/simple/foo-bar/", **headers)
            tag = answer.headers["etag"]
            assert re.fullmatch(r'"[!-~]+"', tag) and tag not in etags
            etags[tag] = (accept, coding)
            again = client.get("/simple/foo-bar/", HTTP_IF_NONE_MATCH=tag, **headers)
            names = ("etag", "vary", "cache-control", "x-accel-expires", "x-pypi-last-serial")
            kept = {name: answer.headers[name] for name in names}
            assert (again.status, again.body, dict(again.headers)) == (304, b"", kept)
    for tag, (accept, coding) in etags.items():
        for other in etags.values():
            answer = client.get(
                "/simple/foo-bar/", HTTP_ACCEPT=other[0], HTTP_ACCEPT_ENCODING=other[1], HTTP_IF_NONE_MATCH=tag
            )
            assert (answer.status == 304) == (other == (accept, coding))


@pytest.mark.usefixtures("corpus")
@pytest.mark.parametrize("path", ["/simple/", "/simple/foo-bar/"])
def test_a_page_is_the_same_from_a_catalog_that_was_built_again(serve: Serve, put: Put, path: str) -> None:
    first = serve()
    put(*make_wheel("other", "1.0"))
    tags = {first.get(path, HTTP_ACCEPT=JSON).headers["etag"]}
    put("other-2.0.tar.gz", make_sdist("other", "2.0")[1])
    first._application.backend.refresher.scan()  # type: ignore[attr-defined]
    tags |= {client.get(path, HTTP_ACCEPT=JSON).headers["etag"] for client in (first, serve())}
    assert len(tags) == 1


@pytest.fixture
def zstd(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Some package that brings zstd; what it makes of a page only it can read."""
    package, module = ModuleType("backports"), ModuleType("backports.zstd")
    module.compress = lambda body, level: b"zstd:" + zlib.compress(body)  # type: ignore[attr-defined]
    for name in ("compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "backports", package)
    monkeypatch.setitem(sys.modules, "backports.zstd", module)
    compression._zstd.cache_clear()
    yield
    compression._zstd.cache_clear()


@pytest.mark.usefixtures("corpus")
def test_pages_in_zstd_can_be_read(serve: Serve) -> None:
    library = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    client = serve()
    for accept in ("text/html", JSON):
        plain = client.get("/simple/foo-bar/", HTTP_ACCEPT=accept)
        answer = client.get("/simple/foo-bar/", HTTP_ACCEPT=accept, HTTP_ACCEPT_ENCODING="zstd, gzip;q=0.5")
        assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("zstd", "Accept, Accept-Encoding")
        assert library.decompress(answer.body) == plain.body and len(answer.body) < len(plain.body)


@pytest.mark.usefixtures("corpus", "zstd")
def test_zstd_is_spoken_where_a_package_brings_it(serve: Serve) -> None:
    client = serve()
    plain = client.get("/simple/foo-bar/")
    uv = client.get("/simple/foo-bar/", HTTP_ACCEPT_ENCODING="gzip, deflate, zstd")
    assert (uv.headers["content-encoding"], zlib.decompress(uv.body[5:])) == ("zstd", plain.body)
    assert uv.headers["etag"] == plain.headers["etag"][:-1] + '-zstd"'
    for header in ("zstd;q=0, gzip", "gzip, deflate"):
        assert client.get("/simple/foo-bar/", HTTP_ACCEPT_ENCODING=header).headers["content-encoding"] == "gzip"
    again = client.get(
        "/simple/foo-bar/", HTTP_ACCEPT_ENCODING="gzip, deflate, zstd", HTTP_IF_NONE_MATCH=uv.headers["etag"]
    )
    assert again.status == 304


# -- the cache of ready pages ------------------------------------------------------------------------------------------


def test_what_a_full_cache_drops_leaves_nothing_behind() -> None:
    cache = PageMemory().cache(10_000)
    for number in range(200):
        page = cache.put(number, bytes(1000), serial=1)
        assert cache.get(number, now=1, serial_of=lambda: 1) is page
    assert sum(cache.get(number, now=1, serial_of=lambda: 1) is not None for number in range(200)) <= 10
    # A reader that held a page while it was dropped must not bring its key back.
    assert len(cache._pages) <= 10
    assert not [name for name, value in vars(cache).items() if isinstance(value, dict) and len(value) > 10]


def test_a_page_that_is_larger_than_the_cache_is_not_kept() -> None:
    cache = PageMemory().cache(20_000)
    small, large = cache.put("small", bytes(1000), serial=1), random.Random(1).randbytes(40_000)
    cache.put("large", bytes(1000), serial=1)
    assert cache.put("large", large, serial=2).body == large
    assert (cache.last("large"), cache.last("small")) == (None, small)
    assert cache.bytes == small.size + weight("small")


def test_a_page_is_compressed_by_the_first_who_asks_and_counts_with_that() -> None:
    cache = PageMemory().cache(40_000)
    other = cache.put("other", bytes(1000), serial=1)
    page = cache.put("page", random.Random(1).randbytes(15_000), serial=1)
    before = cache.bytes
    assert (page.codings[0], page.is_encoded("identity"), page.is_encoded("gzip")) == ("gzip", True, False)
    assert gzip.decompress(page.encoded("gzip")) == page.body
    assert page.encoded("gzip") is page.encoded("gzip")
    assert cache.bytes == before + len(page.encoded("gzip"))
    cache.put("third", random.Random(2).randbytes(9000), serial=1)
    assert (cache.last("other"), cache.last("page")) == (None, None)
    assert other.encoded("gzip")
    assert cache.bytes == cache._pages["third"].size + weight("third")


def test_a_page_that_is_too_large_with_its_codings_leaves_the_cache() -> None:
    memory = PageMemory(60_000)
    cache, others = memory.cache(40_000), memory.cache(40_000)
    other = others.put("other", random.Random(1).randbytes(20_000), serial=1)
    page = cache.put("page", random.Random(2).randbytes(25_000), serial=1)
    assert gzip.decompress(page.encoded("gzip")) == page.body
    assert (cache.last("page"), cache.bytes, others.last("other")) == (None, 0, other)


def test_many_threads_that_ask_for_a_coding_have_the_page_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    page, calls = PageMemory().cache().put("page", bytes(100_000), serial=1), []
    monkeypatch.setattr(page_cache, "encode", lambda body, coding: calls.append(coding) or time.sleep(0.05) or b"coded")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: page.encoded("gzip"), range(8))) == {b"coded"}
    assert calls == ["gzip"]


def test_a_page_that_is_asked_for_outlives_those_that_are_not() -> None:
    cache = PageMemory().cache(20_000)
    cache.put("index", bytes(1000), serial=1)
    for number in range(200):
        assert cache.get("index", now=1, serial_of=lambda: 1) is not None, number
        cache.put(number, bytes(1000), serial=1)


def test_all_kinds_of_pages_share_one_memory() -> None:
    memory = PageMemory(100_000)
    few, many = memory.cache(), memory.cache()
    for number in range(5):
        few.put(number, bytes(1000), serial=1)
    for number in range(200):
        many.put(number, bytes(1000), serial=1)
        assert few.bytes + many.bytes <= 100_000
    # The kind that has more pages gives them up, not the other one.
    assert all(few.last(number) is not None for number in range(5))
    assert 10 < sum(many.last(number) is not None for number in range(200)) < 30
    alone = memory.cache()
    large = alone.put("large", random.Random(1).randbytes(30_000), serial=1)
    assert alone.last("large") is large
    assert few.bytes + many.bytes + alone.bytes <= 100_000


def test_a_page_that_is_only_kept_for_outages_is_not_encoded() -> None:
    cache = PageMemory().cache()
    cache.put_plain("list", bytes(10_000), serial=3, seen=7.0)
    last = cache.last("list")
    assert last is not None
    assert (last.serial, last.checked, last.seen, last.codings) == (3, 3, 7.0, ())


def test_a_page_is_not_taken_for_current_because_its_successor_is() -> None:
    cache = PageMemory().cache()
    old = cache.put("foo", b"old", serial=1)
    new = cache.put("foo", b"new", serial=2)
    assert cache.get("foo", now=2, serial_of=lambda: 2) is new
    assert cache.get("foo", now=3, serial_of=lambda: 3) is None
    assert (old.body, old.etag("identity")) == (b"old", etag(b"old"))


@pytest.mark.parametrize(
    ("path", "handlers", "maker"),
    [
        ("/simple/", "simple", "api.simple.render_index"),
        ("/simple/foo-bar/", "simple", "api.simple.render_project"),
        ("/foo-bar/json", "json_pages._pages", "api.legacy_json.render"),
        ("/packages/", "all_files._pages", "html.file_list.part"),
    ],
)
def test_what_many_ask_for_at_once_is_made_once(
    serve: Serve, put: Put, monkeypatch: pytest.MonkeyPatch, path: str, handlers: str, maker: str
) -> None:
    put(*PLAIN)
    client = serve()
    client.get("/simple/foo-bar/")
    kept = operator.attrgetter(handlers)(client._application.web)  # type: ignore[attr-defined]
    kept._cache._pages.clear()
    module, _, name = maker.rpartition(".")
    there = importlib.import_module(f"pypiserver.web.{module}")
    original, made = getattr(there, name), []

    def slow(*args: object, **keywords: object) -> object:
        made.append(args)
        end = time.monotonic() + 10
        while time.monotonic() < end and sum(flight.requests for flight in kept._flights._flights.values()) < 6:
            time.sleep(0.001)
        return original(*args, **keywords)

    monkeypatch.setattr(there, name, slow)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: client.get(path), range(6)))
    assert ({answer.status for answer in answers}, len({answer.body for answer in answers})) == ({200}, 1)
    assert len(made) == 1


@pytest.mark.parametrize("settings", [{}, {"disable_fallback": True}], ids=["fallback", "no fallback"])
def test_asking_for_unknown_projects_fills_no_cache(serve: Serve, put: Put, settings: dict[str, object]) -> None:
    put(*PLAIN)
    client = serve(**settings)
    simple = client._application.web.simple  # type: ignore[attr-defined]
    client.get("/simple/foo-bar/")
    before = len(simple._cache._pages)
    for number in range(50):
        assert client.get(f"/simple/unknown-{number}/").status in (302, 404)
    assert len(simple._cache._pages) == before
    # No file name is longer than 255 characters, so no project's is.
    assert client.get(f"/simple/{'x' * 300}/").status == 404
    assert client.get(f"/{'x' * 300}/json").status == 404
    assert client.get(f"/pypi/foo-bar/{'1' * 300}/json").status == 404
