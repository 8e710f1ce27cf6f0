"""The adapter from granian's RSGI to WSGI: what is the same as with every server, and what the event loop needs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypiserver import request_info
from pypiserver.access.password_file import WAITING
from pypiserver.deferred import AT_ONCE, Waits
from pypiserver.errors import ContentTooLarge
from pypiserver.repeatable import REPEATS
from pypiserver.server.contract import threads_on_loop
from pypiserver.server.granian_worker import one_host
from pypiserver.server.request_body import Incoming
from pypiserver.server.response_body import SPARE, Descriptors
from pypiserver.server.rsgi import SMALL_BYTES, Adapter
from pypiserver.web.http.file_body import Blocks
from tests.make_archives import make_wheel

from ..rsgi import Headers, Protocol, RsgiClient, Scope
from ..waiting import eventually
from ..wsgi import Client, form

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="paths of descriptors are Linux's")
Serve = Callable[..., Client]


@pytest.mark.parametrize("name", ["HTTP_HOST", "HTTP_X_FORWARDED_FOR"])
def test_an_address_that_is_hidden_is_refused(serve: Serve, name: str) -> None:
    assert RsgiClient(one_host(serve()._application), **{name: "\xff"}).get("/simple/").status == 400


def test_a_path_that_is_not_utf8_is_refused(serve: Serve) -> None:
    client = RsgiClient(serve()._application)
    assert client.get("/metr\ufffdics").status == 400


# -- what is answered on the loop ------------------------------------------------------------------------------------


class Watched:
    """An application that notes in which threads it was asked, and how; it is asked each time unless it ``repeats``."""

    def __init__(self, application: Callable[..., Any], *, repeats: bool = False) -> None:
        self._application = application
        self._repeats = repeats
        self.asked: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        is_loop = threading.current_thread() is threading.main_thread()
        assert is_loop == (AT_ONCE in environ)
        if not self._repeats:
            environ.pop(REPEATS, None)
        try:
            body = self._application(environ, start_response)
        except Waits:
            self.asked.append("waits")
            raise
        self.asked.append("at once" if is_loop else "in a thread")
        return body


@pytest.fixture
def watched(serve: Serve, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> tuple[RsgiClient, Watched]:
    # Four times a second a request asks the database, and waits.
    monkeypatch.setattr("pypiserver.catalog.state.SIGNAL_SECONDS", 60.0)
    put(*make_wheel("foo", "1.0"))
    application = Watched(serve(disable_fallback=True)._application)
    return RsgiClient(application), application


@pytest.mark.parametrize(
    "path",
    ["/simple/foo/", "/simple/", "/+simple/foo/", "/packages/foo-1.0-py3-none-any.whl.metadata", "/simple", "/foo",
     "/simple/Foo/", "/health/live", "/favicon.ico", "/packages/foo-1.0-py3-none-any.whl"],
)  # fmt: skip
def test_what_is_ready_is_answered_on_the_loop_with_the_same_bytes(
    watched: tuple[RsgiClient, Watched], path: str
) -> None:
    client, application = watched

    def is_answered_at_once() -> bool:
        client.get(path)
        application.asked.clear()
        before = client.get(path)
        assert before == Client(application._application).get(path)
        asked = 1
        if etag := before.headers.get("etag"):
            assert client.get(path, HTTP_IF_NONE_MATCH=etag).status == 304
            asked = 2
        return application.asked == ["at once"] * asked

    # What is read in the background changes the catalog, at any moment of the first seconds.
    assert eventually(is_answered_at_once, 10.0)


@pytest.mark.parametrize(
    "path",
    ["/", "/simple/none/", "/packages/none-1.0-py3-none-any.whl", "/projects/", "/health", "/nothing/here/at/all"],
)
def test_what_waits_is_answered_in_a_thread(watched: tuple[RsgiClient, Watched], path: str) -> None:
    client, application = watched
    client.get(path)
    application.asked.clear()
    assert client.get(path) == Client(application._application).get(path)
    assert application.asked == ["waits", "in a thread"]


def test_a_change_is_seen_at_once(serve: Serve) -> None:
    client = RsgiClient(serve(disable_fallback=True)._application)
    for number in range(5):
        assert client.upload(*make_wheel("foo", f"{number}.0")).status == 200
        assert [f"foo-{number}.0" in client.get("/simple/foo/").text for _ in range(3)] == [True] * 3


def test_a_remembered_login_is_answered_on_the_loop_until_the_file_changes(
    serve: Serve, put: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise a file of this moment is read at every request, as it may change again unseen.
    monkeypatch.setattr("pypiserver.access.live_file.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("pypiserver.catalog.state.SIGNAL_SECONDS", 60.0)
    put(*make_wheel("foo", "1.0"))
    passwords = tmp_path / "passwords"
    passwords.write_text("user:secret\n")
    application = Watched(serve(password_file=str(passwords), authenticate="list", disable_fallback=True)._application)
    client = RsgiClient(application, HTTP_AUTHORIZATION="Basic dXNlcjpzZWNyZXQ=")
    assert client.get("/simple/foo/").status == 200
    assert eventually(lambda: client.get("/simple/foo/").status == 200 and application.asked[-1] == "at once", 10.0)
    assert RsgiClient(application).get("/simple/foo/").status == 401
    passwords.write_text("user:another\n")
    assert client.get("/simple/foo/").status == 401


# -- bodies of requests ----------------------------------------------------------------------------------------------


def test_a_large_upload_comes_in_blocks(serve: Serve, root: Path) -> None:
    client = RsgiClient(serve()._application)
    name, wheel = make_wheel("foo", "1.0", extra_members={"foo/data": os.urandom(3_000_000)})
    assert client.upload(name, wheel).status == 200
    assert (root / name).read_bytes() == wheel


@pytest.mark.parametrize("length", [10_000, 2_000_000])
def test_an_upload_that_breaks_off_leaves_nothing(serve: Serve, root: Path, length: int) -> None:
    client = RsgiClient(serve()._application)
    name, wheel = make_wheel("foo", "1.0", extra_members={"foo/data": os.urandom(3_000_000)})
    body, kind = form({":action": "file_upload"}, name, wheel)
    answer = client.post("/", body[:length], CONTENT_TYPE=kind, CONTENT_LENGTH=str(len(body)))
    assert (answer.status, list(root.iterdir())) == (400, [])


async def asked(adapter: Adapter, scope: Scope, protocol: Protocol) -> Protocol:
    await adapter.__rsgi__(scope, protocol)
    protocol.finish()
    return protocol


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_body_in_chunks_that_breaks_off_is_never_whole(serve: Serve, is_cut: bool) -> None:
    client = serve()
    assert client.upload(*make_wheel("foo", "1.0")).status == 200
    assert client.upload(*make_wheel("foo", "1.0.1")).status == 200
    pairs = [("Transfer-Encoding", "chunked"), ("Content-Type", "application/x-www-form-urlencoded"), ("Host", "a")]
    protocol = Protocol([b":action=remove_pkg&name=foo&", b"version=1.0"], is_cut=is_cut)
    adapter = Adapter(client._application, threads=2)
    asyncio.run(asked(adapter, Scope("POST", headers=Headers(pairs)), protocol))
    assert protocol.status == (400 if is_cut else 200)
    assert ("foo-1.0-" in client.get("/simple/foo/").text) == is_cut


def test_a_body_in_chunks_has_the_same_limit(serve: Serve, root: Path) -> None:
    adapter = Adapter(serve(max_upload_size="100K")._application, threads=2)
    body, kind = form({":action": "file_upload"}, *make_wheel("foo", "1.0", extra_members={"x": os.urandom(300_000)}))
    pairs = [("Transfer-Encoding", "chunked"), ("Content-Type", kind), ("Host", "a")]
    protocol = Protocol([body[at : at + 50_000] for at in range(0, len(body), 50_000)])
    asyncio.run(asked(adapter, Scope("POST", headers=Headers(pairs)), protocol))
    assert (protocol.status, list(root.iterdir())) == (ContentTooLarge.status, [])


def test_who_waits_for_a_word_is_refused_before_sending(serve: Serve) -> None:
    adapter = Adapter(one_host(serve(password_file=None, authenticate="update")._application), threads=2)
    pairs = [("Content-Length", "5000000"), ("Expect", "100-continue"), ("Host", "a")]
    protocol = Protocol([b"x" * 5_000_000])
    asyncio.run(asked(adapter, Scope("POST", headers=Headers(pairs)), protocol))
    assert (protocol.status, protocol.asked) == (403, 0)


def test_who_is_refused_may_finish_sending(serve: Serve) -> None:
    adapter = Adapter(serve(password_file=None, authenticate="update")._application, threads=2)
    protocol = Protocol([b"x" * 100_000] * 5)
    pairs = [("Content-Length", "500000"), ("Host", "a")]
    asyncio.run(asked(adapter, Scope("POST", headers=Headers(pairs)), protocol))
    assert (protocol.status, protocol.asked) == (403, 5)


def test_places_for_bodies_are_held_while_they_come_and_given_back(serve: Serve) -> None:
    client = RsgiClient(serve(max_uploads=1)._application)
    gate = client._application.web.gate  # type: ignore[attr-defined]
    seen = []
    incoming = Incoming.read

    async def read(self: Incoming) -> bytes:
        seen.append(gate._wanted._value)
        return await incoming(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Incoming, "read", read)
        assert [client.upload(*make_wheel("foo", "1.0")).status for _ in range(3)] == [200] * 3
    assert set(seen) == {0}
    assert gate._wanted._value == 1


# -- bodies of answers -----------------------------------------------------------------------------------------------


class Large:
    """An application that gives this body."""

    def __init__(self, body: Callable[[], Any], length: int) -> None:
        self._body = body
        self._length = length

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if AT_ONCE in environ:
            raise Waits
        start_response("200 OK", [("Content-Length", str(self._length))])
        return self._body()


def test_what_is_sent_is_the_file_that_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = os.urandom(500_000)
    path.write_bytes(data)

    def opened() -> Blocks:
        file = path.open("rb")
        path.unlink()
        path.write_bytes(b"another file of this name")
        return Blocks(file, 1000, 400_000)

    protocol = asyncio.run(asked(Adapter(Large(opened, 400_000), threads=1), Scope(), Protocol()))
    assert (protocol.status, protocol.body) == (200, data[1000:401_000])


@pytest.mark.parametrize("length", [SMALL_BYTES, SMALL_BYTES + 1])
def test_a_file_that_became_shorter_is_never_whole(tmp_path: Path, length: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (length - 1))
    adapter = Adapter(Large(lambda: Blocks(path.open("rb"), 0, length), length), threads=1)
    protocol = asyncio.run(asked(adapter, Scope(), Protocol()))
    # A body shorter than its Content-Length breaks the connection.
    whole = [(503, len(b"The file cannot be sent right now. Try again in a moment.\n")), (200, length - 1)]
    assert (protocol.status, len(protocol.body)) == whole[length > SMALL_BYTES]


def test_a_file_is_refused_while_few_descriptors_are_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 300_000)
    adapter = Adapter(Large(lambda: Blocks(path.open("rb"), 0, 300_000), 300_000), threads=1)
    # The first limit is below any number that is free: other threads of this process may close files meanwhile.
    for most, status in ((1, 503), (open_files() + 1000, 200)):
        adapter._sender._descriptors = Descriptors(most)
        protocol = asyncio.run(asked(adapter, Scope(), Protocol()))
        assert (protocol.status, dict(protocol.headers).get("Retry-After")) == (status, "2" if status == 503 else None)
    blocks = Adapter(Large(lambda: iter([b"x" * 300_000]), 300_000), threads=1)
    blocks._sender._descriptors = Descriptors(1)
    assert asyncio.run(asked(blocks, Scope(), Protocol())).status == 503


def test_what_is_no_file_comes_through_a_pipe() -> None:
    blocks = [os.urandom(100_000) for _ in range(9)]
    protocol = asyncio.run(asked(Adapter(Large(lambda: iter(blocks), 900_000), threads=1), Scope(), Protocol()))
    assert protocol.body == b"".join(blocks)


def test_a_body_that_fails_ends_early() -> None:
    def fails() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise OSError("the file became shorter")

    protocol = asyncio.run(asked(Adapter(Large(fails, 900_000), threads=1), Scope(), Protocol()))
    assert (protocol.status, protocol.body) == (200, b"x" * 100_000)


def test_who_does_not_read_a_pipe_stops_who_fills_it() -> None:
    taken = []

    def blocks() -> Iterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield b"x" * 262_144

    class Deaf(Protocol):
        def response_file(self, status: int, headers: list[tuple[str, str]], file: str) -> None:
            self.status = status

    async def ask() -> None:
        protocol = Deaf()
        adapter = Adapter(Large(blocks, 262_144_000), threads=1)
        asking = asyncio.ensure_future(adapter.__rsgi__(Scope(), protocol))
        for _ in range(1000):
            if not taken:
                await asyncio.sleep(0.01)
        assert taken
        await asyncio.sleep(0.05)
        assert len(taken) <= 2
        # Its connection ends: who fills the pipe is told.
        protocol.disconnected.set()
        await asyncio.wait_for(asking, 10)
        assert len(taken) <= 3

    asyncio.run(ask())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_is_held_until_the_next_request_or_the_end_of_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 300_000)
    adapter = Adapter(Large(lambda: Blocks(path.open("rb"), 0, 300_000), 300_000), threads=1)

    async def ask() -> None:
        protocol = Protocol()
        for _ in range(3):
            await adapter.__rsgi__(Scope(), protocol)
            assert len(adapter._sender._held) == 1
        # The end of the connection is told to who asked first on it.
        await asyncio.sleep(0)
        protocol.disconnected.set()
        await asyncio.sleep(0.01)
        assert (adapter._sender._held, adapter._sender._watched) == ({}, {})

    asyncio.run(ask())


def test_a_number_is_never_anything_but_a_body(tmp_path: Path) -> None:
    numbers = Descriptors()
    secret, path = tmp_path / "secret", tmp_path / "file"
    secret.write_bytes(b"secret")
    path.write_bytes(b"public")
    with path.open("rb") as file:
        held = [numbers.hold(file.fileno()) for _ in range(SPARE + 2)]
    before = open_files()
    for number in held:
        numbers.free(number)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(secret.open("rb"))
        assert {Path(f"/proc/self/fd/{number}").read_bytes() for number in held} == {b""}
    with path.open("rb") as file:
        # The oldest first, and none while there are few.
        assert [numbers.hold(file.fileno()) for _ in range(2)] == held[:2]
        assert numbers.hold(file.fileno()) not in held
    assert open_files() <= before + 2


# -- too much at once ------------------------------------------------------------------------------------------------


def test_a_full_queue_is_503_and_is_noted(serve: Serve, put: Callable[..., Path]) -> None:
    put(*make_wheel("foo", "1.0"))
    notes: list[dict[str, Any]] = []
    application = serve()._application

    def noting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        body = application(environ, start_response)
        notes.append(environ)
        return body

    adapter = Adapter(noting, threads=1)
    adapter._pool._waiting = 0
    protocol = asyncio.run(asked(adapter, Scope(path="/simple/foo/"), Protocol()))
    assert (protocol.status, dict(protocol.headers)["Retry-After"]) == (503, "2")
    assert [environ[request_info.STATUS] for environ in notes] == [503]


@pytest.mark.parametrize("processors", [1, 2, 3, 4, 16, 64])
def test_logins_that_wait_hold_not_all_threads(processors: int) -> None:
    assert threads_on_loop(processors) >= 1.5 * processors * (1 + WAITING)


def test_a_bug_is_500_once() -> None:
    def broken(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        raise RuntimeError("a bug")

    protocol = asyncio.run(asked(Adapter(broken, threads=1), Scope(), Protocol()))
    assert protocol.status == 500


# -- granian's scheduler ---------------------------------------------------------------------------------------------
