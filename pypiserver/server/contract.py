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
from .graceful_shutdown import GracefulShutdown
from .process_signals import ends_with_terminal

# The logger of the lines about the start and end of the server; they have level INFO.
SERVER = "pypiserver.server"
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
OnReady = Callable[[str, int], None]
# Threads that wait for slow clients cost little; with fewer, 60 slow uploads and 40 stalled downloads block others.
DEFAULT_THREADS = {"granian": 160, "waitress": 16, "gunicorn": 160}
# Seconds after which a server that does not end is told again.
INSIST_SECONDS = 5.0
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

    ``tells_names_apart`` asks for a server that drops headers with an underscore in their name.
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

    @property
    def name(self) -> str:
        """The server's name, with ``auto`` resolved."""
        if self.server != "auto":
            return self.server
        # granian merges X-Forwarded-Host and X_Forwarded_Host, which proxies pass on, into one.
        return "granian" if importlib.util.find_spec("granian") and not self.tells_names_apart else "waitress"

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
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        ask = "netstat -ano" if sys.platform == "win32" else f"ss -ltnp 'sport = :{port}'"
        return f"The address {shown} is in use by another program (which: {ask}); end it, or choose a port with -p."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"This user may not listen on {shown} ({error.strerror}); choose a port above 1023 with -p."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"This machine has no address {host}; give one of its own with -i, or 0.0.0.0 for all of them."
    return f"Nothing can listen on {shown}: {error.strerror or error}."


def say_ending() -> None:
    """Log that the server was told to end; never call it in a signal handler."""
    logging.getLogger(SERVER).info("The server was told to end; requests under way have %d seconds.", GRACE_SECONDS)


def tell_when_it_accepts(host: str, port: int, told: Callable[[], None]) -> None:
    """Call ``told`` from a thread as soon as the address accepts connections."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound to

    def wait() -> None:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((local, port), timeout=5).close()
                break
            time.sleep(0.02)
        told()

    once("ready", wait)


@contextlib.contextmanager
def ended_by_sigterm(drain: GracefulShutdown) -> Iterator[None]:
    """Let SIGTERM end a server like an interrupt from the keyboard, so that the server closes what it holds.

    The interrupt is repeated until the server ends: within a request wsgiref takes one for a fault of the application.
    """
    over = threading.Event()
    told: list[int] = []

    def insist() -> None:
        while not over.wait(INSIST_SECONDS):
            if told:
                os.kill(os.getpid(), told[-1])

    def interrupt(number: int, frame: FrameType | None) -> None:
        # No lock here: a signal may arrive while another one is handled.
        told.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, drain.before(interrupt))
    # Not if SIGINT is ignored, as in the background of a shell.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    if ends_with_terminal():
        signal.signal(signal.SIGHUP, interrupt)
    Loop("end", insist).start()
    try:
        yield
    finally:
        over.set()
