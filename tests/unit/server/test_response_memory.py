"""Responses that are given again to equal requests: which requests are equal, and how long a response lasts."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pypiserver.observability.request_events import Observers, exchange, exchanged_again, observe
from pypiserver.repeatable import STILL, may_repeat
from pypiserver.server.reload import ReloadableApp
from pypiserver.server.response_memory import Response, ResponseMemory
from pypiserver.server.rsgi import Adapter
from pypiserver.server.wsgi_environ import head_of
from tests.make_archives import make_wheel

from ..rsgi import Headers, Protocol, RsgiClient, Scope
from ..waiting import eventually
from ..wsgi import Client, form

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="paths of descriptors are Linux's")
Serve = Callable[..., Client]
WHEEL = "/packages/foo-1.0-py3-none-any.whl"
USUAL = Scope(path="/simple/", headers=Headers([("host", "a"), ("accept", "text/html")]))


class Counting:
    """An application that gives the number of each request, and lets it be repeated while ``is_still``."""

    def __init__(self) -> None:
        self.is_still = True
        self._numbers = itertools.count(1)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        may_repeat(environ, lambda: self.is_still)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(next(self._numbers)).encode()]


Ask = Callable[[Scope], bytes]
Asking = Callable[[Callable[..., Any]], Ask]


@pytest.fixture
def asking() -> Iterator[Asking]:
    loop = asyncio.new_event_loop()

    def begin(application: Callable[..., Any]) -> Ask:
        adapter = Adapter(application, threads=1)
        adapter.__rsgi_init__(loop)

        def ask(scope: Scope) -> bytes:
            protocol = Protocol()
            adapter.answer(scope, protocol)
            return protocol.body

        return ask

    yield begin
    loop.close()


def test_an_equal_request_gets_the_same_response_when_it_comes_the_third_time(asking: Asking) -> None:
    ask = asking(Counting())
    other_port = replace(USUAL, client="127.0.0.1:50001")
    assert [ask(USUAL), ask(other_port), ask(USUAL), ask(other_port)] == [b"1", b"2", b"2", b"2"]


@pytest.mark.parametrize(
    "change",
    [{"method": "HEAD"}, {"path": "/simple"}, {"query_string": "a"}, {"http_version": "1"}, {"server": "127.0.0.1:81"},
     {"client": "127.0.0.2:50000"}, {"scheme": "https"}, {"authority": "a"},
     {"headers": Headers([("host", "a")])}, {"headers": Headers([("host", "b"), ("accept", "text/html")])},
     {"headers": Headers([("host", "a"), ("accept", "text/html"), ("range", "bytes=0-1")])}],
)  # fmt: skip
def test_a_request_that_differs_in_anything_is_another_one(asking: Asking, change: dict[str, Any]) -> None:
    ask = asking(Counting())
    assert [ask(USUAL) for _ in range(3)][-1] == b"2"
    assert ask(replace(USUAL, **change)) == b"3"


@pytest.mark.parametrize(
    "headers",
    [[("x-odd", "\xff")], [("x-odd", "\xff"), ("host", "b")], [("authorization", "Basic YTpi")], [("cookie", "a=b")]],
)
def test_requests_with_secrets_and_hidden_values_are_never_equal(
    asking: Asking, headers: list[tuple[str, str]]
) -> None:
    ask, scope = asking(Counting()), replace(USUAL, headers=Headers([("host", "a"), *headers]))
    assert [ask(scope) for _ in range(4)] == [b"1", b"2", b"3", b"4"]


def test_a_response_that_is_outdated_is_made_again(asking: Asking) -> None:
    application = Counting()
    ask = asking(application)
    assert [ask(USUAL) for _ in range(3)][-1] == b"2"
    application.is_still = False
    assert [ask(USUAL), ask(USUAL)] == [b"3", b"4"]
    application.is_still = True
    assert ask(USUAL) == b"4"


def test_a_response_of_an_application_that_was_replaced_is_not_repeated(asking: Asking) -> None:
    application = ReloadableApp(lambda again=False: Counting())
    ask = asking(application)
    assert [ask(USUAL) for _ in range(4)] == [b"1", b"2", b"2", b"2"]
    application.reload()
    assert [ask(USUAL) for _ in range(2)] == [b"1", b"1"]


def test_the_memory_is_bounded_in_bytes() -> None:
    memory = ResponseMemory(1_000_000)
    for number in range(100):
        head = head_of(replace(USUAL, path=f"/{number}"), "127.0.0.1:1")
        memory.keep(head, Response(200, [], bytes(50_000), lambda: True))
    assert sum(memory.get(head_of(replace(USUAL, path=f"/{n}"), "127.0.0.1:1")) is not None for n in range(100)) == 18


# -- the application -------------------------------------------------------------------------------------------------


class Asked:
    """An application that counts how often it is asked."""

    def __init__(self, application: Callable[..., Any]) -> None:
        self._application = application
        self.count = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        self.count += 1
        return self._application(environ, start_response)


@pytest.fixture
def asked(
    serve: Serve, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[RsgiClient, Asked]]]:
    # Four times a second a request asks the database.
    monkeypatch.setattr("pypiserver.catalog.state.SIGNAL_SECONDS", 60.0)
    put(*make_wheel("foo", "1.0"))

    def begin(**settings: Any) -> tuple[RsgiClient, Asked]:
        application = Asked(serve(disable_fallback=True, **settings)._application)
        return RsgiClient(application), application

    yield begin


def is_repeated(client: RsgiClient, application: Asked, path: str, **headers: str) -> bool:
    """Whether the application is not asked in the end: what is read in the background changes the catalog once more."""

    def settled() -> bool:
        before = application.count
        client.get(path, **headers)
        return application.count == before

    return eventually(settled, 10.0)


@pytest.mark.parametrize("path", ["/simple/foo/", "/simple/", "/+simple/foo/", WHEEL, f"{WHEEL}.metadata"])
def test_pages_and_small_files_are_repeated_with_the_same_bytes(asked: Callable[..., Any], path: str) -> None:
    client, application = asked()
    assert is_repeated(client, application, path)
    again = client.get(path)
    expected = Client(application._application).get(path)
    assert (again.status, again.headers, again.body) == (expected.status, expected.headers, expected.body)
    validator = {"HTTP_IF_NONE_MATCH": expected.headers["etag"]}
    assert is_repeated(client, application, path, **validator)
    assert client.get(path, **validator).status == 304


def test_a_change_ends_what_is_repeated(asked: Callable[..., Any]) -> None:
    client, application = asked(overwrite=True)
    for path in ("/simple/foo/", WHEEL):
        assert is_repeated(client, application, path)
    assert client.upload(*make_wheel("foo", "2.0")).status == 200
    assert "foo-2.0" in client.get("/simple/foo/").text
    name, data = make_wheel("foo", "1.0", summary="Other bytes.")
    before = client.get(WHEEL).body
    assert client.upload(name, data).status == 200
    assert (client.get(WHEEL).body, before == data) == (data, False)
    assert is_repeated(client, application, WHEEL)
    body, kind = form({":action": "remove_pkg", "name": "foo", "version": "1.0"})
    assert client.post("/", body, CONTENT_TYPE=kind).status == 200
    assert client.get(WHEEL).status == 404


def test_a_file_that_is_removed_by_hand_is_not_repeated_for_long(asked: Callable[..., Any], root: Path) -> None:
    client, application = asked()
    assert is_repeated(client, application, WHEEL)
    (root / WHEEL.rpartition("/")[2]).unlink()
    assert eventually(lambda: client.get(WHEEL).status == 404, 10.0)


def test_what_is_protected_is_not_repeated(asked: Callable[..., Any], tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("user:secret\n")
    client, application = asked(password_file=str(passwords), authenticate="list,download,update")
    user = {"HTTP_AUTHORIZATION": "Basic dXNlcjpzZWNyZXQ="}
    for path in ("/simple/foo/", "/simple/", WHEEL, f"{WHEEL}.metadata"):
        before = application.count
        assert [client.get(path, **user).status for _ in range(6)] == [200] * 6
        assert [client.get(path).status for _ in range(6)] == [401] * 6
        assert application.count >= before + 12


def test_each_repetition_is_noted(asking: Asking) -> None:
    class Notes:
        note = staticmethod(exchange)
        again = staticmethod(exchanged_again)

        def __init__(self) -> None:
            self.seen: list[Any] = []

        def observe(self, notes: Iterable[Any]) -> None:
            self.seen += notes

        def close(self) -> None:
            pass

    notes = Notes()
    observers = Observers([notes])
    application = Counting()
    ask = asking(observe(application, observers))
    for _ in range(5):
        ask(USUAL)
    application.is_still = False
    ask(USUAL)
    observers.close()
    assert len(notes.seen) == 6
    assert {(each.method, each.sent) for each in notes.seen} == {("GET", 1)}
    assert all(abs(each.when - time.time()) < 60 and 0 <= each.seconds < 1 for each in notes.seen)


def test_a_server_that_repeats_nothing_gets_no_leave() -> None:
    environ: dict[str, Any] = {}
    may_repeat(environ, lambda: True)
    assert STILL not in environ
