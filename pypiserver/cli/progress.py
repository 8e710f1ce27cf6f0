"""The progress of long work: a bar with rate and remaining time on a terminal, nothing elsewhere.

**Invariants:** short work shows nothing; at the end the line is cleared, so later output begins on a clean one; a line
is never wider than the terminal; no thread is started, because servers fork after this.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TextIO

Tell = Callable[[int, int], None]
# Seconds: a shorter wait needs no bar, and a user reads no faster than the second number.
DELAY_SECONDS = 0.5
PAUSE_SECONDS = 0.1
WIDTH = 30


@contextlib.contextmanager
def progress(what: str, stream: TextIO | None, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Tell]:
    """Yield a function that takes (done, total), with total 0 while unknown; ``what`` is the text before the bar."""
    if stream is None or not stream.isatty():
        yield _nothing
        return
    bar = _Bar(what, stream, clock)
    try:
        yield bar.tell
    finally:
        bar.close()


def _nothing(done: int, total: int) -> None:
    """Ignore progress: the stream is not a terminal."""


class _Bar:
    """One line that is overwritten; ``clock`` returns seconds."""

    def __init__(self, what: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._what = what
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self._due = self._began + DELAY_SECONDS
        self._length = 0

    def tell(self, done: int, total: int) -> None:
        """Draw the line, unless it was drawn a moment ago; clear it when all is done."""
        if done == total:
            self.close()
            return
        now = self._clock()
        if now >= self._due:
            self._due = now + PAUSE_SECONDS
            self._draw(_line(self._what, done, total, now - self._began))

    def close(self) -> None:
        """Clear the line."""
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
    """The bar, or the count if the total is unknown; with the rate since the beginning once it is known."""
    pace = done / seconds if seconds > 0 else 0.0
    shown = f", {pace:,.0f}/s" if pace >= 1 else ""
    if not total:
        return f"{what} {done:,}{shown}"
    left = f", {datetime.timedelta(seconds=round((total - done) / pace))} left" if pace else ""
    return f"{what} [{'#' * (WIDTH * done // total):<{WIDTH}}] {done:,}/{total:,}{shown}{left}"
