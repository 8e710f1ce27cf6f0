"""How far long work is: a bar with pace and remaining time on a terminal, nothing elsewhere.

Invariants: work that is soon done shows nothing; when it is done the line is gone, so what is printed next begins on a
clean one; a line is never wider than the terminal; no thread is started, because servers fork after this.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TextIO

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


class _Bar:
    """One line that is written over; ``clock`` gives seconds."""

    def __init__(self, what: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._what = what
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self._due = self._began + DELAY_SECONDS
        self._length = 0

    def tell(self, done: int, total: int) -> None:
        """Draw, unless that was done a moment ago; with the last one the line is cleared."""
        if done == total:
            self.close()
            return
        now = self._clock()
        if now >= self._due:
            self._due = now + PAUSE_SECONDS
            self._draw(_line(self._what, done, total, now - self._began))

    def close(self) -> None:
        """Leave a clean line."""
        if self._length:
            self._draw("")
            self._stream.write("\r")
            self._stream.flush()

    def _draw(self, line: str) -> None:
        line = line[: shutil.get_terminal_size().columns - 1]
        self._stream.write(f"\r{line:<{self._length}}")
        self._stream.flush()
        self._length = len(line)


def _line(what: str, done: int, total: int, seconds: float) -> str:
    """The bar, or the count where the total is not known; with the pace since the beginning once there is one."""
    pace = done / seconds if seconds > 0 else 0.0
    shown = f", {pace:,.0f}/s" if pace >= 1 else ""
    if not total:
        return f"{what} {done:,}{shown}"
    left = f", {datetime.timedelta(seconds=round((total - done) / pace))} left" if pace else ""
    return f"{what} [{'#' * (WIDTH * done // total):<{WIDTH}}] {done:,}/{total:,}{shown}{left}"
