"""What happened to each request, told to those who write about it: access log, metrics, statistics.

The rules to keep: in the request's own thread each observer only makes a note, and one thread per process hands it
back a moment later, many at once, so that a slow disk slows no answer; whoever observes may fail and nobody else
notices; the thread starts with the first request in the process that serves, and ``close`` tells what is left.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from .. import request_info
from ..process import process_id
from ..server.expect_continue import BodyWantedError
from ..supervisor import Loop

_LOG = logging.getLogger(__name__)
Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
# Notes a request that ended now, in its own thread: its environ, the nanoseconds it took, the bytes sent.
MakeNote = Callable[[Environ, int, int], Any]

# So long notes are gathered before they are written about together: each time, a thread more wants the interpreter.
GATHER_SECONDS = 0.1
# More than a slow disk can be behind; what does not fit is dropped, and the log says so. A note takes 0.5 to 5 kB.
MOST_WAITING = 20_000
# Who asks is told from the begin.
LONGEST_AGENT = 200


class Exchange(NamedTuple):
    """One request with its answer, as those who count note it.

    ``when`` is when it ended (seconds since the epoch), ``seconds`` how long it took, ``sent`` the bytes of the body.
    """

    when: float
    seconds: float
    method: str
    status: int
    sent: int
    route: str | None = None
    page: str | None = None
    change: str | None = None
    download: tuple[str, str, int] | None = None
    agent: str = ""
    has_credentials: bool = False


def exchange(environ: Environ, took: int, sent: int) -> Exchange:
    """What was asked and answered, in the request of this environ that ended now."""
    get = environ.get
    return Exchange(
        time.time(),
        took / 1e9,
        environ["REQUEST_METHOD"],
        get(request_info.STATUS, 500),
        sent,
        get(request_info.ROUTE),
        get(request_info.PAGE),
        get(request_info.CHANGE),
        get(request_info.DOWNLOAD),
        get("HTTP_USER_AGENT", "")[:LONGEST_AGENT],
        "HTTP_AUTHORIZATION" in environ,
    )


class Observer(Protocol):
    """Somebody who writes about requests."""

    @property
    def note(self) -> MakeNote:
        """What makes its notes; it must not fail, nor wait. Those who have it in common share the notes."""

    def observe(self, notes: Sequence[Any]) -> None:
        """Write about these; called from one thread of the process, in the order in which the requests ended."""

    def close(self) -> None:
        """Write what is not yet written."""


class Observers:
    """Hands notes to observers, from a thread of its own. Constructing it starts nothing."""

    def __init__(self, observers: Sequence[Observer], *, gather_seconds: float = GATHER_SECONDS) -> None:
        self._observers = list(observers)
        self._gather_seconds = gather_seconds
        self._lock = threading.Lock()
        self._pid = -1
        self._closed_pid = -1
        self._reset()

    def _reset(self) -> None:
        groups: dict[MakeNote, list[Observer]] = {}
        for observer in self._observers:
            groups.setdefault(observer.note, []).append(observer)
        self._groups = [(note, deque[Any](maxlen=MOST_WAITING), group) for note, group in groups.items()]
        self._wake = threading.Event()
        self._is_awake = False
        self._closing = False
        self._thread: Loop | None = None
        self._telling = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def note(self, environ: Environ, took: int, sent: int) -> None:
        """Take note of a request that ended now, after ``took`` nanoseconds; costs next to nothing."""
        if self._pid != process_id():
            self._start()
        for note, waiting, _ in self._groups:
            waiting.append(note(environ, took, sent))
        # To ask the event itself takes as long as to make half a note.
        if not self._is_awake:
            self._rouse()

    def _rouse(self) -> None:
        thread = self._thread
        if thread is None:
            # An application that was replaced, with an answer that came to its end only now.
            self.flush()
        else:
            self._is_awake = True
            self._wake.set()
            if not thread.start():
                self._is_awake = False

    def _start(self) -> None:
        with self._lock:
            if os.getpid() not in (self._pid, self._closed_pid):
                self._reset()
                self._thread = Loop("observers", self._run, failed=self._begin_again, ended=self._sleep)
                self._thread.start()
                self._pid = os.getpid()

    def _sleep(self) -> None:
        """The next note rouses us, and begins the thread again if it ended."""
        self._is_awake = False

    def _begin_again(self, error: Exception) -> None:
        self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait()
            time.sleep(0 if self._closing else self._gather_seconds)
            self._wake.clear()
            # What is noted from here on rouses us again; what was noted before is told now.
            self._is_awake = False
            self.flush()

    def flush(self) -> None:
        """Tell the observers what is waiting."""
        with self._telling:
            for _, waiting, group in self._groups:
                if len(waiting) == MOST_WAITING:
                    _LOG.error("The access log cannot keep up; lines about requests were lost.")
                notes = [waiting.popleft() for _ in range(len(waiting))]
                for observer in group if notes else ():
                    try:
                        observer.observe(notes)
                    except Exception:  # noqa: BLE001 - logged with its traceback
                        # No reason to stop telling the others, or of the next requests.
                        _LOG.exception("%s failed; it knows nothing of some requests.", type(observer).__name__)

    def close(self) -> None:
        """End the thread of this process, once everything is told."""
        if self._pid == os.getpid() and self._thread is not None:
            self._closing = True
            self._wake.set()
            self._thread.join(timeout=5)
            self._pid, self._closed_pid, self._thread, self._is_awake = -1, os.getpid(), None, False
            self.flush()
        for observer in self._observers:
            observer.close()


def observe(application: Application, observers: Observers) -> Application:
    """The application with every request noted once its body is sent; it leaves ``facts.STATUS`` in the environ."""
    note, clock = observers.note, time.perf_counter_ns

    def observed(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        began = clock()
        try:
            body = application(environ, start_response)
        except BodyWantedError:
            # It is not answered yet.
            raise
        except BaseException:
            note(environ, clock() - began, 0)
            raise
        if type(body) is list:
            sent = len(body[0]) if len(body) == 1 else sum(map(len, body))
        elif request_info.LENGTH in environ:
            sent = environ[request_info.LENGTH]
        else:
            return _Counted(body, lambda sent: note(environ, clock() - began, sent))
        note(environ, clock() - began, sent)
        return body

    return observed


class _Counted:
    """A body whose bytes are counted while it is sent; ``close`` may come before its end, when the client is gone."""

    def __init__(self, body: Iterable[bytes], ended: Callable[[int], None]) -> None:
        self._body = body
        self._blocks = iter(body)
        self._ended = ended
        self._sent = 0
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block = next(self._blocks)
        self._sent += len(block)
        return block

    def close(self) -> None:
        """End the body, as PEP 3333 asks of whoever wraps one."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            if self._is_open:
                self._is_open = False
                self._ended(self._sent)
