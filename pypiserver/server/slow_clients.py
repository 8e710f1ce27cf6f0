"""Ending connections on which next to nothing moves, for servers whose threads wait for such clients (Linux).

granian and gunicorn have a limit for the time a header may take, none for a body and none for a reader that does not
read; each of these holds a thread. The kernel counts what moved. The rules to keep: who moves a little all the time is
as much in the way as who does not move at all; nobody is hurried while there are threads left for others.
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
# A line of 1,200 bit/s moves more in a minute; nobody waits for packages on a slower one.
LEAST_BYTES = 8192
# Readers that do not read are ended after so many seconds when they hold more threads than others can spare.
CROWD_SECONDS = 5.0
# tcp_info of Linux 4.1: eight bytes of flags, 24 32-bit fields, two 64-bit rates, the bytes acknowledged and received.
_TCP_INFO = struct.Struct("8x 96x 16x 2Q")


class SlowConnectionReaper:
    """Finds and ends this process's connections at ``port`` on which too little moved for ``seconds``.

    More than ``crowd`` readers that do not read have five seconds. ``clock`` gives seconds that never go back.
    """

    def __init__(self, port: int, seconds: float, *, crowd: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._seconds = seconds
        self._crowd = crowd
        self._clock = clock
        self._deaf = 0
        # By inode of the socket: since when too little moved, and how much had moved then.
        self._seen: dict[int, tuple[float, int]] = {}

    def look(self) -> int:
        """Look at every connection once, and end those that stalled; gives their number."""
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
    """End stalled connections at ``port`` from now on, in a thread of this process; does nothing but on Linux.

    ``threads`` is how many requests the process answers at once: a quarter of them is kept from readers that do not
    read.
    """
    if sys.platform != "linux":
        return
    stalled = SlowConnectionReaper(port, seconds, crowd=threads * 3 // 4)

    def run() -> None:
        took = 0.0
        while True:
            # Often, as long as that costs no more than a hundredth of a core.
            time.sleep(min(LOOK_SECONDS, seconds, max(1.0, 100 * took)))
            began = time.thread_time()
            with contextlib.suppress(OSError):
                stalled.look()
            took = time.thread_time() - began

    Loop("stalled", run).start()


def _unsent(connection: socket.socket) -> int:
    """How many bytes of answers the other end has not taken yet."""
    return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def _connections(port: int) -> Iterator[socket.socket]:
    """A duplicate of each connected socket of this process whose own end is at ``port``."""
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
