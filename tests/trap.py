"""A server that must not be asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass
class Trap:
    """A server that must not be asked: it counts who connects and the bytes that they send, and says nothing."""

    connections: int = 0
    received: bytes = b""
    port: int = 0


@contextmanager
def trap(host: str = "127.0.0.1") -> Iterator[Trap]:
    """A trap on a free port until the block ends."""
    found = Trap()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        found.port = server.getsockname()[1]

        def take() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    found.connections += 1
                    with connection, suppress(OSError):
                        connection.settimeout(5)
                        while data := connection.recv(1 << 16):
                            found.received += data

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(6)
