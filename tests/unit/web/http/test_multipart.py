"""Forms as real clients write them, cut anywhere, and forms as no one should."""

from __future__ import annotations

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.errors import BadRequest, ContentTooLarge
from pypiserver.web.http.multipart import Limits, boundary_of
from tests.multipart_forms import parse_multipart

Parsed = tuple[dict[str, list[str]], dict[tuple[str, str], bytes]]


class Pieces:
    """A stream that gives its bytes in pieces of the given sizes, then in large ones."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._stream, self._sizes = io.BytesIO(data), sizes

    def read(self, size: int) -> bytes:
        return self._stream.read(min(size, self._sizes.pop(0)) if self._sizes else size)


def parse(body: bytes, boundary: bytes = b"b", *, sizes: list[int] | None = None, limits: Limits = Limits()) -> Parsed:  # noqa: B008
    files: dict[tuple[str, str], io.BytesIO] = {}

    def open_part(field: str, filename: str) -> io.BytesIO:
        return files.setdefault((field, filename), io.BytesIO())

    fields = parse_multipart(Pieces(body, list(sizes or [])), boundary, open_part=open_part, limits=limits)
    return fields, {key: sink.getvalue() for key, sink in files.items()}


def part(head: str, body: bytes, end: bytes = b"\r\n") -> bytes:
    return b"--b" + end + head.encode().replace(b"\n", end) + end + end + body + end


NAME = part('Content-Disposition: form-data; name="name"', b"foo")
FILE = b"PK\x03\x04\r\n--a b\r\n-\r\n--\r\n\0\xff"
CONTENT = part(
    'Content-Disposition: form-data; name="content"; filename="foo-1.0.zip"\nContent-Type: application/zip', FILE
)
WHOLE = NAME + CONTENT + b"--b--\r\n"
EXPECTED: Parsed = ({"name": ["foo"]}, {("content", "foo-1.0.zip"): FILE})

FORMS = [
    pytest.param(WHOLE, EXPECTED, id="requests: content last"),
    pytest.param(CONTENT + NAME + b"--b--\r\n", EXPECTED, id="setup.py: content in the middle"),
    pytest.param(NAME + CONTENT + b"--b--", EXPECTED, id="no line end at the end"),
    pytest.param(b"preamble\r\n" + WHOLE + b"epilogue", EXPECTED, id="preamble and epilogue"),
    pytest.param(b"\r\n" + WHOLE, EXPECTED, id="setup.py: an empty line first"),
    pytest.param(
        part('Content-Disposition: form-data; name=":action"', b"submit", b"\n") + b"--b--\n",
        ({":action": ["submit"]}, {}),
        id="setup.py register: bare line feeds",
    ),
    pytest.param(
        b"".join(
            b"\n--b\nContent-Disposition: form-data; name=" + field + b"\n\n" + value
            for field, value in (
                (b'"a"', b"1"),
                (b'"content";filename="foo-1.0.zip"', FILE),
                (b'"b"', b"2"),
            )
        )
        + b"\n--b--\n",
        ({"a": ["1"], "b": ["2"]}, {("content", "foo-1.0.zip"): FILE}),
        id="setup.py upload before Python 3.5: a package between bare line feeds",
    ),
    pytest.param(
        b'--b \t\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b-- \r\n',
        ({"a": ["1"]}, {}),
        id="blanks behind a delimiter (RFC 2046 5.1.1)",
    ),
    pytest.param(
        b'--b\r\nContent-Disposition: form-data; name="c"; filename="\xfc.zip"\r\n\r\nx\r\n--b--\r\n',
        ({}, {("c", "ü.zip"): b"x"}),
        id="a file name in latin-1",
    ),
    pytest.param(
        part('content-disposition: form-data; filename="foo-1.0.zip"; name="content"', b"") + b"--b--\r\n",
        ({}, {("content", "foo-1.0.zip"): b""}),
        id="empty file, names the other way round, lower case",
    ),
    pytest.param(
        part('Content-Disposition: form-data; name="c"; filename=""', b"x") + b"--b--\r\n",
        ({"c": ["x"]}, {}),
        id="browser: no file chosen",
    ),
    pytest.param(
        part("Content-Disposition: form-data; name=\"c\"; filename*=utf-8''evil", b"x") + b"--b--\r\n",
        ({"c": ["x"]}, {}),
        id="filename* is ignored",
    ),
    pytest.param(
        part('Content-Disposition: form-data; name="a"', b"1")
        + part('Content-Disposition: form-data; name="a"', b"2")
        + b"--b--\r\n",
        ({"a": ["1", "2"]}, {}),
        id="repeated field",
    ),
    pytest.param(
        part('Content-Disposition: form-data; name="a"', "ü".encode())
        + part('Content-Disposition: form-data; name="l"', b"\xfc")
        + b"--b--\r\n",
        ({"a": ["ü"], "l": ["ü"]}, {}),
        id="utf-8, else latin-1",
    ),
    pytest.param(
        part('Content-Disposition: form-data; name="c"; filename="a\\"b;c.zip"', b"x") + b"--b--\r\n",
        ({}, {("c", 'a"b;c.zip'): b"x"}),
        id="quotes and semicolon in a file name",
    ),
    pytest.param(
        part('Content-Disposition: form-data; name="%3Aaction"', b"submit")
        + part('Content-Disposition: form-data; name="c"; filename="foo-1%210.1%2Blocal.zip"', b"x")
        + b"--b--\r\n",
        ({":action": ["submit"]}, {("c", "foo-1!0.1+local.zip"): b"x"}),
        id="aiohttp: percent-encoded",
    ),
    pytest.param(b"--b--\r\n", ({}, {}), id="empty form"),
]
# RFC 7578 section 4.2: percent-encoded, and no path is taken over.
FILE_NAMES = [
    pytest.param("dist/foo-1.0.zip", "foo-1.0.zip", id="Go: as it was opened"),
    pytest.param("/home/ada/dist/foo-1.0.zip", "foo-1.0.zip", id="an absolute path"),
    pytest.param(r"C:\Users\ada\dist\foo-1.0.zip", "foo-1.0.zip", id="Windows"),
    pytest.param(r"C:\\Users\\ada\\foo-1.0.zip", "foo-1.0.zip", id="Go on Windows, with escapes"),
    pytest.param(r"\\\\server\\share\\foo-1.0.zip", "foo-1.0.zip", id="a share"),
    pytest.param("dist%2Ffoo-1.0%2B1.zip", "foo-1.0+1.zip", id="an encoded path"),
    pytest.param("..%5C..%5Cfoo-1.0.zip", "foo-1.0.zip", id="an encoded path of Windows"),
    pytest.param("../../etc/passwd", "passwd", id="upwards"),
    pytest.param("foo%252F1.0.zip", "foo%2F1.0.zip", id="never decoded twice"),
    pytest.param("foo%2.zip", "foo%2.zip", id="no encoding"),
    pytest.param("foo%ff.zip", "foo\ufffd.zip", id="no UTF-8"),
    pytest.param("dist/", "dist/", id="a folder"),
    pytest.param("%2F", "/", id="nothing but a slash"),
    pytest.param("foo%22.zip", 'foo".zip', id="a browser's quote"),
    pytest.param("a+b.zip", "a+b.zip", id="a plus is a plus"),
]


@pytest.mark.parametrize(("sent", "name"), FILE_NAMES)
def test_of_a_file_name_the_last_part_is_taken_and_decoded_once(sent: str, name: str) -> None:
    head = f'Content-Disposition: form-data; name="content"; filename="{sent}"'
    assert parse(part(head, b"x") + b"--b--\r\n") == ({}, {("content", name): b"x"})


@pytest.mark.parametrize(("body", "expected"), FORMS)
def test_forms_of_real_clients(body: bytes, expected: Parsed) -> None:
    assert parse(body) == expected


@given(st.lists(st.integers(1, 40), max_size=200))
def test_where_the_body_is_cut_makes_no_difference(sizes: list[int]) -> None:
    assert parse(WHOLE, sizes=sizes) == EXPECTED


@given(st.binary(max_size=200))
def test_any_file_arrives_as_it_was_sent(data: bytes) -> None:
    body = part('Content-Disposition: form-data; name="c"; filename="f"', data) + b"--b--\r\n"
    if b"\n--b" not in b"\n" + data:
        assert parse(body)[1] == {("c", "f"): data}


@given(st.binary(max_size=300), st.integers(0, 300))
def test_junk_is_refused_in_words(junk: bytes, at: int) -> None:
    for body in (junk, WHOLE[:at] + junk, b"--b\r\n" + junk):
        try:
            parse(body)
        except (BadRequest, ContentTooLarge):
            continue


@pytest.mark.parametrize("length", range(0, len(WHOLE) - 4, 7))
def test_a_form_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(BadRequest):
        parse(WHOLE[:length])


def test_limits_are_kept() -> None:
    many = NAME * 20
    with pytest.raises(ContentTooLarge, match="parts"):
        parse(many + b"--b--\r\n", limits=Limits(parts=20))
    assert parse(many + b"--b--\r\n", limits=Limits(parts=21))[0] == {"name": ["foo"] * 20}
    with pytest.raises(ContentTooLarge, match="field 'name'"):
        parse(WHOLE, limits=Limits(field_bytes=2))
    with pytest.raises(ContentTooLarge, match="field"):
        parse(many + b"--b--\r\n", limits=Limits(all_field_bytes=50))
    with pytest.raises(ContentTooLarge, match="header"):
        parse(b"--b\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", limits=Limits(header_bytes=1000))


def test_twenty_thousand_fields_and_a_long_description() -> None:
    fields = b"".join(part(f'Content-Disposition: form-data; name="f{number}"', b"x") for number in range(20_000))
    description = part('Content-Disposition: form-data; name="description"', b"d" * 1_000_000)
    parsed, files = parse(fields + description + CONTENT + b"--b--\r\n")
    assert len(parsed) == 20_001 and len(parsed["description"][0]) == 1_000_000 and len(files) == 1


def test_a_header_of_many_short_lines_costs_no_more_than_one_of_long_ones() -> None:
    # Line ends count too: without them the limit let 16,000 lines pass, and adding them up took seconds.
    head = b'--b\r\nContent-Disposition: form-data; name="x"\n' + b"a\n" * 15_000 + b"\nv\r\n"
    with pytest.raises(ContentTooLarge, match="header"):
        parse(head * 20 + b"--b--")
    allowed = b'--b\r\nContent-Disposition: form-data; name="x"\n' + b"a\n" * 8_000 + b"\nv\r\n"
    began = time.process_time()
    assert len(parse(allowed * 60 + b"--b--")[0]["x"]) == 60
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; boundary="a b=c"', b"a b=c"),
        (
            "multipart/form-data; boundary=--------------GHSKFJDLGDS7543FJKLFHRE75642756743254",
            b"--------------GHSKFJDLGDS7543FJKLFHRE75642756743254",
        ),
        ("multipart/form-data; boundary=abc; charset=utf-8", b"abc"),
        ("multipart/form-data; charset=utf-8; BOUNDARY=abc", b"abc"),
    ],
)
def test_boundaries(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary", "x; boundary=", "x; boundary=" + "y" * 300]
)
def test_no_boundary_no_form(content_type: str) -> None:
    with pytest.raises(BadRequest, match="boundary"):
        boundary_of(content_type)
