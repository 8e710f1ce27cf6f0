"""Our own parsers, given anything: the errors they name and no others, in linear time (P16, P28, P36)."""

from __future__ import annotations

import functools
import gc
import io
import itertools
import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pypiserver.access import password_hashes
from pypiserver.access.authentication import parse_basic
from pypiserver.access.password_file import HtpasswdFile
from pypiserver.catalog.project_list import terms_of
from pypiserver.distributions import filename as distfile
from pypiserver.distributions import metadata, versions
from pypiserver.distributions.core_metadata import CoreMetadata, packed, parse_requirement, valid_requires_python
from pypiserver.distributions.truncation import is_whole
from pypiserver.errors import BadRequest, ContentTooLarge, InvalidDistribution, InvalidFilename, Unauthorized
from pypiserver.formats.negotiation import accepts_encoding, negotiate, prefers_html
from pypiserver.observability.access_log import word
from pypiserver.observability.clean_lines import clean
from pypiserver.settings.suggestions import nearest
from pypiserver.text import line_of, one_line, printable
from pypiserver.web.api import xmlrpc
from pypiserver.web.html import project_page
from pypiserver.web.http.conditional import is_not_modified, send_file
from pypiserver.web.http.forwarded import base_url
from pypiserver.web.http.multipart import Limits, boundary_of
from pypiserver.web.http.responses import reason_phrase
from tests.make_archives import core_metadata, make_sdist, make_wheel
from tests.multipart_forms import parse_multipart
from tests.security.mutations import header_text, mutated
from tests.security.test_fuzz_requests import BOMB, FILENAMES, FORMS, XML
from tests.shelf import Shelf

HASHES = [
    b"$2y$05$abcdefghijklmnopqrstuuVB8GHQzHcKQOYYXnzTwN7gGJ9L2cC9S", b"$apr1$mNm9h7eu$lPbC6yFf3mBEkJ.aV7MPU1",
    b"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", b"$5$rounds=5000$salt$" + b"a" * 43, b"$6$salt$" + b"a" * 86,
    b"abJnggxhB/yWI", b"plain",
    b"$1$salt$aaaaaaaaaaaaaaaaaaaaaa", b"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", b"{SSHA}abcd",
    b"$y$j9T$salt$hash", b"!", b"*",
]  # fmt: skip


@given(mutated(FILENAMES).map(lambda data: data.decode("utf-8", "replace")))
def test_an_accepted_upload_name_is_plain_and_says_project_and_version(name: str) -> None:
    try:
        dist = distfile.check_upload_filename(name)
    except InvalidFilename:
        return
    assert dist.filename == name and name.isascii() and name[0].isalnum() and len(name.encode()) <= 255
    assert not set(name) & set("/\\:;,\"'<>|?*% \t\r\n\0")
    assert dist.project == distfile.normalize(dist.name) and dist.version
    assert distfile.parse_filename(name) == dist


@given(st.text(max_size=80) | mutated(FILENAMES).map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_any_name_in_a_folder_is_parsed_or_refused(name: str) -> None:
    try:
        dist = distfile.parse_filename(name)
    except InvalidFilename as error:
        assert str(error)
    else:
        assert dist.filename == name and versions.version_key(dist.version) is not None


@given(mutated(HASHES).map(lambda data: data.decode("utf-8", "replace")), st.text(max_size=80))
@example("$5$rounds=5000$\0salt$" + "a" * 43, "")
@example("$6$rounds=0001$salt$" + "a" * 86, "")
@example("$6$salt$" + "a" * 43, "")
@example("$apr1$\0$" + "a" * 22, "")
@example("$2b$04$" + "z" * 53, "")
def test_only_text_in_a_known_form_can_log_in(stored: str, password: str) -> None:
    try:
        entry = password_hashes.read_entry(stored)
    except ValueError:
        return
    if entry.milliseconds > 50:
        return
    if password_hashes.fits(entry, password):
        assert entry.scheme == "plain" and stored == password
    assert entry.scheme == "plain" or stored[0] in "${" or len(stored) == 13
    assert entry.scheme != "plain" or stored[0] not in "${!*_:"


@given(mutated([b"ada:" + HASHES[2] + b"\nbob:" + HASHES[1] + b"\n# x\n\nada:plain\r\n"], max_edits=10))
def test_any_password_file_accepts_no_one_by_chance(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "htpasswd"
    path.write_bytes(data)
    auther = HtpasswdFile(path)
    for user in ("", "ada", "root", "ada\0", "#"):
        assert not auther(user, "no such password \u1234")
        assert not auther(user, "")


@given(header_text([b"Basic YWRhOnJpZ2h0", b"basic  YWRh", b"Basic w6k6w6k=", b"Digest username=x"]))
def test_any_credentials_are_read_or_refused(authorization: str) -> None:
    try:
        user, password = parse_basic(authorization)
    except Unauthorized:
        return
    assert ":" not in user and "\0" not in user + password


class Sink:
    def write(self, data: bytes) -> int:
        return len(data)


@given(mutated(FORMS, max_edits=10), st.integers(1, 70))
def test_any_form_in_any_pieces_is_read_or_refused(body: bytes, size: int) -> None:
    class Pieces(io.BytesIO):
        def read(self, wanted: int | None = -1, /) -> bytes:
            return super().read(min(size, wanted or size))

    limits = Limits(parts=20, field_bytes=2000, all_field_bytes=4000, header_bytes=1000)
    results = []
    for stream in (io.BytesIO(body), Pieces(body)):
        try:
            results.append(
                parse_multipart(stream, b"f0rm-b0undary", open_part=lambda name, filename: Sink(), limits=limits)
            )
        except (BadRequest, ContentTooLarge) as error:
            results.append(type(error))
    assert results[0] == results[1]


@given(header_text([b'multipart/form-data; boundary="a\\"b"', b"multipart/form-data; charset=x; boundary=abc"]))
def test_any_boundary_is_usable_or_refused(content_type: str) -> None:
    try:
        boundary = boundary_of(content_type)
    except BadRequest:
        return
    assert 0 < len(boundary) <= 200 and boundary.isascii()


@given(mutated([XML, BOMB], max_edits=10))
def test_any_call_is_answered_with_xml_or_refused(body: bytes) -> None:
    try:
        answer = xmlrpc.handle(body, Shelf([("foo", "1.0", "A foo")]))
    except BadRequest as error:
        assert len(str(error)) < 1000
        return
    assert answer.startswith(b"<?xml") and b"methodResponse" in answer and len(answer) < 10_000


METADATA = core_metadata(
    "foo", "1.0", requires_python=">=3.8", requires_dist=["bar>1; extra == 'x'"], summary="A foo",
    extra=["Keywords: a,b"], description="x\n"
)  # fmt: skip


@given(mutated([METADATA, b"\xef\xbb\xbf" + METADATA.replace(b"\n", b"\r\n")], max_edits=10))
def test_any_metadata_becomes_text_without_line_ends_where_one_line_is_meant(raw: bytes) -> None:
    core = metadata.parse_metadata(raw)
    required = valid_requires_python(core.requires_python)
    for text in (required or "", one_line(core.summary), one_line(core.name)):
        assert not [letter for letter in text if unicodedata.category(letter) in ("Cc", "Zl", "Zp")]


@pytest.mark.parametrize(
    ("name", "data"), [make_wheel("foo", "1.0"), make_sdist("foo", "1.1"), make_sdist("foo", "1.1", format=".zip")]
)
def test_any_archive_is_read_or_refused(name: str, data: bytes) -> None:
    dist = distfile.parse_filename(name)

    @given(mutated([data], max_edits=4))
    def check(archive: bytes) -> None:
        stream = io.BytesIO(archive)
        try:
            metadata.read_upload(stream, dist)
        except InvalidDistribution as error:
            assert printable(str(error)).isprintable()
        assert is_whole(io.BytesIO(archive), dist) in (True, False, None)

    check()


@given(
    st.text() | header_text([b"text/html", b"application/vnd.pypi.simple.v1+json;q=0.5", b"*/*;q=1"]),
    st.none() | st.text(),
)
def test_any_wish_for_a_form_is_answered_or_refused(accept: str, asked: str | None) -> None:
    import contextlib

    from pypiserver.errors import PypiServerError

    with contextlib.suppress(PypiServerError):
        negotiate(accept, asked)
    accepts_encoding(accept, ("gzip", "zstd"))
    is_not_modified(accept, '"abc"')


@given(
    st.text()
    | mutated([b"GET /x HTTP/1.1", b"Basic YWRhOnJpZ2h0", b"https://user:pass@host/"]).map(
        lambda data: data.decode("latin-1")
    )
)
@example("http://user:pass\rword@host/")
def test_a_line_of_the_log_is_one_line_that_can_be_printed(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text) or "***" in clean(text)


# Each measurement reads text that no earlier one has read, and :func:`seconds` sees to it that nothing is remembered
# where text is short enough: what is measured is a parser and never a memory.
GROWING: dict[str, Callable[[int, str], object]] = {
    "file name of dots": lambda size, tag: _try(distfile.parse_filename, tag + "." * size + ".whl"),
    "file name of dashes": lambda size, tag: _try(distfile.parse_filename, tag + "a-" * size + "1.tar.gz"),
    "file name of digits": lambda size, tag: _try(distfile.parse_filename, tag + "a-" + "1" * size + ".tar.gz"),
    "file name of versions": lambda size, tag: _try(distfile.parse_filename, tag + "a-" + "1." * size + "zip"),
    "uploaded file name": lambda size, tag: _try(distfile.check_upload_filename, tag + "a-" + "1." * size + "zip"),
    "project name": lambda size, tag: distfile.normalize(tag + "-_." * size),
    "version": lambda size, tag: versions.canonical_version("1." * size + tag),
    "versions": lambda size, tag: versions.same_version("1." * size + tag, "1!" * size),
    "order of versions": lambda size, tag: versions.version_key(tag + "1.0+" * size),
    "credentials": lambda size, tag: _try(parse_basic, "Basic " + tag + "A" * size),
    "credentials of blanks": lambda size, tag: _try(parse_basic, "Basic" + " " * size + tag),
    "hash": lambda size, tag: _try(password_hashes.read_entry, "$5$rounds=" + "1" * size + tag),
    "boundary of quotes": lambda size, tag: _try(boundary_of, 'multipart/form-data; boundary="' + tag + '\\"' * size),
    "boundaries": lambda size, tag: _try(boundary_of, "multipart/form-data" + "; boundary" * size + tag),
    "form of line ends": lambda size, tag: _try(_form, b"\r\n" * size),
    "form of near boundaries": lambda size, tag: _try(
        _form, b"--x\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n" + b"\n--" * size
    ),
    "form of parts": lambda size, tag: _try(
        _form, b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * (size // 50) + b"--x--"
    ),
    "form of headers": lambda size, tag: _try(_form, b"--x\r\n" + b"a: b\r\n" * size),
    "form of one header": lambda size, tag: _try(
        _form, b"--x\r\nContent-Disposition: form-data; " + b'name="\\' * size + b"\r\n\r\n"
    ),
    "call of brackets": lambda size, tag: _try(xmlrpc.handle, b"<a>" * size, Shelf([])),
    "call of words": lambda size, tag: _try(
        xmlrpc.handle, XML.replace(b"<string>foo", b"<string>" + b"a" * size), Shelf([])
    ),
    "call of strings": lambda size, tag: _try(
        xmlrpc.handle, XML.replace(b"<string>foo</string>", b"<string>foo</string>" * (size // 20)), Shelf([])
    ),
    "call with an encoding": lambda size, tag: _try(
        xmlrpc.handle, b'<?xml version="1.0" encoding="%s"?>' % (b"x" * size) + XML, Shelf([])
    ),
    "metadata of headers": lambda size, tag: _metadata(b"Classifier: x\n" * size),
    "metadata of continuations": lambda size, tag: _metadata(b"Summary: x\n" + b" y\n" * size),
    "metadata of CR LF": lambda size, tag: _metadata(b"Summary: x\r\n" + b" y\r\n" * size),
    "metadata of blank continuations": lambda size, tag: _metadata(b"Description: x\n" + b" \n" * size),
    "metadata of one line": lambda size, tag: _metadata(b"Summary: " + b"x" * size),
    "metadata of colons": lambda size, tag: _metadata(b":\n" * size),
    "metadata without a colon": lambda size, tag: _metadata(b"a" * size),
    "metadata of carriage returns": lambda size, tag: _metadata(b"A:\r" * size),
    "metadata in parts": lambda size, tag: _metadata(
        b"Content-Type: multipart/mixed; boundary=x\n\n"
        + b"--x\nContent-Type: multipart/mixed; boundary=x\n\n" * (size // 40)
    ),
    "metadata of requirements": lambda size, tag: _metadata(
        b"Requires-Dist: a%d[b]>=1,<2; extra == 'x'\n" % size * (size // 40)
    ),
    "metadata of a requirement": lambda size, tag: _metadata(b"Requires-Dist: a" + b">=1," * size),
    "metadata of a description": lambda size, tag: _metadata(b"Name: a\n\n" + b"a b\n" * size),
    "requirement of extras": lambda size, tag: parse_requirement("a[" + "b," * size + "c]" + tag),
    "requirement of versions": lambda size, tag: parse_requirement(tag + ">=1," * size + ">=1"),
    "requirement of markers": lambda size, tag: parse_requirement(tag + "; os_name=='a'" + " and os_name=='a'" * size),
    "requirement of brackets": lambda size, tag: parse_requirement(tag + ";" + "(" * size),
    "Requires-Python": lambda size, tag: valid_requires_python(">=3," * size + f">={tag}"),
    "Requires-Python of blanks": lambda size, tag: valid_requires_python(">=3" + " " * size + tag),
    "Accept": lambda size, tag: _try(negotiate, tag + "a/b;q=0.5," * size, None),
    "Accept of parameters": lambda size, tag: _try(negotiate, tag + "a/b" + ';x="\\' * size, None),
    "Accept of a browser": lambda size, tag: prefers_html(tag + "text/html;q=0.5," * size),
    "format": lambda size, tag: _try(negotiate, None, tag + " +" * size),
    "Accept-Encoding": lambda size, tag: accepts_encoding(tag + "gzip;q=" * size, ("gzip",)),
    "Accept-Encoding of many": lambda size, tag: accepts_encoding(tag + "gzip;q=0.1," * size, ("gzip",)),
    "If-None-Match": lambda size, tag: is_not_modified(tag + 'W/"' * size, '"a"'),
    "If-None-Match of tags": lambda size, tag: is_not_modified(tag + '"a", ' * size, '"b"'),
    "Range": lambda size, tag: _ranged({"HTTP_RANGE": "bytes=" + "0-1," * size + tag}),
    "Range of digits": lambda size, tag: _ranged({"HTTP_RANGE": "bytes=" + "1" * size + "-"}),
    "If-Range": lambda size, tag: _ranged({"HTTP_RANGE": "bytes=0-1", "HTTP_IF_RANGE": tag + '"a" ' * size}),
    "If-Modified-Since": lambda size, tag: _ranged({"HTTP_IF_MODIFIED_SINCE": tag + "Mon, 01 " * size}),
    "search words": lambda size, tag: terms_of(tag + " word" * size),
    "search of accents": lambda size, tag: terms_of(tag + "\u0301" * size),
    "log line": lambda size, tag: clean(tag + "token=" * size),
    "log line of logins": lambda size, tag: clean(tag + "Basic " * size),
    "log line of addresses": lambda size, tag: clean(tag + "//a" * size),
    "line of the access log": lambda size, tag: word(tag + "\xe9" * size),
    "yank reason": lambda size, tag: line_of(tag + "\r\n \t" * size, 4000),
    "one line": lambda size, tag: one_line(tag + "\r\n \t" * size),
    "reason phrase": lambda size, tag: reason_phrase(tag + "\u1234 " * size),
    "host": lambda size, tag: base_url({"HTTP_HOST": tag + "a-." * size}),
    "link": lambda size, tag: project_page.links(CoreMetadata(home_page="https://" + tag + "[" * size)),
    "misspelled setting": lambda size, tag: nearest(tag + "a" * min(size, 2000), ["overwrite", "port"]),
}


def _metadata(raw: bytes) -> None:
    """Everything that an upload, and the first look at a file, does with metadata."""
    core = metadata.parse_metadata(raw)
    packed(core)
    project_page.facts(core)


def _ranged(environ: dict[str, object]) -> None:
    answer = send_file(
        {"REQUEST_METHOD": "GET", **environ}, io.BytesIO(b"x" * 100), size=100, etag='"a"', mtime_ns=0,
        content_type="text/plain", cache_control="no-store",
    )  # fmt: skip
    assert answer.status


def _try(function: Callable[..., object], *arguments: object) -> None:
    import contextlib

    from pypiserver.errors import PypiServerError

    with contextlib.suppress(PypiServerError, ValueError):
        function(*arguments)


def _form(body: bytes) -> None:
    parse_multipart(io.BytesIO(body), b"x", open_part=lambda name, filename: Sink())


NUMBERS = itertools.count(1)


def forget() -> None:
    """Empty whatever ``functools`` remembers for us, ``packaging`` and the standard library."""
    for each in gc.get_objects():
        if isinstance(each, functools._lru_cache_wrapper) and str(each.__module__).startswith(
            ("pypiserver", "packaging", "urllib")
        ):
            each.cache_clear()


def seconds(work: Callable[[int, str], object], size: int) -> float:
    """The least time of the processor that one of three runs takes, each over text of its own."""
    best = 1e9
    for _ in range(3):
        forget()
        tag = f"{next(NUMBERS)}"
        began = time.process_time()
        work(size, tag)
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize("work", GROWING.values(), ids=GROWING)
def test_ten_times_the_input_takes_no_more_than_thirty_times_the_time(work: Callable[[int, str], object]) -> None:
    short, long = seconds(work, 8_000), seconds(work, 80_000)
    # What takes milliseconds says nothing about growth, and harms no one.
    assert long < 0.05 or long < 30 * short, (short, long)
    assert long < 5


def test_what_is_measured_is_not_remembered() -> None:
    calls: list[str] = []

    @functools.lru_cache(maxsize=4)
    def slow(text: str) -> None:
        calls.append(text)

    slow.__module__ = "pypiserver.slow"  # type: ignore[attr-defined]
    for _ in range(2):
        seconds(lambda size, tag: slow("the same each time"), 10)
    assert len(calls) == 6
