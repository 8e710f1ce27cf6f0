"""Signals where a server has several processes, and whether the end of a terminal is its end.

The rules to keep: a worker is told to end by its parent alone, so an interrupt from the keyboard, which all processes
of a terminal get, is for the parent; no worker misses that it is told to end, however young it is; what was started in
a terminal ends with it.
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
    """Hold interrupts and SIGTERM back while a worker is started: it begins with both of them held back.

    Otherwise it would get them with its parent's handlers, which are of no use in it.
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
    """In a worker, before it makes its application: SIGTERM ends it at once, until its server sets a handler."""
    if _CAN_HOLD:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGURG, lambda *_: None)
    let_sigterm_in()


def wake_main_thread() -> None:
    """Let the main thread of a worker handle the signals that came; to be called now and then from another one.

    A signal that came to another thread, or just before the main one began to wait for an event without a time limit,
    is noted and not handled until that wakes (Python runs handlers in the main thread alone).
    """
    main = threading.main_thread().ident
    if _CAN_HOLD and main is not None:
        signal.pthread_kill(main, signal.SIGURG)


def let_sigterm_in() -> None:
    """In a worker that has a handler for SIGTERM: let it come. Interrupts and hang-ups are for the parent alone."""
    if _CAN_HOLD:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def ends_with_terminal() -> bool:
    """Whether SIGHUP means that the terminal is closed: there is one, and ``nohup`` was not asked to outlive it.

    To be asked before a handler is set. Elsewhere SIGHUP means that the settings are to be read again.
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
    """Until a server handles it: let SIGTERM end the block by SystemExit, so that what was made is removed.

    The first process of a container would not even end: there the system drops signals that are not handled.
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
