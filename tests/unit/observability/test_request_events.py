"""What observers are told of requests: the truth, later than the answer, and whatever becomes of other observers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any
from wsgiref.util import FileWrapper

import pytest

from pypiserver import request_info
from pypiserver.observability import request_events
from pypiserver.observability.request_events import Observers, RequestEvent, exchange, exchanged_again, observe
from pypiserver.web.html.pages import Frame
from pypiserver.web.http.dispatch import Dispatch
from pypiserver.web.http.prepared_response import PreparedResponse

from .test_request_lines import environ


class Notes:
    """An observer that keeps what it is told; it fails at routes that say so."""

    note = staticmethod(exchange)
    again = staticmethod(exchanged_again)

    def __init__(self) -> None:
        self.seen: list[RequestEvent] = []

    def observe(self, exchanges: Iterable[RequestEvent]) -> None:
        self.seen += exchanges
        if any("fail" in (each.route or "") for each in self.seen):
            raise OSError("disk gone")

    def close(self) -> None:
        pass


def run(application: Any, **request: Any) -> list[RequestEvent]:
    notes = Notes()
    observers = Observers([notes])
    body = observe(application, observers)(environ(**request), lambda *_: lambda data: None)
    for _ in body:
        pass
    getattr(body, "close", lambda: None)()
    observers.close()
    return notes.seen


def answering(body: object, *, length: int) -> Dispatch:
    application = Dispatch(lambda error: error, Frame())
    answer = PreparedResponse(body, [("Content-Length", str(length))], status="206 Partial Content")
    application.route("/simple/", "GET", lambda: answer)
    return application


def broken(_: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    raise OSError("lost")


def test_status_and_bytes_are_those_that_were_sent() -> None:
    wrapper = {"wsgi.file_wrapper": FileWrapper}
    for application, asked, sent in (
        (answering(b"abc", length=3), {}, 3),
        (answering(b"abc", length=3), {"REQUEST_METHOD": "HEAD"}, 0),
        (answering([b"abc", b"de"], length=5), {}, 5),
        (answering(iter([b"abc", b"", b"de"]), length=9), {}, 5),
        (answering(BytesIO(b"never read"), length=9), wrapper, 9),
    ):
        assert [(each.status, each.sent) for each in run(application, **asked)] == [(206, sent)]
    with pytest.raises(OSError, match="lost"):
        run(broken)


def test_an_answer_that_never_began_is_noted_as_a_failure() -> None:
    notes = Notes()
    observers = Observers([notes])
    with pytest.raises(OSError, match="lost"):
        observe(broken, observers)(environ(), lambda *_: None)
    observers.close()
    assert [(each.status, each.sent) for each in notes.seen] == [(500, 0)]


class Stuck:
    """An observer that notes the bytes, and is as slow as a disk that does not answer until it is set free."""

    def __init__(self) -> None:
        self.note = lambda environ, took, sent: sent
        self.seen: list[int] = []
        self.is_asked, self.is_free = threading.Event(), threading.Event()

    def observe(self, notes: Iterable[int]) -> None:
        self.is_asked.set()
        self.is_free.wait(60)
        self.seen += notes

    def close(self) -> None:
        pass


def test_a_slow_disk_slows_no_one_and_what_is_lost_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(request_events, "MOST_WAITING", 3)
    stuck = Stuck()
    observers = Observers([stuck], gather_seconds=0)
    observers.note(environ(), 1_000, 0)
    assert stuck.is_asked.wait(60)
    for sent in range(1, 7):
        observers.note(environ(), 1_000, sent)
    stuck.is_free.set()
    observers.close()
    assert stuck.seen == [0, 4, 5, 6]
    assert "lines about requests were lost" in caplog.text


class Queued:
    """An observer that queues the bytes of each request."""

    def __init__(self, told: queue.Queue[int]) -> None:
        self.note = lambda environ, took, sent: sent
        self._told = told

    def observe(self, notes: Iterable[int]) -> None:
        for note in notes:
            self._told.put(note)

    def close(self) -> None:
        pass


def test_each_note_is_told_by_itself_and_after_the_end_at_once() -> None:
    told: queue.Queue[int] = queue.Queue()
    observers = Observers([Queued(told)], gather_seconds=0)
    for sent in range(3):
        observers.note(environ(), 1_000, sent)
        assert told.get(timeout=60) == sent
    observers.close()
    observers.note(environ(), 1_000, 3)
    assert told.get_nowait() == 3


def test_observers_with_the_same_notes_share_them() -> None:
    first, second, other = Notes(), Notes(), Stuck()
    other.is_free.set()
    observers = Observers([first, other, second])
    observers.note(environ(), 1_000, 7)
    observers.close()
    assert first.seen[0] is second.seen[0]
    assert (first.seen[0].sent, other.seen) == (7, [7])


def test_an_observer_that_fails_is_logged_and_harms_no_one(caplog: pytest.LogCaptureFixture) -> None:
    failing, other = Notes(), Notes()
    observers = Observers([failing, other])
    application = observe(lambda environ, start: [b""], observers)
    for path in ("/fail", "/well"):
        application(environ(**{request_info.ROUTE: path}), lambda *_: None)
        observers.flush()
    observers.close()
    assert [each.route for each in other.seen] == ["/fail", "/well"]
    assert "Notes failed" in caplog.text
    assert "disk gone" in caplog.text
