"""How many files and connections this process may have open, and whether an open file can be opened again."""

from __future__ import annotations

import contextlib
import os
import sys

# A client that reads a file takes three descriptors: its connection, ours and granian's.
WANTED = 65_536


def raise_descriptors() -> None:
    """Raise this process's limit to what the system allows without its administrator, at most to ``WANTED``."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_descriptors() -> int:
    """How many descriptors this process may have now; ``WANTED`` if there is no limit."""
    if sys.platform == "win32":
        return WANTED
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return WANTED if soft == resource.RLIM_INFINITY else soft


def can_open_again() -> bool:
    """Whether a file that is open can be opened by its descriptor's path: on Linux, where ``/proc`` is ours to read."""
    if sys.platform != "linux":
        return False
    try:
        first = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.close(os.open(f"/proc/self/fd/{first}", os.O_RDONLY | os.O_CLOEXEC))
        finally:
            os.close(first)
    except OSError:
        return False
    return True
