"""What happened to each request, told to those who write about it: access log, metrics, statistics.

The rules to keep: the request path only notes a few values, and one thread per process does the rest a moment later,
so that a slow disk slows no answer; whoever observes may fail and nobody else notices; the thread starts with the
first request in the process that serves, and ``close`` tells what is left.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from . import facts
from .process import process_id

_LOG = logging.getLogger(__name__)
Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# So long exchanges are gathered before they are written about together.
GATHER_SECONDS = 0.02
# More than a slow disk can be behind; what does not fit is dropped, and the log says how much.
MOST_WAITING = 100_000


class Exchange(NamedTuple):
    """One request with its answer.

    ``when`` is when it ended (seconds since the epoch), ``seconds`` how long it took, ``sent`` the bytes of the body.
    ``address`` is the client's, as far as trusted proxies tell; ``path`` is decoded as latin-1 (PEP 3333).
    """

    when: float
    seconds: float
    method: str
    path: str
    status: int
    sent: int
    address: str = ""
    user: str | None = None
    route: str | None = None
    page: str | None = None
    change: str | None = None
    download: tuple[str, str, int] | None = None
    agent: str = ""
    has_credentials: bool = False


class Observer(Protocol):
    """Somebody who writes about requests; called from one thread of the process."""

    def observe(self, exchanges: Sequence[Exchange]) -> None:
        """Take note of these; they come in the order in which they ended."""

    def close(self) -> None:
        """Write what is not yet written."""


class Observers:
    """Hands exchanges to observers, from a thread of its own. Constructing it starts nothing."""

    def __init__(self, observers: Sequence[Observer], *, gather_seconds: float = GATHER_SECONDS) -> None:
        self._observers = list(observers)
        self._gather_seconds = gather_seconds
        self._lock = threading.Lock()
        self._pid = -1
        self._closed_pid = -1
        self._reset()

    def _reset(self) -> None:
        self._waiting: deque[Exchange] = deque(maxlen=MOST_WAITING)
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._telling = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def note(self, exchange: Exchange) -> None:
        """Take an exchange; costs next to nothing."""
        if self._pid != process_id():
            self._start()
        self._waiting.append(exchange)
        if self._thread is None:
            # An application that was replaced, with an answer that came to its end only now.
            self.flush()
        elif not self._wake.is_set():
            self._wake.set()

    def _start(self) -> None:
        with self._lock:
            if os.getpid() not in (self._pid, self._closed_pid):
                self._reset()
                self._thread = threading.Thread(target=self._run, name="pypiserver-observers", daemon=True)
                self._thread.start()
                self._pid = os.getpid()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait()
            time.sleep(0 if self._closing else self._gather_seconds)
            self._wake.clear()
            self.flush()

    def flush(self) -> None:
        """Tell the observers what is waiting."""
        with self._telling:
            if len(self._waiting) == MOST_WAITING:
                _LOG.error("The access log cannot keep up; lines about requests were lost.")
            exchanges = [self._waiting.popleft() for _ in range(len(self._waiting))]
            for observer in self._observers if exchanges else ():
                try:
                    observer.observe(exchanges)
                except Exception:  # noqa: BLE001 - logged with its traceback
                    # No reason to stop telling the others, or of the next requests.
                    _LOG.exception("%s failed; it knows nothing of some requests.", type(observer).__name__)

    def close(self) -> None:
        """End the thread of this process, once everything is told."""
        if self._pid == os.getpid() and self._thread is not None:
            self._closing = True
            self._wake.set()
            self._thread.join(timeout=5)
            self.flush()
            self._pid, self._closed_pid, self._thread = -1, os.getpid(), None
        for observer in self._observers:
            observer.close()


def observe(application: Application, observers: Observers) -> Application:
    """The application with every exchange noted once its body is sent."""
    note, perf_counter = observers.note, time.perf_counter

    def observed(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        began = perf_counter()
        status = "500"
        fields: list[tuple[str, str]] = []

        def start(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal status, fields
            status, fields = line, headers
            return start_response(line, headers, *exc_info)

        try:
            body = application(environ, start)
        except BaseException:
            note(_exchange(environ, perf_counter() - began, status, 0))
            raise
        if type(body) is list:
            sent = len(body[0]) if len(body) == 1 else sum(map(len, body))
        elif isinstance(body, _file_wrapper(environ)):
            # The server recognises its own wrapper, and sends the file by itself.
            sent = next((int(value) for name, value in fields if name == "Content-Length"), 0)
        else:
            return _Counted(body, lambda sent: note(_exchange(environ, perf_counter() - began, status, sent)))
        note(_exchange(environ, perf_counter() - began, status, sent))
        return body

    return observed


def _file_wrapper(environ: Environ) -> type | tuple[()]:
    wrapper = environ.get("wsgi.file_wrapper")
    return wrapper if isinstance(wrapper, type) else ()


def _exchange(environ: Environ, seconds: float, status: str, sent: int) -> Exchange:
    get = environ.get
    # Faster than calling the class, and this is done for every request.
    return tuple.__new__(
        Exchange,
        (
            time.time(),
            seconds,
            environ["REQUEST_METHOD"],
            get("SCRIPT_NAME", "") + get("PATH_INFO", ""),
            int(status[:3]),
            sent,
            get(facts.CLIENT) or get("REMOTE_ADDR", ""),
            get(facts.USER),
            get(facts.ROUTE),
            get(facts.PAGE),
            get(facts.CHANGE),
            get(facts.DOWNLOAD),
            get("HTTP_USER_AGENT", ""),
            "HTTP_AUTHORIZATION" in environ,
        ),
    )


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
