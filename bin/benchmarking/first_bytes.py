"""Many clients that ask for one file at the same moment, and when the first byte of its body reaches each of them.

Run as a program it is the index that has the files: ``python -m benchmarking.first_bytes MB FILES``. It prints their
addresses and hash, and for each path on its input how often that was asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from .processes import HOST

PROJECT = "raven"
READ_BYTES = 1 << 20
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Client:
    """One request on a connection of its own, whose body is counted, and hashed if it ``checks``."""

    def __init__(self, port: int, *, checks: bool) -> None:
        self.connection = socket.create_connection((HOST, port), timeout=300)
        self.first_ms = 0.0
        self.received = 0
        self.length = -1
        self.digest = hashlib.sha256() if checks else None
        self._head = b""

    def take(self, data: memoryview, now_ms: float) -> None:
        """Note bytes that came now, of the head or of the body."""
        if self.length < 0:
            self._head += bytes(data)
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            found = _LENGTH.search(head) if head.startswith(b"HTTP/1.1 200 ") else None
            self.length, data = int(found[1]) if found else 0, memoryview(body)
        if data and not self.first_ms:
            self.first_ms = now_ms
        self.received += len(data)
        if self.digest is not None:
            self.digest.update(data)

    def is_right(self, sha256: str) -> bool:
        """Whether the whole body came, and is the right one where it was hashed."""
        return self.received == self.length and (self.digest is None or self.digest.hexdigest() == sha256)


def ask(port: int, path: str, sha256: str, count: int, *, checked: int = 1) -> list[float]:
    """Milliseconds until each of ``count`` clients has its first byte, sorted; all of them read on to the end.

    The first ``checked`` clients look at the bytes, the others at the length. Raises RuntimeError if they are wrong.
    """
    clients = [Client(port, checks=number < checked) for number in range(count)]
    request = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode()
    buffer = memoryview(bytearray(READ_BYTES))
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for client in clients:
            stack.enter_context(client.connection)
            selector.register(client.connection, selectors.EVENT_READ, client)
        began = time.perf_counter()
        for client in clients:
            client.connection.sendall(request)
        while selector.get_map():
            for key, _ in selector.select(300):
                size = key.data.connection.recv_into(buffer)
                key.data.take(buffer[:size], (time.perf_counter() - began) * 1000)
                if not size:
                    selector.unregister(key.data.connection)
    if not all(client.is_right(sha256) for client in clients):
        raise RuntimeError(f"{path}: {[(client.received, client.length) for client in clients]}")
    return sorted(client.first_ms for client in clients)


class Index:
    """A running index of a process of its own; ``files`` are the paths of files with the same bytes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        told = json.loads(self._line())
        self.url: str = told["url"]
        self.port: int = told["port"]
        self.files: list[str] = told["files"]
        self.sha256: str = told["sha256"]

    def asked(self, path: str) -> int:
        """How many requests came for this path."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextlib.contextmanager
def index(megabytes: int, files: int, environ: Mapping[str, str]) -> Iterator[Index]:
    """An index with this many files of this size, until the block ends."""
    command = [sys.executable, "-m", "benchmarking.first_bytes", str(megabytes), str(files)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=dict(environ), **pipes) as process:
        try:
            yield Index(process)
        finally:
            process.terminate()


def main() -> None:
    """Be the index until the input ends."""
    from tests.fake_upstream import noise, upstream

    data = noise(1 << 20) * int(sys.argv[1])
    with upstream() as up:
        files = [up.add(PROJECT, f"{PROJECT}-1.{number}.tar.gz", data) for number in range(int(sys.argv[2]))]
        told = {"url": up.url, "port": up.port, "files": [file.path for file in files], "sha256": files[0].sha256}
        print(json.dumps(told), flush=True)
        for line in sys.stdin:
            print(up.count(line.strip()), flush=True)


if __name__ == "__main__":
    main()
