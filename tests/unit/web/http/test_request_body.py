"""How far a body is read."""

from __future__ import annotations

import io
from typing import Any

import pytest

from pypiserver.errors import BadRequest, ContentTooLarge
from pypiserver.web.http.request_body import Body


def environ(body: bytes, **fields: Any) -> dict[str, Any]:
    return {"wsgi.input": io.BytesIO(body), **fields}


def test_only_the_announced_length_is_read() -> None:
    body = Body(environ(b"abcdef", CONTENT_LENGTH="3"), 10)
    assert (body.read(2), body.read(10), body.read(10)) == (b"ab", b"c", b"")


def test_without_a_length_there_is_no_body() -> None:
    assert Body(environ(b"abc"), 10).read(10) == b""


def test_a_chunked_body_ends_where_the_server_says() -> None:
    fields = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    body = Body(environ(b"abc", **fields), 10)
    assert (body.read(10), body.read(10)) == (b"abc", b"")
    with pytest.raises(ContentTooLarge):
        Body(environ(b"abc", **fields), 2).read(10)


@pytest.mark.parametrize("length", ["x", "-1", "+1", " 1", "1_0", "\u0661", "9" * 30, "1.0"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(BadRequest, match="Content-Length"):
        Body(environ(b"abc", CONTENT_LENGTH=length), 10)


def test_too_long_a_body_is_refused_before_it_is_read() -> None:
    with pytest.raises(ContentTooLarge, match="10 bytes"):
        Body(environ(b"", CONTENT_LENGTH="11"), 10)


def test_a_body_that_ends_early_is_refused() -> None:
    body = Body(environ(b"ab", CONTENT_LENGTH="3"), 10)
    assert body.read(10) == b"ab"
    with pytest.raises(BadRequest, match="ended early"):
        body.read(10)


def test_a_broken_connection_is_the_clients_fault() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError

    with pytest.raises(BadRequest, match="connection"):
        Body({"wsgi.input": Broken(), "CONTENT_LENGTH": "3"}, 10).read(1)
