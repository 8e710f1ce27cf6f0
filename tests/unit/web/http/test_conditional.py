"""The answer for an open file: validators, ranges, bodies; small and large, with and without a file wrapper."""

import io
import os
from email.utils import formatdate

import pytest

from pypiserver.errors import Unavailable
from pypiserver.web.http.conditional import SMALL_BYTES, Answer, is_not_modified, send_file
from pypiserver.web.http.file_body import BLOCK_BYTES, LARGEST_BLOCK_BYTES, Blocks

ETAG = '"5eb63bbbe01eeed093cb22bb8f5acdc3"'
MODIFIED = 1_700_000_000
DATE = formatdate(MODIFIED, usegmt=True)
LATER = formatdate(MODIFIED + 5, usegmt=True)
EARLIER = formatdate(MODIFIED - 5, usegmt=True)
TEXT = b"0123456789"
LARGE = bytes(range(256)) * (BLOCK_BYTES // 256 * 2 + 40)
VALIDATORS = [("ETag", ETAG), ("Cache-Control", "max-age=60"), ("Last-Modified", DATE)]
ENTITY = [("Content-Type", "a/b"), ("Accept-Ranges", "bytes"), ("X-Content-Type-Options", "nosniff"), *VALIDATORS]


class CountedFile(io.BytesIO):
    closings = 0

    def close(self):
        if not self.closed:
            self.closings += 1
        super().close()


class Wrapper:
    """Marks a server that has a file wrapper; the layer above hands the body to it."""


def send(file, *, method="GET", size=None, extra=(), now=MODIFIED + 100, **request):
    environ = {"REQUEST_METHOD": method, **request}
    if isinstance(file, bytes):
        file = CountedFile(file)
    if size is None:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
    return send_file(
        environ,
        file,
        size=size,
        etag=ETAG,
        mtime_ns=MODIFIED * 10**9 + 999,
        content_type="a/b",
        cache_control="max-age=60",
        headers=extra,
        clock=lambda: now,
    )


def read_all(answer):
    try:
        return b"".join(answer.body)
    finally:
        if hasattr(answer.body, "close"):
            answer.body.close()


def test_whole_file_is_sent_with_every_header():
    assert send(TEXT, extra=[("Vary", "x")]) == Answer(
        "200 OK", [*ENTITY, ("Vary", "x"), ("Content-Length", "10")], [TEXT]
    )


@pytest.mark.parametrize("size", [10, len(LARGE)], ids=["small", "large"])
def test_head_answers_as_get_without_the_body(size):
    data = LARGE[:size]
    file = CountedFile(data)
    get, head = send(data), send(file, method="HEAD", HTTP_RANGE="bytes=0-1")
    assert (head.status, head.headers, head.body) == (get.status, get.headers, [])
    assert file.closings == 1


@pytest.mark.parametrize(
    ("header", "section"),
    [
        ("bytes=0-3", (0, 3)),
        ("bytes=2-", (2, 9)),
        ("bytes=0-", (0, 9)),
        ("bytes=9-9", (9, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-10000", (0, 9)),  # Poetry's first probe of every wheel
        ("bytes=5-99", (5, 9)),
        ("Bytes= 1-2 ", (1, 2)),
        ("bytes=0-" + "9" * 40, (0, 9)),
    ],
)
def test_one_range_is_sent_as_partial_content(header, section):
    first, last = section
    answer = send(TEXT, HTTP_RANGE=header)
    assert answer == Answer(
        "206 Partial Content",
        [*ENTITY, ("Content-Range", f"bytes {first}-{last}/10"), ("Content-Length", str(last - first + 1))],
        [TEXT[first : last + 1]],
    )


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=" + "9" * 39 + "-", "bytes=-0"])
def test_range_beyond_the_file_is_416_and_kept_by_no_cache(header):
    file = CountedFile(TEXT)
    answer = send(file, HTTP_RANGE=header)
    assert answer == Answer(
        "416 Range Not Satisfiable",
        [
            ("ETag", ETAG),
            ("Content-Range", "bytes */10"),
            ("Cache-Control", "no-store"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", "23"),
        ],
        [b"Range Not Satisfiable.\n"],
    )
    assert file.closings == 1


@pytest.mark.parametrize(
    "header",
    ["bytes=5-2", "bytes=0-1,3-4", "bytes=-", "bytes=", "bytes", "", "lines=0-1", "bytes=a-b", "bytes=+1-2",
     "bytes=0x1-2", "bytes=1 - 2", "bytes=--1", "bytes=٣-٤", "bytes=" + "1" * 5000 + "-", "bytes=1.5-2", "bytes=0-1;"],
)  # fmt: skip
def test_range_that_is_malformed_or_not_single_is_ignored(header):
    assert send(TEXT, HTTP_RANGE=header) == send(TEXT)


@pytest.mark.parametrize(("header", "status"), [("bytes=0-", "416"), ("bytes=-5", "200"), ("bytes=-0", "200")], ids=str)
def test_range_of_an_empty_file(header, status):
    assert send(b"", HTTP_RANGE=header).status[:3] == status


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        (ETAG, "206"),
        (f" {ETAG} ", "206"),
        (DATE, "206"),
        (f"W/{ETAG}", "200"),
        ('"other"', "200"),
        (EARLIER, "200"),
        (LATER, "200"),
        ("nonsense", "200"),
        ("", "200"),
    ],
)
def test_if_range_needs_the_very_same_state(if_range, status):
    assert send(TEXT, HTTP_RANGE="bytes=1-2", HTTP_IF_RANGE=if_range).status[:3] == status


def test_if_range_with_a_date_of_this_second_is_not_strong():
    request = {"HTTP_RANGE": "bytes=1-2", "HTTP_IF_RANGE": DATE}
    assert send(TEXT, now=MODIFIED, **request).status == "200 OK"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ("", False),
        (ETAG, True),
        (f"W/{ETAG}", True),
        (f'"a", W/"b",{ETAG}', True),
        ('"a", "b"', False),
        (" * ", True),
        ("5eb63bbbe01eeed093cb22bb8f5acdc3", False),
        ('"' * 9999, False),
        ("garbage, " + ETAG, True),
        ('"5eb63bbbe01eeed093cb22bb8f5acdc', False),
        ("\x00\xff", False),
    ],
)
def test_if_none_match(header, expected):
    assert is_not_modified(header, ETAG) is expected
    assert is_not_modified(header, f"W/{ETAG}") is expected


@pytest.mark.parametrize(
    ("request_headers", "status"),
    [
        ({"HTTP_IF_NONE_MATCH": ETAG}, "304"),
        ({"HTTP_IF_NONE_MATCH": '"old"'}, "200"),
        ({"HTTP_IF_NONE_MATCH": '"old"', "HTTP_IF_MODIFIED_SINCE": DATE}, "200"),  # the date is not looked at
        ({"HTTP_IF_MODIFIED_SINCE": DATE}, "304"),
        ({"HTTP_IF_MODIFIED_SINCE": LATER}, "304"),
        ({"HTTP_IF_MODIFIED_SINCE": EARLIER}, "200"),
        ({"HTTP_IF_MODIFIED_SINCE": "Tuesday, 14-Nov-23 22:13:20 GMT"}, "304"),
        ({"HTTP_IF_MODIFIED_SINCE": "Tue Nov 14 22:13:20 2023"}, "304"),
        ({"HTTP_IF_MODIFIED_SINCE": "Tue Nov 14 22:13:19 2023"}, "200"),
        ({"HTTP_IF_MODIFIED_SINCE": "yesterday"}, "200"),
        ({"HTTP_IF_MODIFIED_SINCE": "Sun, 99 Nov 99999 08:49:37 GMT"}, "200"),
        ({"HTTP_IF_MATCH": ETAG}, "200"),
        ({"HTTP_IF_MATCH": f'"a", {ETAG}'}, "200"),
        ({"HTTP_IF_MATCH": "*"}, "200"),
        ({"HTTP_IF_MATCH": f"W/{ETAG}"}, "412"),
        ({"HTTP_IF_MATCH": '"old"'}, "412"),
        ({"HTTP_IF_MATCH": ""}, "412"),
        ({"HTTP_IF_MATCH": ETAG, "HTTP_IF_NONE_MATCH": ETAG}, "304"),
        ({"HTTP_IF_MATCH": '"old"', "HTTP_IF_NONE_MATCH": ETAG}, "412"),
        ({"HTTP_IF_UNMODIFIED_SINCE": DATE}, "200"),
        ({"HTTP_IF_UNMODIFIED_SINCE": EARLIER}, "412"),
        ({"HTTP_IF_UNMODIFIED_SINCE": "nonsense"}, "200"),
        ({"HTTP_IF_MATCH": ETAG, "HTTP_IF_UNMODIFIED_SINCE": EARLIER}, "200"),
        ({"HTTP_IF_NONE_MATCH": ETAG, "HTTP_RANGE": "bytes=0-1"}, "304"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_preconditions(request_headers, status, method):
    file = CountedFile(TEXT)
    answer = send(file, method=method, **request_headers)
    assert (answer.status[:3], file.closings) == (status, 1)
    assert bool(read_all(answer)) is (method == "GET" and status != "304")


def test_not_modified_carries_the_validators_and_no_entity():
    extra = [("Vary", "Accept"), ("Content-Language", "de")]
    answer = send(TEXT, extra=extra, HTTP_IF_NONE_MATCH=ETAG)
    assert answer == Answer("304 Not Modified", [*VALIDATORS, ("Vary", "Accept")], [])


def test_last_modified_is_never_in_the_future():
    assert ("Last-Modified", EARLIER) in send(TEXT, now=MODIFIED - 5).headers


@pytest.mark.parametrize("environ", [{}, {"wsgi.file_wrapper": Wrapper}], ids=["iterator", "wrapper"])
@pytest.mark.parametrize("header", ["bytes=0-", "bytes=100-", "bytes=-300000", "none"])
def test_large_body_comes_in_bounded_blocks_and_closes_the_file_once(environ, header):
    file = CountedFile(LARGE)
    answer = send(file, HTTP_RANGE=header, **environ)
    expected = {"bytes=100-": LARGE[100:], "bytes=-300000": LARGE[-300000:]}.get(header, LARGE)
    blocks = list(answer.body)
    assert b"".join(blocks) == expected
    assert max(map(len, blocks)) <= LARGEST_BLOCK_BYTES
    assert hasattr(answer.body, "read") is bool(environ)
    assert file.closings == 0
    answer.body.close()
    answer.body.close()
    assert file.closings == 1


@pytest.mark.parametrize(
    ("rate", "sizes"),
    [(10_000_000, [BLOCK_BYTES] * 4), (200_000_000, [BLOCK_BYTES, 2 * BLOCK_BYTES, *[LARGEST_BLOCK_BYTES] * 2])],
    ids=["10 MB/s: little is in memory", "200 MB/s: few blocks, each costs CPU"],
)
def test_who_takes_blocks_fast_gets_larger_ones(rate, sizes):
    now = 100.0
    blocks = Blocks(io.BytesIO(bytes(8 * LARGEST_BLOCK_BYTES)), 0, 8 * LARGEST_BLOCK_BYTES, clock=lambda: now)
    seen = []
    for _ in sizes:
        seen.append(len(next(blocks)))
        now += seen[-1] / rate
    assert seen == sizes
    now += 10
    assert len(next(blocks)) == BLOCK_BYTES


def test_file_wrapper_sees_a_file_that_begins_and_ends_with_the_range():
    body = send(LARGE, HTTP_RANGE="bytes=1000-200999", **{"wsgi.file_wrapper": Wrapper}).body
    assert (body.seekable(), body.tell(), body.seek(0, os.SEEK_END)) == (True, 0, 200_000)
    assert body.read(10) == b""
    assert body.seek(-3, os.SEEK_CUR) == 199_997
    assert body.read() == LARGE[200_997:201_000]
    body.seek(5)
    assert body.read(2) == LARGE[1005:1007]
    body.close()


@pytest.fixture
def real_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    return path


def test_only_a_whole_real_file_offers_its_descriptor(real_file):
    environ = {"wsgi.file_wrapper": Wrapper}
    for request, expected in (({}, True), ({"HTTP_RANGE": "bytes=1-"}, False)):
        with real_file.open("rb") as file:
            body = send(file, **environ, **request).body
            assert hasattr(body, "fileno") is expected
            assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == (0 if expected else 1)
    assert not hasattr(send(LARGE, **environ).body, "fileno")


def test_large_file_that_became_shorter_breaks_off(real_file):
    for environ in ({}, {"wsgi.file_wrapper": Wrapper}):
        with real_file.open("rb") as file:
            body = send(file, size=len(LARGE) + 1, **environ).body
            with pytest.raises(OSError, match="ended 1 bytes early"):
                list(body)
            file.close()
            body.close()


def test_system_copy_of_a_file_that_became_shorter_is_noticed_at_the_end(real_file):
    file = real_file.open("rb")
    body = send(file, **{"wsgi.file_wrapper": Wrapper}).body
    os.truncate(real_file, 100)
    with pytest.raises(OSError, match=f"ended {len(LARGE) - 100} bytes early"):
        body.close()
    assert file.closed
    body.close()


def test_small_file_that_became_shorter_is_unavailable():
    file = CountedFile(TEXT)
    with pytest.raises(Unavailable, match="became shorter"):
        send(file, size=SMALL_BYTES)
    assert file.closings == 1


def test_file_is_closed_when_it_cannot_be_read():
    class Broken(CountedFile):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    file = Broken(TEXT)
    with pytest.raises(OSError, match="Input/output"):
        send(file)
    assert file.closings == 1


def test_time_that_has_no_date_is_left_out():
    answer = send_file(
        {"REQUEST_METHOD": "GET", "HTTP_IF_MODIFIED_SINCE": DATE}, io.BytesIO(TEXT), size=10, etag=ETAG,
        mtime_ns=-(10**30), content_type="a/b", cache_control="no-cache",
    )  # fmt: skip
    assert answer.status == "200 OK"
    assert "Last-Modified" not in dict(answer.headers)
