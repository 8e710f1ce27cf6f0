"""How many uploads and downloads are under way, in all processes of a server.

**Invariants:** a request without a long body costs one comparison; the counts of a process that died count no more; a
process that gets no place in the table serves without being counted.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

_Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# More workers than this are not counted. Each has three numbers: process id, uploads, downloads.
MOST_PROCESSES = 256
_UPLOADS, _DOWNLOADS = 1, 2
_WIDTH = 3
CLAIM_SECONDS = 1.0


class UnderWay(NamedTuple):
    """What a server that is told to end waits for."""

    uploads: int = 0
    downloads: int = 0

    def __str__(self) -> str:
        counts = ((self.uploads, "upload"), (self.downloads, "download"))
        return " and ".join(f"{count} {what}{'s' * (count != 1)}" for count, what in counts if count)


class Transfers:
    """The table that all processes of a server share; it can be handed to workers as they start."""

    def __init__(self) -> None:
        self._table = multiprocessing.RawArray("i", MOST_PROCESSES * _WIDTH)
        self._claiming = multiprocessing.Lock()
        self._begin_process()

    def _begin_process(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._place: int | None = None
        self._has_asked = False

    def __getstate__(self) -> dict[str, Any]:
        return {"_table": self._table, "_claiming": self._claiming}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._begin_process()

    def count(self) -> UnderWay:
        """What is under way now in the processes that are alive."""
        table = self._table
        alive = [at for at in range(0, len(table), _WIDTH) if table[at] and _is_alive(table[at])]
        uploads, downloads = (sum(max(0, table[at + kind]) for at in alive) for kind in (_UPLOADS, _DOWNLOADS))
        return UnderWay(uploads, downloads)

    @contextlib.contextmanager
    def upload(self) -> Iterator[None]:
        """Count an upload during the block."""
        self._add(_UPLOADS, 1)
        try:
            yield
        finally:
            self._add(_UPLOADS, -1)

    def note_download(self, number: int) -> None:
        """Count one more download (1), or the end of one (-1)."""
        self._add(_DOWNLOADS, number)

    def counted(self, application: _Wsgi) -> _Wsgi:
        """The application, with its uploads and downloads counted."""

        def counting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if environ["REQUEST_METHOD"] == "POST" and environ.get("CONTENT_TYPE", "").startswith("multipart/"):
                with self.upload():
                    return application(environ, start_response)
            body = application(environ, start_response)
            return body if type(body) is list else self._until_closed(body)

        return counting

    def _until_closed(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """The body itself, because servers send some types in ways of their own."""
        try:
            close = weakref.WeakMethod(body.close)  # type: ignore[attr-defined]
            left = weakref.finalize(body, self._add, _DOWNLOADS, -1)
            body.close = _both(left, close)  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            return body
        left.atexit = False
        self._add(_DOWNLOADS, 1)
        return body

    def _add(self, kind: int, number: int) -> None:
        if self._pid != os.getpid():
            self._begin_process()
        with self._lock:
            if not self._has_asked:
                self._has_asked, self._place = True, self._claim()
            if self._place is not None:
                self._table[self._place + kind] += number

    def _claim(self) -> int | None:
        """A place in the table for this process; None if there is none."""
        table = self._table
        # A process that was killed as it claimed a place keeps the lock.
        if not self._claiming.acquire(timeout=CLAIM_SECONDS):
            return None
        try:
            for at in range(0, len(table), _WIDTH):
                if not table[at] or table[at] == self._pid or not _is_alive(table[at]):
                    table[at : at + _WIDTH] = [self._pid, 0, 0]
                    return at
        finally:
            self._claiming.release()
        return None


def _both(left: Callable[[], object], close: weakref.WeakMethod[Any]) -> Callable[[], None]:
    def closed() -> None:
        left()
        method = close()
        if method is not None:
            method()

    return closed


def _is_alive(pid: int) -> bool:
    # Windows would end the process.
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
