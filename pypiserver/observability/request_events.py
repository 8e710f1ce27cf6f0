"""Reports each finished request to its observers: access log, metrics, statistics.

**Invariants:** in the request's own thread each observer only makes a note, and one thread per process hands it the
notes in batches a moment later, so that a slow disk slows no answer; an observer may fail without effect on any other
part; the thread starts with the first request in the process that serves, and ``close`` hands over the remaining notes.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from .. import request_info
from ..deferred import Postponed, Waits, WantsBody
from ..process import PerProcess
from ..repeatable import STILL, Still
from ..server.expect_continue import BodyWantedError
from ..supervisor import Loop
from .counted_body import CountedBody
from .log_handlers import EARLIER

_LOG = logging.getLogger(__name__)
Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
# Notes a request that ended now, in its own thread: its environ, the nanoseconds it took, the bytes sent.
MakeNote = Callable[[Environ, int, int], Any]
# Makes the same note of each repetition of that response: of the nanoseconds it took.
NoteAgain = Callable[[int], Any]

# Seconds during which notes gather before they are written: for each batch, one more thread needs the interpreter.
GATHER_SECONDS = 0.1
# A slow disk is never this far behind; further notes are dropped, and the log says so. A note takes 0.5 to 5 kB.
MOST_WAITING = 20_000
# The beginning of a User-Agent tells which client it is.
LONGEST_AGENT = 200


class RequestEvent(NamedTuple):
    """One request with its answer, as the observers that count note it.

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
    elsewhere: tuple[str, str] | None = None


def exchange(environ: Environ, took: int, sent: int) -> RequestEvent:
    """The request of this environ, which ended now, and its answer."""
    get = environ.get
    return RequestEvent(
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
        get(request_info.ELSEWHERE),
    )


def exchanged_again(environ: Environ, sent: int) -> NoteAgain:
    """What :func:`exchange` notes of this request each time its response is repeated."""
    first = exchange(environ, 0, sent)
    return lambda took: first._replace(when=time.time(), seconds=took / 1e9)


class Observer(Protocol):
    """Writes about requests."""

    @property
    def note(self) -> MakeNote:
        """What makes its notes; it must not fail or wait. Observers with the same function share the notes."""

    @property
    def again(self) -> Callable[[Environ, int], NoteAgain]:
        """Returns what notes the repetitions of this response, of ``sent`` bytes; it keeps no environ."""

    def observe(self, notes: Sequence[Any]) -> None:
        """Write about these; called from one thread of the process, in the order in which the requests ended."""

    def close(self) -> None:
        """Write what is still in memory."""


class _Group:
    """Observers with the same function for notes, and the notes that wait for them."""

    def __init__(self, note: MakeNote, observers: Sequence[Observer]) -> None:
        self.note = note
        self.waiting = deque[Any](maxlen=MOST_WAITING)
        self.observers = observers
        self._lock = threading.RLock()
        self._is_flushing = False

    def flush(self) -> None:
        """Hand the waiting notes to the observers; does nothing when one of them calls it."""
        with self._lock:
            if self._is_flushing:
                return
            self._is_flushing = True
            try:
                self._hand_over()
            finally:
                self._is_flushing = False

    def _hand_over(self) -> None:
        waiting = self.waiting
        if len(waiting) == MOST_WAITING:
            _LOG.error("The access log cannot keep up; lines about requests were lost.")
        notes = [waiting.popleft() for _ in range(len(waiting))]
        for observer in self.observers if notes else ():
            try:
                observer.observe(notes)
            except Exception:  # noqa: BLE001 - logged with its traceback
                # Keep handing notes to the other observers, and those of the next requests to this one.
                _LOG.exception("%s failed; it knows nothing of some requests.", type(observer).__name__)


class _Telling:
    """The waiting notes of one process, and the thread that hands them over."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        groups: dict[MakeNote, list[Observer]] = {}
        for observer in observers:
            groups.setdefault(observer.note, []).append(observer)
        self.groups = [_Group(note, group) for note, group in groups.items()]
        self.notes = [(group.note, group.waiting.append) for group in self.groups]
        self.wake = threading.Event()
        self.is_awake = False
        self.is_closing = False
        self.thread: Loop | None = None

    def rouse(self) -> None:
        """Let the thread hand over the waiting notes soon."""
        thread = self.thread
        if thread is None:
            # The application was replaced, and one of its answers ended only now.
            self.flush()
        else:
            self.is_awake = True
            self.wake.set()
            if not thread.start():
                self.is_awake = False

    def sleep(self) -> None:
        """Mark the thread as asleep: the next note wakes it, and restarts it if it ended."""
        self.is_awake = False

    def flush(self) -> None:
        """Hand the waiting notes to the observers."""
        for group in self.groups:
            group.flush()


class Observers:
    """Hands notes to observers, from a thread of its own. Constructing it starts nothing."""

    def __init__(self, observers: Sequence[Observer], *, gather_seconds: float = GATHER_SECONDS) -> None:
        self._observers = list(observers)
        self._gather_seconds = gather_seconds
        self._telling = PerProcess(self._begin)
        self._lines = next((each.note for each in self._observers if getattr(each, "writes_lines", False)), None)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def note(self, environ: Environ, took: int, sent: int) -> None:
        """Note a request that ended now, after ``took`` nanoseconds; costs almost nothing."""
        telling = self._telling.value or self._telling.get()
        for make, append in telling.notes:
            append(make(environ, took, sent))
        # To ask the event itself takes half as long as to make a note.
        if not telling.is_awake:
            telling.rouse()

    def noting_again(self, environ: Environ, sent: int) -> Callable[[int], None]:
        """Returns what notes each repetition of this response, as :meth:`note` noted the first one."""
        telling = self._telling.value or self._telling.get()
        notes = [(group.observers[0].again(environ, sent), group.waiting.append) for group in telling.groups]

        def note(took: int) -> None:
            for make, append in notes:
                append(make(took))
            if not telling.is_awake:
                telling.rouse()

        return note

    def _begin(self) -> _Telling:
        telling = _Telling(self._observers)
        telling.thread = Loop(
            "observers",
            lambda: self._run(telling),
            failed=lambda error: telling.wake.set(),
            ended=telling.sleep,
        )
        telling.thread.start()
        if self._lines is not None and self._write_lines not in EARLIER:
            EARLIER.append(self._write_lines)
        return telling

    def _write_lines(self) -> None:
        """Hand the waiting notes to the access log, before a later line is written."""
        for group in self._telling.value.groups if self._telling.value is not None else ():
            if group.note == self._lines and group.waiting:
                group.flush()

    def _run(self, telling: _Telling) -> None:
        while not telling.is_closing:
            telling.wake.wait()
            time.sleep(0 if telling.is_closing else self._gather_seconds)
            telling.wake.clear()
            # A note from here on wakes the thread again; earlier notes are handed over now.
            telling.is_awake = False
            telling.flush()

    def flush(self) -> None:
        """Hand the waiting notes to the observers."""
        if self._telling.value is not None:
            self._telling.value.flush()

    def close(self) -> None:
        """End the thread of this process once all notes are handed over; later notes are handed over at once."""
        telling = self._telling.value
        with contextlib.suppress(ValueError):
            EARLIER.remove(self._write_lines)
        if telling is not None and telling.thread is not None:
            telling.is_closing = True
            telling.wake.set()
            telling.thread.join(timeout=5)
            telling.thread, telling.is_awake = None, False
            telling.flush()
        for observer in self._observers:
            observer.close()


def observe(application: Application, observers: Observers) -> Application:
    """The application, with each request noted once its body is sent; sets ``request_info.STATUS`` in the environ."""
    note, clock = observers.note, time.perf_counter_ns

    def observed(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        began = environ.get(request_info.BEGAN) or clock()
        try:
            body = application(environ, start_response)
        except (Waits, WantsBody, Postponed, BodyWantedError):
            # The request is not answered yet.
            raise
        except BaseException:
            note(environ, clock() - began, 0)
            raise
        if type(body) is list:
            sent = len(body[0]) if len(body) == 1 else sum(map(len, body))
        elif request_info.LENGTH in environ:
            sent = environ[request_info.LENGTH]
        else:
            return CountedBody(body, lambda sent: note(environ, clock() - began, sent))
        note(environ, clock() - began, sent)
        if STILL in environ:
            environ[STILL] = _noted(environ[STILL], observers.noting_again(environ, sent), clock)
        return body

    return observed


def _noted(still: Still, note: Callable[[int], None], clock: Callable[[], int]) -> Still:
    """The same answer, with a note of the repetition if there is one."""

    def still_and_noted() -> bool:
        began = clock()
        if not still():
            return False
        note(clock() - began)
        return True

    return still_and_noted
