"""Pages of other indexes become values: what is right in any form, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pypiserver.distributions.filename import normalize
from pypiserver.folder import cache_store
from pypiserver.model import ACTIVE, ProjectStatus
from pypiserver.proxy import page_file, page_memory
from pypiserver.proxy.page_file import KeptPage
from pypiserver.upstream import html_page as html_reader
from pypiserver.upstream import json_page as json_reader
from pypiserver.upstream import page_parser
from pypiserver.upstream.errors import UpstreamError
from pypiserver.upstream.page_parser import parse_page
from pypiserver.upstream.values import RemoteFile, RemotePage, Upstream
from tests.fake_pages import HTML, JSON, TEXT, FakeFile, FakeProject, html_page, json_page
from tests.raising import raises

PYPI = Upstream("pypi", "https://pypi.example/simple/")
PAGE = "https://pypi.example/simple/raven/"
HOST = "https://files.example"
HEX = "0123456789abcdef" * 4
PLACE = f"{HEX[:2]}/{HEX[2:4]}/{HEX[4:]}"
WHEEL = "raven-1.0-py3-none-any.whl"
NOW = 1_700_000_000_000_000_000


def parsed(data: bytes, content_type: str = JSON, *, url: str = PAGE, **headers: str) -> RemotePage:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    project = normalize("raven")
    return parse_page(content_type, data, url=url, project=project, upstream=PYPI, now_ns=NOW, headers=named)


def of_rows(*rows: Any, **page: Any) -> RemotePage:
    return parsed(json.dumps({"meta": {"api-version": "1.4"}, "name": "raven", "files": rows, **page}).encode())


def row(filename: str = WHEEL, url: str = f"{HOST}/packages/{PLACE}/{WHEEL}", **fields: Any) -> dict[str, Any]:
    return {"filename": filename, "url": url, "hashes": {"sha256": HEX}} | {
        name.replace("_", "-"): value for name, value in fields.items()
    }


def file_of(**fields: Any) -> RemoteFile:
    (file,) = of_rows(row(**fields)).files
    return file


def of_html(body: str, *, url: str = PAGE) -> RemotePage:
    return parsed(body.encode(), TEXT, url=url)


def urls(page: RemotePage) -> list[str]:
    return [file.url for file in page.files]


def test_a_page_with_everything_says_the_same_in_both_forms() -> None:
    file = FakeFile(
        WHEEL, b"", "", f"{HOST}/packages/{PLACE}/{WHEEL}", size=123, claimed=HEX, requires_python=">=3.8,<99",
        yanked="broken <b>", metadata=b"x", provenance_url="https://pypi.example/integrity/raven/provenance",
    )  # fmt: skip
    project = FakeProject("raven", [file], ["1.0"], "archived", "done & dusted")
    expected = RemoteFile(
        filename=WHEEL,
        project=normalize("raven"),
        version="1.0",
        kind="bdist_wheel",
        upstream="pypi",
        url=f"{HOST}/packages/{PLACE}/{WHEEL}",
        path=f"{PLACE}/{WHEEL}",
        size=123,
        hashes=(("sha256", HEX),),
        uploaded_ns=1_714_979_289_123_456_000,
        first_seen_ns=NOW,
        requires_python=">=3.8,<99",
        yanked="broken <b>",
        has_metadata=True,
        metadata_sha256="2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        provenance="https://pypi.example/integrity/raven/provenance",
    )
    page = parsed(json_page(project, serial=42), etag='"abc"', last_modified="Mon, 06 May 2024 07:08:09 GMT")
    assert page == RemotePage(
        project=normalize("raven"),
        upstream="pypi",
        url=PAGE,
        files=(expected,),
        versions=("1.0",),
        status=ProjectStatus("archived", "done & dusted"),
        etag='"abc"',
        last_modified="Mon, 06 May 2024 07:08:09 GMT",
        last_serial=42,
    )
    in_html = parsed(html_page(project), HTML)
    lacking = {"size": None, "uploaded_ns": None, "provenance": ""}
    assert len(in_html.files) == 1
    for name in RemoteFile.__slots__:
        if name not in lacking or name == "provenance":
            assert getattr(in_html.files[0], name) == getattr(expected, name), name
    assert (in_html.files[0].size, in_html.files[0].uploaded_ns) == (None, None)
    assert in_html.status == page.status


# Shapes of links.


@pytest.mark.parametrize(
    ("link", "url", "path"),
    [
        (f"../../packages/{PLACE}/{WHEEL}#x", f"https://pypi.example/packages/{PLACE}/{WHEEL}", f"{PLACE}/{WHEEL}"),
        (f"/a/b/{PLACE}/{WHEEL}?x=/y", f"https://pypi.example/a/b/{PLACE}/{WHEEL}?x=/y", f"{PLACE}/{WHEEL}"),
        (f"/{PLACE.upper()}/{WHEEL}", f"https://pypi.example/{PLACE.upper()}/{WHEEL}", ""),
        (f"/{PLACE[1:]}/{WHEEL}", f"https://pypi.example/{PLACE[1:]}/{WHEEL}", ""),
        (f"HTTPS://Files.Example/x/{WHEEL}", f"https://files.example/x/{WHEEL}", ""),
        (f"//[2001:DB8::1]:8443/{WHEEL}", f"https://[2001:db8::1]:8443/{WHEEL}", ""),
        (f"/ä b/{WHEEL}", f"https://pypi.example/%C3%A4%20b/{WHEEL}", ""),
        (f"  {WHEEL}\n", f"{PAGE}{WHEEL}", ""),
    ],
)  # fmt: skip
def test_a_link_leads_where_browsers_and_pip_go(link: str, url: str, path: str) -> None:
    expected = [(url, path or f"@pypi/raven/{WHEEL}")]
    anchor = link.replace("\n", "&#10;")
    for page in of_rows(row(url=link)), of_html(f'<a href="{anchor}">{WHEEL}</a>'):
        assert [(file.url, file.path) for file in page.files] == expected


def test_the_shape_of_pytorch() -> None:
    name = "torch-2.9.0%2Bcu130-cp312-cp312-manylinux_2_28_x86_64.whl"
    said = f'data-dist-info-metadata="sha256={HEX}" data-core-metadata="sha256={HEX}"'
    data = f'<body><h1>Links for torch</h1><a href="/whl/cu130/{name}#sha256={HEX}" {said}>x</a><br/></body></html>'
    project = normalize("torch")
    url = "https://download.example/whl/cu130/torch/"
    page = parse_page("text/html", data.encode(), url=url, project=project, upstream=PYPI, now_ns=NOW)
    (file,) = page.files
    assert (file.filename, file.version) == (name.replace("%2B", "+"), "2.9.0+cu130")
    assert file.url == f"https://download.example/whl/cu130/{name}"
    assert file.path == f"@pypi/torch/{file.filename}"
    assert (file.size, file.uploaded_ns, file.metadata_sha256) == (None, None, HEX)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://mirror.example/x/", f"https://mirror.example/x/{WHEEL}"),
        ("/y/z", f"https://pypi.example/y/{WHEEL}"),
        ("http://mirror.example/", f"{PAGE}{WHEEL}"),
        ("javascript:alert(1)", f"{PAGE}{WHEEL}"),
        ("https://u:p@mirror.example/", f"{PAGE}{WHEEL}"),
    ],
)
def test_a_base_counts_for_links_before_it_too(base: str, expected: str) -> None:
    assert urls(of_html(f'<a href="{WHEEL}">x</a><BASE target=x href="{base}"><base href="/other/">')) == [expected]


@pytest.mark.parametrize(
    "link",
    [
        f"http://pypi.example/{WHEEL}",
        f"ftp://pypi.example/{WHEEL}",
        f"file:///etc/{WHEEL}",
        f"javascript:alert/{WHEEL}",
        f"data:text/html,/{WHEEL}",
        f"https://me:secret@pypi.example/{WHEEL}",
        f"https://me@pypi.example/{WHEEL}",
        f"https://pypi.example:99999/{WHEEL}",
        f"https://pypi.example:0/{WHEEL}",
        f"https://pypi.example\\@evil.example/{WHEEL}",
        f"https://pypi.example\r\nX: y/{WHEEL}",
        f"https://pypi.example/\x00/{WHEEL}",
        f"https://[oops/{WHEEL}",
        f"https:///{WHEEL}",
        f"https:{WHEEL}",
        f"///pypi.example/{WHEEL}",
        f"https://pypi.example/{'x' * 5000}/{WHEEL}",
        "",
    ],
)
def test_a_file_whose_address_is_not_to_be_asked_is_dropped(link: str) -> None:
    page = of_rows(row(url=link))
    assert (page.files, page.dropped) == ((), 1)
    assert of_html(f'<a href="{link}">x</a>').files == ()


def test_an_index_without_tls_may_have_both_schemes() -> None:
    page = of_html(f'<a href="http://x/{WHEEL}">x</a><a href="https://x/raven-2.zip">', url="http://pypi.example/")
    assert urls(page) == [f"http://x/{WHEEL}", "https://x/raven-2.zip"]


# Names.


def test_files_of_other_projects_and_odd_names_are_dropped_and_counted() -> None:
    names = [
        WHEEL, "other-1.0.tar.gz", "raven_extra-1.0-py3-none-any.whl", "README.txt", "../raven-1.0.tar.gz",
        "raven-1.0/../x.tar.gz", ".raven-1.0.tar.gz", "raven-1.0.tar.gz\n", "raven-1.0\u202e.tar.gz",
        "x" * 300 + ".whl",
    ]  # fmt: skip
    page = of_rows(*(row(name) for name in names), 5, None, [], {"filename": 5, "url": "/x"}, {"filename": WHEEL})
    assert [file.filename for file in page.files] == [WHEEL]
    assert page.dropped == len(names) - 1 + 5


def test_a_name_that_two_projects_could_have_belongs_to_the_one_of_the_page() -> None:
    (file,) = of_rows(row("raven-2-3.zip")).files
    assert (file.project, file.version) == ("raven", "2-3")
    data = json.dumps({"files": [row("raven-2-3.zip")]}).encode()
    for name, version in (("raven-2", "3"), ("other", None)):
        page = parse_page(JSON, data, url=PAGE, project=normalize(name), upstream=PYPI, now_ns=NOW)
        assert [file.version for file in page.files] == ([version] if version else [])


def test_of_two_rows_with_one_name_the_first_counts() -> None:
    page = of_rows(row(size=1), row(size=2))
    assert [file.size for file in page.files] == [1]


# Fields.


@pytest.mark.parametrize("size", [-1, True, 1.5, "12", 2**63, 10**30, None, [], "9" * 5000])
def test_what_is_no_size_counts_as_none(size: object) -> None:
    assert file_of(size=size).size is None
    assert file_of(size=2**63 - 1).size == 2**63 - 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("2024-05-06T07:08:09Z", 1_714_979_289_000_000_000),
        ("2024-05-06T07:08:09.1Z", 1_714_979_289_100_000_000),
        ("2024-05-06T07:08:09.123456789012Z", 1_714_979_289_123_456_789),
        ("2024-05-06T07:08:09.123456Z", 1_714_979_289_123_456_000),
        ("1990-01-01T00:00:00.000000Z", 631_152_000_000_000_000),
        ("1989-12-31T23:59:59.999999Z", None),
        ("2200-01-01T00:00:00.000000Z", None),
        ("2024-02-30T00:00:00.000000Z", None),
        ("2024-05-06 07:08:09", 1_714_979_289_000_000_000),
        ("2024-05-06T09:08:09+02:00", 1_714_979_289_000_000_000),
        ("2024-05-06T03:38:09-0330", 1_714_979_289_000_000_000),
        ("1989-12-31T00:00:00Z", None),
        ("2200-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("2024-02-30T00:00:00Z", None),
        ("2024-05-06T24:00:00Z", None),
        ("2024-05-06T07:08:09+99:00", None),
        ("٢٠٢٤-05-06T07:08:09Z", None),
        ("2024-05-06", None),
        ("yesterday", None),
        (1714979289, None),
        ({}, None),
    ],
)
def test_a_time_is_utc_unless_it_has_a_zone(said: object, expected: int | None) -> None:
    assert file_of(upload_time=said).uploaded_ns == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"md5": "a" * 32, "sha256": HEX.upper(), "sha512": "b" * 128}, ("sha256", "sha512", "md5")),
        ({"sha256": "0"}, ()),
        ({"sha256": "x" * 64, "sha1": "a" * 40}, ("sha1",)),
        ({"sha256": 5, "shake_128": "ab", "crc32": "12345678", "SHA256": HEX}, ()),
        ({"sha256": HEX[:-1] + "１"}, ()),
        ("sha256", ()),
        (None, ()),
    ],
)
def test_only_whole_hashes_of_known_algorithms_count(said: object, expected: tuple[str, ...]) -> None:
    file = file_of(hashes=said)
    assert tuple(name for name, _ in file.hashes) == expected
    assert file.sha256 == (HEX if "sha256" in expected else "")


@pytest.mark.parametrize("said", ["", ">=3\n", ">=3\x1b[2J", "x" * 501, 3, None, "\ud800"])
def test_requires_python_is_one_short_line(said: object) -> None:
    assert file_of(requires_python=said).requires_python is None
    assert file_of(requires_python=">=3.8, <4").requires_python == ">=3.8, <4"


@pytest.mark.parametrize(
    ("said", "expected"),
    [(True, ""), ("bad\nreally", "bad really"), (False, None), ("", None), (None, None), (1, None), ([1], None),
     ("\ud800", ""), ("x" * 5000, "x" * 3997 + "...")],
)  # fmt: skip
def test_the_reason_of_a_yank_is_one_line(said: object, expected: str | None) -> None:
    assert file_of(yanked=said).yanked == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"core_metadata": True}, (True, "")),
        ({"core_metadata": {"sha256": HEX}}, (True, HEX)),
        ({"core_metadata": {"sha512": "x"}}, (True, "")),
        ({"core_metadata": {"sha256": "x"}}, (False, "")),
        ({"core_metadata": False, "dist_info_metadata": True}, (False, "")),
        ({"dist_info_metadata": {"sha256": HEX}}, (True, HEX)),
        ({"data_dist_info_metadata": {"sha256": HEX}}, (True, HEX)),
        ({"core_metadata": "true"}, (False, "")),
        ({"core_metadata": 1}, (False, "")),
        ({}, (False, "")),
    ],
)
def test_metadata_are_there_if_the_page_says_so(fields: dict[str, object], expected: tuple[bool, str]) -> None:
    file = file_of(**fields)
    assert (file.has_metadata, file.metadata_sha256) == expected


def test_metadata_in_html() -> None:
    def said(attribute: str) -> tuple[bool, str]:
        (file,) = of_html(f"<a href={WHEEL} {attribute}>x</a>").files
        return file.has_metadata, file.metadata_sha256

    assert said("") == (False, "")
    assert said("data-core-metadata") == (False, "")
    assert said("data-core-metadata=true") == (True, "")
    assert said("data-core-metadata=false data-dist-info-metadata=true") == (False, "")
    assert said(f"data-dist-info-metadata=sha256={HEX}") == (True, HEX)
    assert said("data-dist-info-metadata=sha256=0") == (False, "")


@pytest.mark.parametrize("said", ["http://pypi.example/p", "ftp://x/", "https://u:p@x/", 5, None, ""])
def test_provenance_is_an_address_to_ask(said: object) -> None:
    assert file_of(provenance=said).provenance == ""
    assert file_of(provenance="https://x/p").provenance == "https://x/p"


def test_versions_are_distinct_and_short() -> None:
    assert of_rows(versions=["1.0", "2.0+x", "1.0", 5, "", "a b", "x" * 300, "1\n"]).versions == ("1.0", "2.0+x")
    assert of_rows(versions="1.0").versions == ()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"status": "quarantined", "reason": "mal\nware"}, ProjectStatus("quarantined", "mal ware")),
        ({"status": "deprecated"}, ProjectStatus("deprecated")),
        ({"status": "active", "reason": 5}, ACTIVE),
        ({"status": "gone"}, ACTIVE),
        ({"status": ["archived"]}, ACTIVE),
        ("archived", ACTIVE),
    ],
)
def test_the_status_is_one_of_those_there_are(said: object, expected: ProjectStatus) -> None:
    assert of_rows(**{"project-status": said}).status == expected


def test_a_signature_is_said() -> None:
    assert file_of(**{"gpg-sig": True}).has_signature and not file_of(**{"gpg-sig": "yes"}).has_signature
    assert of_html(f"<a href={WHEEL} data-gpg-sig=true>").files[0].has_signature


# Pages.


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"cache_control": "max-age=600, public"}, 600),
        ({"cache_control": "max-age=600, s-maxage=60", "age": "20"}, 40),
        ({"cache_control": "max-age=600", "age": "700"}, 0),
        ({"cache_control": "max-age=600, no-cache"}, 0),
        ({"cache_control": "No-Store"}, 0),
        ({"cache_control": "max-age=9999999999"}, 2**31 - 1),
        ({"cache_control": "max-age=-1"}, None),
        ({"cache_control": "max-age=99999999999999999999", "age": "x"}, None),
        ({"cache_control": "public"}, None),
    ],
)
def test_how_long_a_page_is_fresh(headers: dict[str, str], expected: int | None) -> None:
    assert parsed(b'{"files":[]}', **headers).max_age == expected


@pytest.mark.parametrize("etag", ["x" * 513, '"a\r\nb"', '"ä"', " ", ""])
def test_what_cannot_be_sent_back_is_no_validator(etag: str) -> None:
    assert parsed(b'{"files":[]}', etag=etag).etag == ""


def test_the_serial_of_mirrors_comes_from_the_page_or_its_header() -> None:
    assert parsed(b'{"files":[]}', x_pypi_last_serial="77").last_serial == 77
    assert parsed(b'{"files":[]}', x_pypi_last_serial="9" * 30).last_serial == 0
    assert of_rows(meta={"api-version": "1.0", "_last-serial": 5}).last_serial == 5
    assert of_rows(meta={"api-version": "1.0", "_last-serial": "5"}).last_serial == 0


BAD_JSON = {
    "empty": b"",
    "cut": b'{"files":[{"filename":"raven-1.zip"',
    "cut after a row": b'{"files":[{}',
    "cut last": b'{"files":[]',
    "no object": b"[]",
    "no list": b'{"files":{}}',
    "nothing in it": b"{}",
    "two lists": b'{"files":[],"files":[]}',
    "a comma too many": b'{"files":[{},]}',
    "a comma too few": b'{"files":[{}{}]}',
    "more behind it": b'{"files":[]}x',
    "two pages": b'{"files":[]}{"files":[]}',
    "no UTF-8": b'{"files":["\xff"]}',
    "UTF-16": '{"files":[]}'.encode("utf-16"),
    "nested": b'{"files":[' + b"[" * 200_000,
    "nested and whole": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"files":[]}',
    "large row": b'{"files":["' + b"x" * (1 << 20) + b'"]}',
    "another interface": b'{"meta":{"api-version":"2.0"},"files":[]}',
    "another interface at its end": b'{"files":[],"meta":{"api-version":"2.0"}}',
    "a number for a name": b'{5:5,"files":[]}',
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_a_page_in_json_is_understood_whole_or_not_at_all(name: str) -> None:
    with raises(UpstreamError, kind="page"):
        parsed(BAD_JSON[name])


BAD_HTML = {
    "cut in a tag": b"<a href=raven-1.zip",
    "cut in a value": b'<a href="raven-1.zip></a>',
    "cut in a comment": b"<!-- <a href=raven-1.zip>",
    "cut in a script": b"<script>",
    "cut in an end tag": b"<a href=raven-1.zip></a",
    "a tag of a megabyte": b"<a " + b"x " * (1 << 19) + b">",
    "another interface": b'<meta name="pypi:repository-version" content="2.0">',
}


@pytest.mark.parametrize("name", BAD_HTML)
def test_a_page_in_html_is_understood_whole_or_not_at_all(name: str) -> None:
    with raises(UpstreamError, kind="page"):
        parsed(BAD_HTML[name], TEXT)


def test_html_without_a_length_has_to_say_where_it_ends() -> None:
    page = f"<a href={WHEEL}>x</a>\n".encode()
    assert parsed(page, TEXT, content_length=str(len(page))).files
    assert parsed(page, TEXT, transfer_encoding="chunked").files
    assert parsed(page + b"</BODY >\n", TEXT, connection="close").files
    with raises(UpstreamError, kind="page"):
        parsed(page, TEXT, connection="close")


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain", "application/x\x1b[2J"])
def test_something_else_is_no_page(content_type: str) -> None:
    with raises(UpstreamError, kind="content-type") as caught:
        parsed(b"{}", content_type)
    assert str(caught.value).isprintable()


def test_a_page_has_a_limited_number_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_parser, "MAX_FILES", 2)
    assert len(of_rows(row("raven-1.zip"), row("raven-2.zip"), row("raven-2.zip")).files) == 2
    with raises(UpstreamError, kind="page"):
        of_rows(*(row(f"raven-{number}.zip") for number in range(3)))


def test_windows_of_a_page_have_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(f"raven-{number}.tar.gz", yanked="ü" * number) for number in range(20)]
    whole = of_rows(*rows, versions=["1.0"], extra={"n": 12345})
    for window in range(1, 60, 3):
        monkeypatch.setattr(json_reader, "WINDOW", window)
        assert of_rows(*rows, versions=["1.0"], extra={"n": 12345}) == whole
    assert len(whole.files) == 20


def test_links_that_are_not_elements_are_no_files() -> None:
    page = of_html(
        "<!doctype html><!-- <a href=raven-1.zip> --><!--><a href=raven-2.zip><!-- x --!><a\thref = 'raven-3.zip' >"
        "<SCRIPT>'<a href=raven-4.zip>'</scripty></script ><title><a href=raven-5.zip></title>"
        '<img alt="<a href=raven-6.zip>"><a name=x HREF=raven-7.zip href=raven-8.zip/>1 < 2 &lt;a href=raven-9.zip>'
        "<a/href=raven-10.zip><a=b href=raven-11.zip><a x=it's href=&#114;aven-12.zip></A><?a href=raven-13.zip?>"
    )
    assert [file.version for file in page.files] == ["2", "3", "7", "10", "12"]


def test_windows_of_html_have_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    body = "".join(
        f"<!-- {'x' * number} --><script>{'y' * number}<a href=raven-9.zip></script><a href=raven-{number}.zip>x</a>"
        for number in range(100)
    )
    whole = of_html(body)
    assert len(whole.files) == 100
    for window in (65, 70, 99, 130):
        monkeypatch.setattr(html_reader, "WINDOW", window)
        assert of_html(body) == whole


def test_a_page_has_a_limited_number_of_rows_and_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_parser, "MAX_ROWS", 3)
    assert of_rows({}, {}, {}).dropped == 3
    with raises(UpstreamError, kind="page"):
        of_rows({}, {}, {}, {})
    monkeypatch.setattr(html_reader, "MAX_TAGS", 10)
    with raises(UpstreamError, kind="page"):
        of_html("<br>" * 10)


def test_what_is_not_files_has_a_limit_together() -> None:
    other = b'"' + b"x" * (1 << 20) + b'"'
    few, many = (b"{" + b"".join(b'"x":%b,' % other for _ in range(n)) + b'"files":[]}' for n in (3, 5))
    assert parsed(few).files == ()
    with raises(UpstreamError, kind="page"):
        parsed(many)


def test_the_largest_page_fits_where_pages_are_kept() -> None:
    """Otherwise each request would ask for it, and read it, again."""
    name = "raven-0.0.1.dev{}-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    rows = [
        row(
            name.format(number),
            f"{HOST}/packages/{PLACE}/{name.format(number)}",
            size=10**9,
            upload_time="2024-05-06T07:08:09.123456Z",
            requires_python=">=3.9,<4",
            core_metadata={"sha256": HEX},
            provenance=f"https://pypi.example/integrity/raven/0.0.1.dev{number}/{name.format(number)}/provenance",
        )
        for number in range(100)
    ]
    page = of_rows(*rows)
    data, _ = page_file.encode(KeptPage(page, 1.0, "https://pypi.example/simple/"))
    assert len(data) / 100 * page_parser.MAX_FILES < cache_store.MAX_PAGE
    size = page_memory.PAGE_BYTES + page_memory.FILE_BYTES * page_parser.MAX_FILES
    assert size <= page_memory.PAGES_BYTES


def test_all_texts_of_a_page_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_parser, "MAX_CHARACTERS", 1000)
    assert of_rows(row("raven-1.zip", yanked="x" * 500)).files
    for reason in ("x" * 1000, "ü" * 80):
        with raises(UpstreamError, kind="page"):
            of_rows(row("raven-1.zip", yanked=reason))
