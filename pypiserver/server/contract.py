"""What every server gets and must offer: options, hooks, the address, and how it is told to end.

**Invariants:** a port in use is noticed before anything starts, and reported in one sentence; a server ends within
GRACE_SECONDS of SIGTERM.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from ..errors import ConfigError
from ..supervisor import Loop, once
from ..text import LOOPBACK, url_host
from .graceful_shutdown import GracefulShutdown
from .interrupts import Interrupts
from .open_files import can_open_again
from .process_signals import ends_with_terminal
from .transfers import UnderWay

# The logger of the lines about the start and end of the server; they have level INFO.
SERVER = "pypiserver.server"
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
OnReady = Callable[[str, int], None]
# Whether granian's event loop answers: it opens the files it sends by paths that only Linux has. Elsewhere a thread
# answers each request, as under gunicorn.
IS_ON_LOOP = can_open_again()


def threads_on_loop(processors: int) -> int:
    """The default where an event loop waits for clients: threads are for disks, databases and passwords.

    Up to five logins for each processor hold one (``access.authentication``), and others must find one.
    """
    return max(16, 8 * processors)


# Threads that wait for slow clients cost little; with fewer, 60 slow uploads and 40 stalled downloads block others.
DEFAULT_THREADS = {
    "granian": threads_on_loop(os.cpu_count() or 1) if IS_ON_LOOP else 160,
    "waitress": 16,
    "gunicorn": 160,
}
# Seconds after which a server that does not end is told again, and between looks whether it is time.
INSIST_SECONDS = 5.0
INSIST_LOOK_SECONDS = 1.0
# Seconds that a running upload gets after SIGTERM.
GRACE_SECONDS = 8
OUTLASTED = f"Requests were still under way {GRACE_SECONDS} seconds after the end was asked for; they were cut off."
BACKLOG = 1024


class MakeApplication(Protocol):
    """Makes the application in the process that serves, because an application must not cross a fork."""

    def __call__(self, again: bool = ...) -> WSGI:
        """Make it; ``again`` says that an application serves already. Raises PypiServerError if it cannot be made."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve: ``threads`` is None for the server's own default, ``connections`` is the limit of each process.

    ``tells_names_apart`` asks for a server that drops headers with an underscore in their name; ``reads_elsewhere``
    says that the bytes of files may come from another machine while they are sent.
    """

    server: str = "auto"
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    threads: int | None = None
    certificate: Path | None = None
    key: Path | None = None
    max_upload_size: int = 4 << 30
    connections: int = 1500
    header_bytes: int = 65_536
    stall_seconds: int = 60
    drain_seconds: int = 0
    tells_names_apart: bool = False
    reads_elsewhere: bool = False

    @property
    def name(self) -> str:
        """The server's name, with ``auto`` resolved."""
        if self.server != "auto":
            return self.server
        # By WSGI granian merges X-Forwarded-Host and X_Forwarded_Host, which proxies pass on, into one.
        is_fit = IS_ON_LOOP or not self.tells_names_apart
        return "granian" if is_fit and importlib.util.find_spec("granian") else "waitress"

    @property
    def is_on_loop(self) -> bool:
        """Whether slow clients hold no threads."""
        return IS_ON_LOOP and self.name == "granian"

    @property
    def thread_count(self) -> int:
        """The number of requests that a process answers at once."""
        return self.threads or DEFAULT_THREADS.get(self.name, 16)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a server calls in the process that started it: when it accepts connections, and at SIGHUP."""

    ready: Callable[[], None]
    reload: Callable[[], None]


@contextlib.contextmanager
def reserved(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound to the address, not listening yet; raises ConfigError if it cannot be bound."""
    with refusals(host, port):
        family, address = _resolved(host, port)
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            if sys.platform != "win32":
                # So that a restart does not wait until the system forgets the connections of the last run.
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    with bound:
        yield bound


@contextlib.contextmanager
def refusals(host: str, port: int) -> Iterator[None]:
    """Turn the system's errors on binding to this address into ConfigErrors."""
    try:
        yield
    except (socket.gaierror, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"The host {host!r} to listen on is not known ({why}); give an IP address.",
            kind="unknown",
            setting="host",
            value=host,
        ) from error
    except OSError as error:
        setting, value = ("host", host) if error.errno == errno.EADDRNOTAVAIL else ("port", port)
        raise ConfigError(_refused(host, port, error), kind="unusable", setting=setting, value=value) from error


def first_address(host: str, port: int) -> str:
    """The IP address to listen on; raises the errors that :func:`refusals` translates."""
    return str(_resolved(host, port)[1][0])


def _resolved(host: str, port: int) -> tuple[int, tuple[Any, ...]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name such as localhost has several addresses; clients that get a name try the IPv4 one in any case.
    family, _, _, _, address = sorted(found, key=lambda each: each[0] != socket.AF_INET)[0]
    return family, address


def port_of(bound: socket.socket) -> int:
    """The port a socket is bound to."""
    return int(bound.getsockname()[1])


def _refused(host: str, port: int, error: OSError) -> str:
    shown = f"{url_host(host)}:{port}"
    if error.errno == errno.EADDRINUSE:
        ask = "netstat -ano" if sys.platform == "win32" else f"ss -ltnp 'sport = :{port}'"
        return f"The address {shown} is in use by another program (which: {ask}); end it, or choose a port with -p."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"This user may not listen on {shown} ({error.strerror}); choose a port above 1023 with -p."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"This machine has no address {host}; give one of its own with -i, or 0.0.0.0 for all of them."
    return f"Nothing can listen on {shown}: {error.strerror or error}."


def say_ending(under_way: UnderWay) -> None:
    """Log that the server was told to end, and what it waits for; never call it in a signal handler."""
    data = {"event": "ending", **under_way._asdict(), "seconds": GRACE_SECONDS}
    said = f"waiting for {under_way}, at most {GRACE_SECONDS} seconds; Ctrl-C again ends now"
    waits = said if any(under_way) else "no upload or download is under way"
    logging.getLogger(SERVER).info("The server was told to end: %s.", waits, extra={"data": data})


def say_cut() -> None:
    """Log that the server ended at once; never call it in a signal handler."""
    data = {"event": "cut"}
    logging.getLogger(SERVER).info("Told to end at once: requests under way are cut off.", extra={"data": data})


def tell_when_it_accepts(host: str, port: int, told: Callable[[], None]) -> None:
    """Call ``told`` from a thread as soon as the address accepts connections."""
    local = LOOPBACK.get(host, host)

    def wait() -> None:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((local, port), timeout=5).close()
                break
            time.sleep(0.02)
        told()

    once("ready", wait)


@contextlib.contextmanager
def ended_by_sigterm(drain: GracefulShutdown, interrupts: Interrupts) -> Iterator[None]:
    """Let SIGTERM end a server like an interrupt from the keyboard, so that the server closes what it holds.

    The interrupt is repeated until the server ends: it may be lost, and a request may not end. A signal that comes
    again sooner does not disturb the closing, because some programs send each signal twice, or SIGHUP after SIGTERM.
    """
    over = threading.Event()
    told = -INSIST_SECONDS

    def insist() -> None:
        while not over.wait(INSIST_LOOK_SECONDS):
            # Not by SIGINT: another one ends the server at once.
            if told > 0 and time.monotonic() - told >= INSIST_SECONDS:
                os.kill(os.getpid(), signal.SIGTERM)

    def interrupt(number: int, frame: FrameType | None) -> None:
        # No lock here: a signal may arrive while another one is handled.
        nonlocal told
        if not over.is_set() and time.monotonic() - told >= INSIST_SECONDS:
            told = time.monotonic()
            interrupts.interrupt()

    # An exception may be postponed, or lost.
    handle = drain.before(interrupt, lambda: os._exit(128 + signal.SIGINT))
    signal.signal(signal.SIGTERM, handle)
    # Not if SIGINT is ignored, as in the background of a shell.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, handle)
    if ends_with_terminal():
        signal.signal(signal.SIGHUP, interrupt)
    Loop("end", insist).start()
    try:
        yield
    finally:
        over.set()
