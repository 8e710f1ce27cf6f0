"""Ports for programs that must be told theirs.

A port that the system gives is free for a moment only: until the program listens, another test's connection may get it.
So these come from below the range that the system gives connections (32768 and above on Linux).
"""

from __future__ import annotations

import random
import socket

LOWEST, HIGHEST = 10_000, 32_000
_random = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free now, no two the same."""
    found: dict[int, socket.socket] = {}
    try:
        for _ in range(1000):
            if len(found) == count:
                return list(found)
            port, tried = _random.randrange(LOWEST, HIGHEST), socket.socket()
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                tried.close()
            else:
                found[port] = tried
        raise AssertionError(f"no {count} ports are free")
    finally:
        for each in found.values():
            each.close()


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
