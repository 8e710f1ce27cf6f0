"""Ends connections on which almost nothing moves, for servers whose threads wait for such clients (Linux).

granian and gunicorn limit the time of a header, but not of a body, nor of a client that does not read its answer; each
of these holds a thread. The kernel counts the bytes that moved.

**Invariants:** a client that moves a little all the time blocks a thread as much as one that moves nothing; no client
is hurried while threads are left for others.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..supervisor import Loop

if sys.platform == "linux":
    import fcntl
    import termios

LOOK_SECONDS = 5.0
# A line of 1,200 bit/s moves more in a minute; no client downloads packages over a slower one.
LEAST_BYTES = 8192
# Clients that do not read their answer are ended after this many seconds if they hold too many threads.
CROWD_SECONDS = 5.0
# tcp_info of Linux 4.1: eight bytes of flags, 24 32-bit fields, two 64-bit rates, the bytes acknowledged and received.
_TCP_INFO = struct.Struct("8x 96x 16x 2Q")


class SlowConnectionReaper:
    """Finds and ends this process's connections at ``port`` on which too little moved for ``seconds``.

    If more than ``crowd`` clients do not read their answers, these get five seconds. ``clock`` returns monotonic
    seconds.
    """

    def __init__(self, port: int, seconds: float, *, crowd: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._seconds = seconds
        self._crowd = crowd
        self._clock = clock
        self._deaf = 0
        # By inode of the socket: since when too little moved, and how many bytes had moved until then.
        self._seen: dict[int, tuple[float, int]] = {}

    def look(self) -> int:
        """Check every connection once, and end the stalled ones; returns their number."""
        ended, deaf, now = 0, 0, self._clock()
        seen: dict[int, tuple[float, int]] = {}
        hurry = CROWD_SECONDS if self._deaf > self._crowd else self._seconds
        for connection in _connections(self._port):
            with connection, contextlib.suppress(OSError, struct.error):
                moved = sum(
                    _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
                )
                inode = os.fstat(connection.fileno()).st_ino
                since, before = self._seen.get(inode, (now, moved))
                if moved - before >= LEAST_BYTES:
                    since, before = now, moved
                seen[inode] = (since, before)
                is_deaf = now > since and _unsent(connection) > 0
                deaf += is_deaf
                if now - since >= (min(hurry, self._seconds) if is_deaf else self._seconds):
                    connection.shutdown(socket.SHUT_RDWR)
                    ended += 1
        self._seen = seen
        self._deaf = deaf
        return ended


def watch(port: int, seconds: float, *, threads: int) -> None:
    """End stalled connections at ``port`` from now on, in a thread of this process; does nothing except on Linux.

    ``threads`` is how many requests the process answers at once: a quarter of them is kept free of clients that do not
    read.
    """
    if sys.platform != "linux":
        return
    stalled = SlowConnectionReaper(port, seconds, crowd=threads * 3 // 4)

    def run() -> None:
        took = 0.0
        while True:
            # Often, as long as it costs no more than a hundredth of a core.
            time.sleep(min(LOOK_SECONDS, seconds, max(1.0, 100 * took)))
            began = time.thread_time()
            with contextlib.suppress(OSError):
                stalled.look()
            took = time.thread_time() - began

    Loop("stalled", run).start()


def _unsent(connection: socket.socket) -> int:
    """The bytes of answers that the client has not received yet."""
    return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def _connections(port: int) -> Iterator[socket.socket]:
    """A duplicate of each connected socket of this process whose local port is ``port``."""
    for link in list(Path("/proc/self/fd").iterdir()):
        duplicate = None
        with contextlib.suppress(OSError, ValueError):
            if link.readlink().name.startswith("socket:"):
                duplicate = socket.socket(fileno=os.dup(int(link.name)))
                if _is_connection(duplicate, port):
                    yield duplicate
                    continue
        if duplicate is not None:
            duplicate.close()


def _is_connection(candidate: socket.socket, port: int) -> bool:
    if candidate.family not in (socket.AF_INET, socket.AF_INET6) or candidate.type != socket.SOCK_STREAM:
        return False
    if candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    return int(candidate.getsockname()[1]) == port
