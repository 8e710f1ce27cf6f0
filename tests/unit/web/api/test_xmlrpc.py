"""Search by XML-RPC, as ``pip search`` speaks it, and what must not bring the server down."""

from __future__ import annotations

import encodings
import encodings.aliases
import io
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.errors import BadRequest
from pypiserver.web.api.xmlrpc import MAX_WORDS, handle
from tests.make_archives import make_sdist, make_wheel
from tests.shelf import Shelf

from ...wsgi import Client, form
from ..test_routes import basic

Serve = Callable[..., Client]
Put = Callable[..., Path]
SUMMARIES = [
    ("Foo_Bar", "1.0", "Parses <things> & more"),
    ("foo", "2.0", "A tool"),
    ("other", "0.1", ""),
    ("control", "1.0", "with \x1b[2J and \ufffe in it"),
]


def answered(body: bytes, summaries: list[tuple[str, str, str]] = SUMMARIES) -> Any:
    """What a client gets out of the answer; raises the Fault in it."""
    ((value,), method) = xmlrpc.client.loads(handle(body, Shelf(summaries)))
    assert method is None
    return value


def call(*parameters: Any, method: str = "search") -> bytes:
    return xmlrpc.client.dumps(parameters, method).encode()


def found(*parameters: Any) -> list[str]:
    return [hit["name"] for hit in answered(call(*parameters))]


@pytest.mark.parametrize(
    ("query", "operator", "names"),
    [
        ({"name": ["foo"], "summary": ["foo"]}, "or", ["Foo_Bar", "foo"]),
        ({"name": ["tool"], "summary": ["tool"]}, "or", ["foo"]),
        ({"name": ["foo"], "summary": ["tool"]}, "and", ["foo"]),
        ({"name": ["foo", "other"]}, "or", ["Foo_Bar", "foo", "other"]),
        ({"name": ["foo", "bar"]}, "and", ["Foo_Bar"]),
        ({"name": "foo"}, "and", ["Foo_Bar", "foo"]),
        ({"name": ["FOO-BAR"]}, "or", ["Foo_Bar"]),
        ({"name": ["foo.bar"]}, "or", ["Foo_Bar"]),
        ({"summary": ["THINGS"]}, "or", ["Foo_Bar"]),
        ({"name": ["-"], "summary": ["-"]}, "or", []),
        ({"name": ["nothing"]}, "or", []),
        ({}, "or", []),
        ({}, "and", [name for name, _, _ in SUMMARIES]),
        ({"name": ["", " "]}, "or", []),
        ({"keywords": ["foo"]}, "or", []),
        ("foo", "and", ["Foo_Bar", "foo"]),
        ("TOOL", "or", ["foo"]),
        ("foo_bar", "or", ["Foo_Bar"]),
        ("", "or", []),
    ],
)
def test_words_are_looked_for_in_names_and_summaries(query: Any, operator: str, names: list[str]) -> None:
    assert found(query, operator) == names


def test_without_an_operator_all_words_must_fit() -> None:
    assert found({"name": ["foo"], "summary": ["tool"]}) == ["foo"]


def test_a_hit_is_a_struct_of_strings() -> None:
    assert answered(call({"name": ["bar"]}, "or")) == [
        {"name": "Foo_Bar", "version": "1.0", "summary": "Parses <things> & more", "_pypi_ordering": 0}
    ]


def test_what_xml_cannot_hold_is_left_out() -> None:
    (hit,) = answered(call({"name": ["control"]}, "or"))
    assert hit["summary"] == "with [2J and  in it"


FAULTS = [
    pytest.param(call(), "struct", id="no query"),
    pytest.param(call(7), "struct", id="no struct"),
    pytest.param(call("x" * 1000), "255 characters", id="a long word alone"),
    pytest.param(call({"name": ["x"]}, "xor"), '"and" or "or"', id="other operator"),
    pytest.param(call({"name": ["x"] * (MAX_WORDS + 1)}, "or"), "51", id="too many words"),
    pytest.param(call({"name": ["x" * 1000]}, "or"), "255 characters", id="a long word"),
    pytest.param(call({"name": [[["x"]]]}, "or"), "made of words", id="no words"),
]
UNREADABLE = [
    pytest.param(call({}, method="package_releases"), "no method package_releases", id="other method"),
    pytest.param(b"", "no XML", id="empty"),
    pytest.param(b"<methodCall>", "no XML", id="cut off"),
    pytest.param(b"<a/>", "cannot be read", id="other XML"),
    pytest.param(b"<methodCall><params></params></methodCall>", "", id="no method"),
    pytest.param(
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><methodCall>&b;</methodCall>', "document type", id="bomb"
    ),
    pytest.param(
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><methodCall/>', "document type", id="external document type"
    ),
    pytest.param(call({"name": ["x"]}).replace(b"search", b"se\x00rch"), "no XML", id="control character"),
    pytest.param("<?xml version='1.0' encoding='iso-8859-1'?><a>ü</a>".encode("latin-1"), "no XML", id="latin-1"),
    pytest.param(b"<?xml version='1.0' encoding='utf-99'?><a/>", "its encoding is 'utf-99'", id="unknown encoding"),
    pytest.param(
        call({"name": ["@"]}).replace(
            b"<string>@</string>",
            b"<array><data><value>" * 20_000 + b"<int>1</int>" + b"</value></data></array>" * 20_000,
        ),
        "elements deep",
        id="deeply nested",
    ),
    pytest.param(b"<methodCall>" + b"<a>" * 50_000 + b"</a>" * 50_000 + b"</methodCall>", "", id="deep XML"),
]


@pytest.mark.parametrize(("body", "words"), UNREADABLE)
def test_what_is_no_call_is_an_error_of_http(body: bytes, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        answered(body)
    assert words in str(caught.value)


@pytest.mark.parametrize(("body", "words"), FAULTS)
def test_what_cannot_be_answered_is_a_fault_in_xml(body: bytes, words: str) -> None:
    with pytest.raises(xmlrpc.client.Fault) as caught:
        answered(body)
    assert words in caught.value.faultString


@given(st.binary(max_size=200))
def test_any_body_gets_an_answer(body: bytes) -> None:
    with pytest.raises(BadRequest):
        answered(body)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_name_and_summary_makes_xml(name: str, summary: str) -> None:
    assert len(answered(call({}, "and"), [(name, "1.0", summary)])) == 1


# -- over the web ----------------------------------------------------------------------------------------------------


@pytest.fixture
def packages(put: Put) -> None:
    put(*make_wheel("foo_bar", "1.0", summary="Parses things"))
    put(*make_wheel("foo_bar", "1.1", summary="Parses more things"))
    put(*make_wheel("foo_bar", "2.0a1", summary="Parses anything"))
    put(*make_sdist("other", "0.1"))


def search(client: Client, path: str, words: list[str], **headers: str) -> Any:
    answer = client.post(path, call({"name": words, "summary": words}, "or"), CONTENT_TYPE="text/xml", **headers)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    return xmlrpc.client.loads(answer.body)[0][0]


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("path", ["/RPC2", "/RPC2/", "/", "/pypi", "/pypi/"])
def test_every_address_that_pip_makes_of_an_index_answers(serve: Serve, path: str) -> None:
    client = serve()
    client.get("/simple/foo-bar/")  # what it says is known when it was read once
    assert search(client, path, ["things"]) == [
        {"name": "foo_bar", "version": "1.1", "summary": "Parses more things", "_pypi_ordering": 0}
    ]


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("kind", ["text/xml", "text/xml; charset=utf-8", "application/xml", "Text/XML"])
def test_an_xml_body_is_a_search_and_never_an_upload(serve: Serve, kind: str) -> None:
    answer = serve().post("/", call({"name": ["other"]}, "or"), CONTENT_TYPE=kind)
    assert answer.status == 200 and b"<name>other" not in answer.body and b"other" in answer.body


@pytest.mark.parametrize("path", ["/RPC2", "/RPC2/"])
def test_an_upload_to_the_address_of_searches_is_no_success(serve: Serve, path: str) -> None:
    """A fault has status 200, which twine took for success; the file was lost."""
    filename, content = make_wheel("lost", "1.0")
    body, kind = form({":action": "file_upload"}, filename, content)
    answer = serve(authenticate=".", password_file=".").post(path, body, CONTENT_TYPE=kind)
    assert answer.status == 400
    assert "POST" in answer.text


@pytest.mark.parametrize("path", ["/RPC2", "/", "/pypi"])
def test_a_fault_has_status_200_and_what_is_no_call_400(serve: Serve, path: str) -> None:
    client = serve()
    answer = client.post(path, call(7), CONTENT_TYPE="text/xml")
    assert answer.status == 200
    with pytest.raises(xmlrpc.client.Fault):
        xmlrpc.client.loads(answer.body)
    assert client.post(path, b"junk", CONTENT_TYPE="text/xml").status == 400


@pytest.mark.parametrize("encoding", ["no-such-one", "big5", "utf-16", "utf-7", "x" * 300, "", "1"])
def test_no_declaration_of_an_encoding_is_a_mistake_of_ours(serve: Serve, encoding: str) -> None:
    """What expat knows nothing of, what it refuses, and what Python would decode and it would not."""
    client = serve()
    declared = f"<?xml version='1.0' encoding='{encoding}'?>".encode()
    for body in (b"<a>\xfc</a>", b"<a/>", call("foo").partition(b"?>")[2], call("foo").decode().encode("utf-16")):
        answer = client.post("/RPC2", declared + body, CONTENT_TYPE="text/xml")
        assert answer.status == 400 or (not encoding and answer.status == 200)


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("path", ["/RPC2", "/RPC2/", "/", "/pypi", "/pypi/"])
def test_a_search_is_guarded_like_the_list(serve: Serve, path: str) -> None:
    client = serve(auther=lambda user, password: password == "right", authenticate="list")
    body = call({"name": ["other"]}, "or")
    assert client.post(path, body, CONTENT_TYPE="text/xml").status == 401
    assert client.post(path, body, CONTENT_TYPE="text/xml", HTTP_AUTHORIZATION=basic("a", "wrong")).status == 401
    assert search(client, path, ["other"], HTTP_AUTHORIZATION=basic("a", "right"))
    # Where only uploads are protected, a search needs no login.
    assert search(serve(auther=lambda user, password: False, authenticate="update"), path, ["other"])


@pytest.mark.parametrize("path", ["/RPC2", "/"])
def test_a_search_of_more_than_a_mebibyte_is_refused_and_read(serve: Serve, path: str) -> None:
    size = 2_000_000
    for headers in ({"CONTENT_LENGTH": str(size)}, {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}):
        body = io.BytesIO(bytes(size))
        extra: dict[str, Any] = {"wsgi.input": body, "wsgi.input_terminated": True}
        answer = serve().request("POST", path, CONTENT_TYPE="text/xml", **headers, **extra)
        assert answer.status == 413
        assert body.read() == b""


def test_an_encoding_that_python_does_not_know_is_none_that_is_looked_for() -> None:
    body = b'<?xml version="1.0" encoding="%s"?>' + call({"name": ["foo"]}).partition(b"?>")[2]
    for encoding in (b"utf-7", b"no-such-one", b"x" * 50_000, b"idna"):
        with pytest.raises(BadRequest):
            answered(body % encoding)
    assert not [name for name in encodings._cache if "no_such_one" in name or "xxx" in name]  # type: ignore[attr-defined]


CODECS = sorted(
    {
        *encodings.aliases.aliases.values(),
        "utf-7",
        "undefined",
        "idna",
        "punycode",
        "x" * 300,
        "utf-8",
        "UTF-8",
        "iso-8859-1",
        "us-ascii",
    }
)


@pytest.mark.parametrize("name", CODECS)
def test_a_call_that_says_it_is_in_another_encoding_is_refused(name: str) -> None:
    declared = f"<?xml version='1.0' encoding='{name}'?>".encode()
    body = declared + call({"name": ["foo"]}, "or").partition(b"?>")[2]
    if name.lower() in ("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1"):
        assert [hit["name"] for hit in answered(body)] == ["Foo_Bar", "foo"]
    else:
        with pytest.raises(BadRequest):
            answered(body)


@pytest.mark.parametrize("at", ["word", "operator", "struct"])
@pytest.mark.parametrize("depth", [9, 60, 330, 990, 1500, 14_000])
def test_a_call_nested_at_any_depth_is_answered(at: str, depth: int) -> None:
    """As deep as any of our readers, or Python itself, gives up at."""
    deep = b"<array><data><value>" * depth + b"</value></data></array>" * depth
    first = b"<struct><member><name>name</name><value>" + deep + b"</value></member></struct>"
    values = {"word": [first], "operator": [b"<struct/>", deep], "struct": [deep]}[at]
    parameters = b"".join(b"<param><value>" + value + b"</value></param>" for value in values)
    body = b"<methodCall><methodName>search</methodName><params>" + parameters + b"</params></methodCall>"
    with pytest.raises((xmlrpc.client.Fault, BadRequest)):
        answered(body)


@pytest.mark.parametrize(
    "value",
    [
        b"<int>" + b"9" * 5000 + b"</int>",
        b"<base64>!</base64>",
        b"<dateTime.iso8601>x</dateTime.iso8601>",
        b"<bigdecimal>1e999999999</bigdecimal>",
        b"<boolean>7</boolean>",
        b"<nil/>",
    ],
)
def test_a_value_of_any_kind_is_answered(value: bytes) -> None:
    for body in (
        b"<methodCall><methodName>search</methodName><params><param><value><struct/></value></param><param><value>"
        + value
        + b"</value></param></params></methodCall>",
        b"<methodResponse>" + value + b"</methodResponse>",
    ):
        with pytest.raises((xmlrpc.client.Fault, BadRequest)):
            answered(body)
