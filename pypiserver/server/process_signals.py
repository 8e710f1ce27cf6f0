"""Signals in servers with several processes, and whether closing the terminal ends the server.

**Invariants:** only its parent tells a worker to end, so an interrupt from the keyboard, which all processes of a
terminal get, is for the parent; no worker misses the signal to end, however recently it started; a server started in a
terminal ends with the terminal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

_CAN_HOLD = hasattr(signal, "pthread_sigmask")


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Block interrupts and SIGTERM during the start of a worker, which starts with both of them blocked.

    Otherwise the worker would handle them with its parent's handlers, which do not work in it.
    """
    if not _CAN_HOLD:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker() -> None:
    """In a worker, before it makes its application: let SIGTERM end it at once, until its server sets a handler."""
    if _CAN_HOLD:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGURG, lambda *_: None)
    let_sigterm_in()


def wake_main_thread() -> None:
    """Let the main thread of a worker handle pending signals; call it periodically from another thread.

    A signal that arrives in another thread, or just before the main thread starts to wait for an event without a time
    limit, is handled only when the main thread wakes: Python runs handlers in the main thread alone.
    """
    main = threading.main_thread().ident
    if _CAN_HOLD and main is not None:
        signal.pthread_kill(main, signal.SIGURG)


def let_sigterm_in() -> None:
    """In a worker that has a handler for SIGTERM: unblock it. Interrupts and hang-ups are for the parent alone."""
    if _CAN_HOLD:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def ends_with_terminal() -> bool:
    """Whether SIGHUP means that the terminal was closed: there is one, and ``nohup`` was not used.

    Call it before a handler is set. Without a terminal, SIGHUP means that the settings are to be read again.
    """
    if sys.platform == "win32" or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Until a server handles SIGTERM: let it end the block by SystemExit, so that temporary files are removed.

    Without this, the first process of a container would not end at all: the kernel drops signals that it does not
    handle.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
