"""Whatever a request carries, its answer is one that was meant (P27, P35, P36, P38)."""

from __future__ import annotations

import re
import tempfile
from functools import cache
from io import BytesIO
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pypiserver
from tests.make_archives import make_sdist, make_wheel
from tests.security.mutations import header_text, mutated
from tests.unit.wsgi import Answer, Client, form

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0", summary="A foo")
SDIST, SDIST_BYTES = make_sdist("foo", "1.1")
JSON = b"application/vnd.pypi.simple.v1+json"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

pytestmark = pytest.mark.filterwarnings("ignore::wsgiref.validate.WSGIWarning")

PATHS = [
    b"/", b"/health", b"/simple", b"/simple/", b"/simple/foo", b"/simple/foo/", b"/simple/Foo/",
    b"/simple/unknown/", b"/+simple/foo/",
    b"/packages/", b"/packages/" + WHEEL.encode(), b"/packages/" + WHEEL.encode() + b".metadata",
    b"/packages/x/y.asc", b"/pypi/foo/json",
    b"/pypi/foo/1.0/json", b"/foo/json", b"/foo", b"/favicon.ico", b"/RPC2",
]  # fmt: skip
HEADERS: dict[str, list[bytes]] = {
    "HTTP_ACCEPT": [b"*/*", b"text/html;q=0.1, " + JSON + b", */*;q=0", JSON + b'; level="a,b"'],
    "HTTP_ACCEPT_ENCODING": [b"gzip, deflate;q=0.5, *;q=0", b"identity;q=0", b"zstd"],
    "HTTP_RANGE": [b"bytes=0-99", b"bytes=-5", b"bytes=5-", b"bytes=0-1,5-6", b"lines=1-2"],
    "HTTP_IF_RANGE": [b'"abc"', b"Sun, 13 Sep 2020 12:26:40 GMT", b'W/"abc"'],
    "HTTP_IF_NONE_MATCH": [b'"abc", W/"def"', b"*"],
    "HTTP_IF_MATCH": [b'"abc", W/"def"', b"*"],
    "HTTP_IF_MODIFIED_SINCE": [b"Sun, 13 Sep 2020 12:26:40 GMT", b"Sunday, 13-Sep-20 12:26:40 GMT"],
    "HTTP_AUTHORIZATION": [b"Basic YWRhOnJpZ2h0", b"Basic YWRh", b"Bearer abc", b"Basic w6k6w6k="],
    "HTTP_ORIGIN": [b"https://pypi.example", b"null"],
    "HTTP_SEC_FETCH_SITE": [b"same-origin", b"cross-site"],
    "HTTP_HOST": [b"pypi.example:8080", b"[::1]:80", b"127.0.0.1"],
    "HTTP_CACHE_CONTROL": [b"max-age=0", b"max-age=600", b"no-cache"],
    "HTTP_X_FORWARDED_HOST": [b"pypi.example, other.example", b"pypi.example/prefix"],
    "HTTP_X_FORWARDED_PROTO": [b"https"],
    "HTTP_X_FORWARDED_PREFIX": [b"/team/index"],
    "HTTP_X_FORWARDED_FOR": [b"203.0.113.9, 127.0.0.1"],
    "HTTP_FORWARDED": [b'for=203.0.113.9;host="pypi.example";proto=https;by=_x'],
    "HTTP_COOKIE": [b"a=b; c=d"],
    "HTTP_USER_AGENT": [b'pip/20.3.4 {"ci":null}'],
    "QUERY_STRING": [b"format=" + JSON, b"a=b&c=d", b":action=remove_pkg&name=foo&version=1.0"],
}
XML = (
    b"<?xml version='1.0'?><methodCall><methodName>search</methodName><params><param><value><struct>"
    b"<member><name>name</name>"
    b"<value><array><data><value><string>foo</string></value></data></array></value></member></struct></value></param>"
    b"<param><value>and</value></param></params></methodCall>"
)
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "'
    + b"c" * 99
    + b'">]><methodCall><methodName>&b;</methodName></methodCall>'
)


@cache
def client(is_open: bool) -> Client:
    """One application for all examples; what one of them stores is there for the next, as in life."""
    folder = Path(tempfile.mkdtemp())
    (folder / "packages").mkdir()
    (folder / "packages" / WHEEL).write_bytes(WHEEL_BYTES)
    (folder / "packages" / SDIST).write_bytes(SDIST_BYTES)
    access = {"password_file": "."} if is_open else {"auther": lambda user, password: False}
    return Client(
        pypiserver.app(
            roots=[folder / "packages"], authenticate="." if is_open else "list,download,update",
            catalog=folder / "catalog.sqlite",
            max_upload_size="1M", trusted_proxy="127.0.0.1", **access,
        )
    )  # fmt: skip


def is_meant(answer: Answer) -> None:
    """No 5xx but those with a cause, and nothing in the head or in a text that could end a line or move a cursor."""
    assert answer.status < 500 or answer.status in (503, 507), answer
    head = [answer.reason, *answer.headers, *answer.headers.values()]
    assert not CONTROL.search("".join(head)) and "\n" not in "".join(head), head
    if answer.headers.get("content-type", "").startswith("text/plain") and "etag" not in answer.headers:
        assert not CONTROL.search(answer.text), answer
        assert answer.text.count("\n") <= 1
    assert len(answer.body) < 200_000


headers = st.fixed_dictionaries({}, optional={name: header_text(seeds) for name, seeds in HEADERS.items()})
paths = header_text(PATHS).map(lambda path: "/" + path.lstrip("/").replace("?", ""))


@given(path=paths, headers=headers, method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS"]))
@pytest.mark.parametrize("is_open", [True, False])
def test_any_headers_at_any_address(is_open: bool, path: str, headers: dict[str, str], method: str) -> None:
    query = headers.pop("QUERY_STRING", "")
    answer = client(is_open).request(method, f"{path}?{query}", **headers)
    is_meant(answer)
    if not is_open:
        assert WHEEL not in answer.text.replace(path, "") or answer.status >= 400


@pytest.mark.parametrize("name", HEADERS)
@given(data=st.data())
def test_any_value_of_one_header(name: str, data: st.DataObject) -> None:
    value = data.draw(header_text(HEADERS[name]))
    for path in ("/simple/foo/", f"/packages/{WHEEL}"):
        if name == "QUERY_STRING":
            is_meant(client(True).get(f"{path}?{value}"))
        else:
            is_meant(client(True).get(path, **{name: value}))


FORMS = [
    form({":action": "file_upload", "name": "foo", "version": "2.0", "sha256_digest": "0" * 64}, *make_wheel("foo",
    "2.0"))[0],
    form({":action": "file_upload", "attestations": "[{}]"}, SDIST, SDIST_BYTES)[0],
    form({":action": "remove_pkg", "name": "foo", "version": "9"})[0],
    form({":action": "yank", "name": "foo", "version": "9", "reason": "x"})[0],
    b"\n".join(line.rstrip(b"\r") for line in form({"name": "foo"}, WHEEL, b"x")[0].split(b"\n")),
]  # fmt: skip
TYPES = [b"multipart/form-data; boundary=f0rm-b0undary", b'multipart/form-data; boundary="f0rm-b0undary"; charset=x']


@given(body=mutated(FORMS), kind=st.just(TYPES[0].decode()) | header_text(TYPES))
def test_any_form(body: bytes, kind: str) -> None:
    is_meant(client(True).post("/", body, CONTENT_TYPE=kind))


@given(body=mutated([b":action=yank&name=foo&version=9&reason=x", b":action=remove_pkg&name=%66oo&version=9"]))
def test_any_encoded_form(body: bytes) -> None:
    is_meant(client(True).post("/", body, CONTENT_TYPE="application/x-www-form-urlencoded"))


@given(length=header_text([b"10", b"0", b"10, 10"]), coding=st.none() | header_text([b"chunked", b"gzip, chunked"]))
def test_any_length_of_a_body(length: str, coding: str | None) -> None:
    # Without the validator that is between us and the application elsewhere: it cannot read such lengths itself.
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "CONTENT_TYPE": TYPES[0].decode(), "CONTENT_LENGTH": length}
    environ |= {} if coding is None else {"HTTP_TRANSFER_ENCODING": coding, "wsgi.input_terminated": True}
    setup_testing_defaults(environ)
    said: list[str] = []
    environ["wsgi.input"] = BytesIO(FORMS[0])
    b"".join(client(True)._application(environ, lambda status, headers, *error: said.append(status)))
    assert said[0][:1] in "24", said


@given(body=mutated([XML, BOMB, XML.replace(b"<string>foo</string>", b"<int>1</int>")], max_edits=10))
@pytest.mark.parametrize("path", ["/", "/RPC2", "/pypi"])
def test_any_search(path: str, body: bytes) -> None:
    answer = client(True).post(path, body, CONTENT_TYPE="text/xml")
    is_meant(answer)
    # What is no call, or one of a method that is not known, is 400.
    assert answer.status == 400 or (answer.status == 200 and b"methodResponse" in answer.body)


FILENAMES = [
    WHEEL.encode(),
    SDIST.encode(),
    b"foo-1.0-1-cp310.cp311-none-any.whl",
    b"foo-1.0.tar.bz2",
    b"foo-1.0-py3.11.egg",
    b"Foo.bar-1!2.dev0.zip",
]


@given(
    name=mutated(FILENAMES).map(
        lambda data: data.replace(b'"', b"%22").translate(None, b"\r\n").decode("utf-8", "replace")
    )
)
def test_any_file_name_is_refused_or_stored_under_exactly_it(name: str) -> None:
    opened = client(True)
    folder = Path(opened._application.config.roots[0])  # type: ignore[attr-defined]
    before = {path.name for path in folder.rglob("*")}
    is_meant(opened.upload(name, WHEEL_BYTES))
    assert {path.name for path in folder.rglob("*")} - before <= {name}
    assert {path.parent for path in folder.rglob("*")} <= {folder}
