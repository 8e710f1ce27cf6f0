"""The interrupt that ends a server of bottle's: no request and no task takes it for a failure of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pypiserver.server import contract
from pypiserver.server.graceful_shutdown import GracefulShutdown
from pypiserver.server.interrupts import Interrupts, interrupts_of

UNIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")


@pytest.fixture
def as_before() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("server", ["aiohttp", "uvloop", "tornado"])
def test_within_a_task_it_leaves_the_loop_and_not_the_task(server: str) -> None:
    """A task would keep it, and asyncio would print it with a traceback: "Task exception was never retrieved"."""
    loop, said, done = asyncio.new_event_loop(), [], []
    loop.set_exception_handler(lambda loop, context: said.append(context["message"]))
    interrupts = interrupts_of(server)

    async def answer() -> None:
        interrupts.interrupt()
        done.append("answered")

    task = loop.create_task(answer())
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert done == ["answered"] and task.done() and task.exception() is None
    del task
    gc.collect()
    loop.close()
    assert said == []


@pytest.mark.parametrize("server", ["aiohttp", "wsgiref", "cheroot"])
def test_where_nothing_runs_it_comes_at_once(server: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupts_of(server).interrupt()


def test_within_a_request_it_comes_after_it_and_a_second_one_at_once() -> None:
    interrupts, done = Interrupts(lambda is_again: False), []
    with pytest.raises(KeyboardInterrupt), interrupts.request():
        interrupts.interrupt()
        done.append("answered")
    assert done == ["answered"]
    again = Interrupts(lambda is_again: not is_again)
    again.interrupt()
    with pytest.raises(KeyboardInterrupt):
        again.interrupt()


def test_a_server_of_wsgiref_answers_the_request_before_it_ends() -> None:
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    interrupts = interrupts_of("wsgiref")

    class Silent(WSGIRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        interrupts.interrupt()
        start_response("200 OK", [("Content-Length", "4")])
        return [b"here"]

    answers: list[bytes] = []

    def ask(port: int) -> None:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/")
        answers.append(connection.getresponse().read())
        connection.close()

    with make_server("127.0.0.1", 0, application, interrupts.wsgiref_server(), Silent) as server:
        client = threading.Thread(target=ask, args=(server.server_port,))
        client.start()
        with pytest.raises(KeyboardInterrupt):
            server.handle_request()
        client.join(60)
    assert answers == [b"here"]


@UNIX
def test_a_signal_that_comes_again_does_not_disturb_the_closing(as_before: None) -> None:
    closed = []
    with (
        contextlib.suppress(KeyboardInterrupt),
        contract.ended_by_sigterm(GracefulShutdown(0), interrupts_of("cheroot")),
    ):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            closed.append("server")
    os.kill(os.getpid(), signal.SIGTERM)
    closed.append("application")
    assert closed == ["server", "application"]


@UNIX
def test_an_interrupt_that_was_lost_is_repeated(as_before: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "INSIST_SECONDS", 0.02)
    monkeypatch.setattr(contract, "INSIST_LOOK_SECONDS", 0.01)
    with contract.ended_by_sigterm(GracefulShutdown(0), interrupts_of("cheroot")):
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(60)
        with pytest.raises(KeyboardInterrupt):
            threading.Event().wait(60)
