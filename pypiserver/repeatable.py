"""How a handler tells a server that it may give a response again to equal requests, without asking the application.

The server asks with ``REPEATS`` in the environ. A handler whose response depends on nothing but the request's head and
what a function of no arguments can tell puts that function there as ``STILL``: it says whether the response is still
the one that the handler would give. Layers outside of the handler wrap the function, to note the repetition, or to
refuse it.

**Invariants:** only responses of routes that are open to everyone are repeated: the guard of every other route removes
``REPEATS``; the function waits for nothing, and where it is in doubt it says no; a server that does not set ``REPEATS``
never gets one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

REPEATS = "pypiserver.repeats"  # True: the server repeats responses
STILL = "pypiserver.still"  # Still: whether the response may be given once more; called once before each time

Still = Callable[[], bool]


def may_repeat(environ: dict[str, Any], still: Still) -> None:
    """Let the server give the response to this request again while ``still`` says so."""
    if REPEATS in environ:
        environ[STILL] = still
