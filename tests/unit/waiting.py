"""Waiting for what another thread does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def eventually(question: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether something comes true in time, asked every few milliseconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if question():
            return True
        threading.Event().wait(0.01)
    return False
