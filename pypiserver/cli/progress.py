"""How far long work is: a bar on a terminal, nothing elsewhere.

With tqdm (``pypiserver[progress]``) it also tells the pace and the time that is left. The rules to keep: work that is
soon done shows nothing; when it is done the line is gone, so what is printed next begins on a clean one; no thread is
started, because servers fork after this.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TextIO

Tell = Callable[[int, int], None]
# Before this nobody wonders; and nobody reads faster than that.
DELAY_SECONDS = 0.5
PAUSE_SECONDS = 0.1
WIDTH = 30


@contextlib.contextmanager
def progress(what: str, stream: TextIO | None, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Tell]:
    """Give a function to be told (done, total), the total 0 while it is not known; ``what`` stands before the bar."""
    if stream is None or not stream.isatty():
        yield _nothing
        return
    bar = _Bar(what, stream, clock)
    try:
        yield bar.tell
    finally:
        bar.close()


def _nothing(done: int, total: int) -> None:
    """Nobody looks."""


class _Drawing(Protocol):
    def draw(self, done: int, total: int) -> None: ...

    def clear(self) -> None: ...


class _Bar:
    """Decides when to draw; what it draws with is made when that is first needed."""

    def __init__(self, what: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._what = what
        self._stream = stream
        self._clock = clock
        self._due = clock() + DELAY_SECONDS
        self._drawing: _Drawing | None = None

    def tell(self, done: int, total: int) -> None:
        if done == total:
            self.close()
            return
        now = self._clock()
        if now >= self._due:
            self._due = now + PAUSE_SECONDS
            if self._drawing is None:
                self._drawing = _with_tqdm(self._what, self._stream, done) or _Plain(self._what, self._stream)
            self._drawing.draw(done, total)

    def close(self) -> None:
        if self._drawing is not None:
            self._drawing.clear()
            self._drawing = None


class _Plain:
    """The bar, or the count, and no more."""

    def __init__(self, what: str, stream: TextIO) -> None:
        self._what = what
        self._stream = stream
        self._length = 0

    def draw(self, done: int, total: int) -> None:
        line = f"{self._what} {done:,}"
        if total:
            line = f"{self._what} [{'#' * (WIDTH * done // total):<{WIDTH}}] {done:,}/{total:,}"
        self._stream.write(f"\r{line:<{self._length}}")
        self._stream.flush()
        self._length = len(line)

    def clear(self) -> None:
        self._stream.write(f"\r{'':<{self._length}}\r")
        self._stream.flush()


class _Tqdm:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def draw(self, done: int, total: int) -> None:
        self._bar.n, self._bar.total = done, total or None
        self._bar.refresh()

    def clear(self) -> None:
        self._bar.close()


def _with_tqdm(what: str, stream: TextIO, done: int) -> _Drawing | None:
    """A bar of tqdm's whose pace is that from now on; None where tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None

    class Bar(tqdm):  # type: ignore[misc]
        """Without the thread that looks after bars, and the lock for bars of several processes."""

        monitor_interval = 0

    Bar.set_lock(threading.RLock())
    # Some terminals say that they have no columns and no lines, and tqdm then draws nothing.
    columns, lines = shutil.get_terminal_size()
    return _Tqdm(Bar(desc=what, file=stream, initial=done, leave=False, ncols=columns, nrows=lines, unit=""))
