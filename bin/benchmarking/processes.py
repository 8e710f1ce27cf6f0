"""Starting a server on loopback, ending it, and what the system says it cost.

Every server gets a session of its own, and only processes of that session are ended or counted.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS = 600.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Server:
    """A running server: its port, its process, and the seconds from its start to the first right answer.

    ``behind`` are servers that answer for it, and whose cost is its own.
    """

    name: str
    port: int
    process: subprocess.Popen[bytes]
    seconds: float = 0.0
    behind: list[Server] = field(default_factory=list)

    @property
    def pids(self) -> list[int]:
        """The processes of the server's session."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid:
                    found.append(int(status.parent.name))
        return found + [pid for server in self.behind for pid in server.pids]

    def cpu_seconds(self) -> float:
        """CPU time the processes have used so far, user and system."""
        ticks = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS

    def memory_mb(self, field_name: str = "VmRSS") -> float:
        """The largest resident set of one process that answers, in MB; ``VmHWM`` is its peak."""
        largest = 0
        # A process that started others leaves the answers to them.
        for pid in [pid for pid in self.pids if pid != self.process.pid] or self.pids:
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith(field_name + ":"):
                        largest = max(largest, int(line.split()[1]))
        return largest / 1024


def free_port() -> int:
    """A port that is free right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    name: str, command: Callable[[int], Sequence[str]], environ: dict[str, str], *, is_ready: Callable[[int], bool]
) -> Iterator[Server]:
    """Start a server, wait for its first right answer, and end it at last; raises RuntimeError when it never comes."""
    port = free_port()
    argv = [str(part) for part in command(port)]
    began = time.perf_counter()
    process = subprocess.Popen(
        argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    server = Server(name, port, process)
    try:
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if is_ready(port):
                    break
            if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                raise RuntimeError(f"{name} did not start: {' '.join(argv)}")
            time.sleep(0.005)
        server.seconds = time.perf_counter() - began
        yield server
    finally:
        _end(server)


def _end(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(20)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
    # What is left of its session, which no other process can be in.
    server.behind.clear()
    for pid in server.pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def request(
    port: int,
    path: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | Iterable[bytes] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own: status, headers (lower case) and body."""
    connection = http.client.HTTPConnection(HOST, port, timeout=300)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def fetch(port: int, path: str, headers: dict[str, str] | None = None) -> bytes:
    """The body of an answer that must be 200."""
    status, _, body = request(port, path, headers=headers)
    if status != 200:
        raise http.client.HTTPException(f"{path}: {status}")
    return body
