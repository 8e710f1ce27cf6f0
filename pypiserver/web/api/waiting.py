"""How a request waits for another index.

**Invariants:** a server that asks again is never made to hold a thread for what it waits for the first time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...deferred import POSTPONES, RESUMED
from ...proxy.flights import Waiting


def waiting_of(environ: Mapping[str, Any]) -> Waiting:
    """The way of this request: without a thread where the server asks again."""
    return Waiting(POSTPONES in environ, environ.get(RESUMED))
