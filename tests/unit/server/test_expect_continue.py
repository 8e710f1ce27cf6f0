"""Asking the application about a request whose body was not sent yet."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pypiserver.observability.request_events import Observers, observe
from pypiserver.server.expect_continue import ASKED, LATE_CONTINUE, BodyWantedError, UnsentBody, is_waiting

from ..wsgi import Client, form

Serve = Callable[..., Client]
BODY, KIND = form({":action": "file_upload"}, "foo-1.0.tar.gz", b"x")
WAITS = {LATE_CONTINUE: True, "HTTP_EXPECT": "100-continue", "wsgi.input": UnsentBody()}


def asked(client: Client, path: str = "/", **more: Any) -> int | None:
    """The status that is answered without the body, None when that is wanted."""
    try:
        return client.request("POST", path, **{"CONTENT_TYPE": KIND, "CONTENT_LENGTH": "5000", **WAITS, **more}).status
    except BodyWantedError:
        return None


@pytest.mark.parametrize(("settings", "path", "more", "status"), [
    ({}, "/", {}, None),
    ({}, "/", {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}, None),
    ({}, "/RPC2", {"CONTENT_TYPE": "text/xml"}, None),
    ({"max_upload_size": 4999}, "/", {}, 413),
    ({"max_search_size": 4999}, "/RPC2", {"CONTENT_TYPE": "text/xml"}, 413),
    ({"authenticate": "update", "auther": lambda user, password: False}, "/", {}, 401),
    ({}, "/", {"HTTP_SEC_FETCH_SITE": "cross-site"}, 403),
    ({}, "/", {"CONTENT_TYPE": "text/plain"}, 400),
    ({}, "/nowhere/at/all", {}, 404),
    ({}, "/projects/", {}, 405),
])  # fmt: skip
def test_what_can_be_answered_without_the_body_is(
    serve: Serve, settings: dict[str, Any], path: str, more: dict[str, Any], status: int | None
) -> None:
    assert asked(serve(**settings), path, **more) == status


def test_asking_leaves_nothing_and_holds_no_place(serve: Serve, root: Path) -> None:
    client = serve(max_uploads=1)
    for _ in range(3):
        assert asked(client) is None
    assert list(root.iterdir()) == []


def test_a_request_that_is_only_asked_about_is_noted_once() -> None:
    notes: list[int] = []
    observers = SimpleNamespace(note=lambda environ, took, sent: notes.append(sent))

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        return [environ["wsgi.input"].read()]

    observed = observe(application, observers)  # type: ignore[arg-type]
    with pytest.raises(BodyWantedError):
        observed({"wsgi.input": UnsentBody()}, None)  # type: ignore[arg-type]
    observed({"wsgi.input": io.BytesIO(b"abc"), ASKED: True}, None)  # type: ignore[arg-type]
    assert notes == [3]
    assert Observers([]) is not None


@pytest.mark.parametrize("read", [UnsentBody().read, UnsentBody().readline, UnsentBody().readlines])
def test_no_way_to_read_gives_anything(read: Callable[[], object]) -> None:
    with pytest.raises(BodyWantedError):
        read()
    with pytest.raises(BodyWantedError):
        list(UnsentBody())  # type: ignore[call-overload]


def test_who_waits_is_known_by_server_and_client() -> None:
    assert is_waiting({LATE_CONTINUE: True, "HTTP_EXPECT": " 100-Continue"})
    assert not is_waiting({LATE_CONTINUE: False, "HTTP_EXPECT": "100-continue"})
    assert not is_waiting({LATE_CONTINUE: True})


def test_waitress_has_what_asking_needs() -> None:
    """Where this fails, clients are let send before they are asked: see GuardedChannel."""
    server = pytest.importorskip("pypiserver.server.run_waitress")
    assert server.can_ask()
    assert callable(server.HTTPChannel.send_continue)


class Body:
    """What gunicorn makes of a request's body."""

    def __init__(self, data: bytes) -> None:
        self.reader = SimpleNamespace(length=len(data))
        self.failed = False
        self._data = io.BytesIO(data)

    def read(self, size: int | None = None) -> bytes:
        return self._data.read(-1 if size is None else size)


def test_gunicorn_is_let_say_continue_when_the_body_is_read() -> None:
    server = pytest.importorskip("pypiserver.server.run_gunicorn")
    client, connection = socket.socketpair()
    with client, connection:
        request = SimpleNamespace(_expected_100_continue=True, must_close=False, body=Body(b"abc"))
        late = server.LateContinue.of(request, connection)
        assert (late, request._expected_100_continue, request.must_close) == (request.body, False, True)
        assert not late.is_begun and late.failed is False
        assert late.read(2) + late.read() == b"abc"
        assert (late.is_begun, request.must_close) == (True, False)
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("request_", [
    SimpleNamespace(must_close=False, body=Body(b"abc")),
    SimpleNamespace(_expected_100_continue=False, must_close=False, body=Body(b"abc")),
    SimpleNamespace(_expected_100_continue=True, body=Body(b"abc")),
    SimpleNamespace(_expected_100_continue=True, must_close=False, body=Body(b"")),
], ids=["older", "waits for nothing", "other inside", "no body"])  # fmt: skip
def test_gunicorn_continues_alone_where_nothing_can_be_deferred(request_: Any) -> None:
    server = pytest.importorskip("pypiserver.server.run_gunicorn")
    body = request_.body
    assert server.LateContinue.of(request_, None) is None and request_.body is body
