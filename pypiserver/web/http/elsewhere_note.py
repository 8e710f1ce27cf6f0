"""Notes that a response has what another index offers, for log and metrics.

**Invariants:** the results are few; a note is made once the response is certain.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import bottle

from ... import request_info
from ...errors import Forbidden, PypiServerError, Unavailable

HIT, FETCHED, STALE, WITHHELD, UNAVAILABLE = "hit", "fetched", "stale", "withheld", "unavailable"
# The index is not known where a request fails.
ANY = "any"


def note(environ: dict[str, Any], index: str, result: str) -> None:
    """Note the index and the result of this request."""
    environ[request_info.ELSEWHERE] = (index, result)
    environ[request_info.NOTE] = f"{index}: {result}"


@contextlib.contextmanager
def noting_failures() -> Iterator[None]:
    """Note the failure of what is done in the block."""
    try:
        yield
    except PypiServerError as error:
        note_failure(bottle.request.environ, error)
        raise


def note_failure(environ: dict[str, Any], error: PypiServerError) -> None:
    """Note the failure of a request that another index should answer; the line of the log has its sentence."""
    if isinstance(error, Forbidden):
        environ[request_info.ELSEWHERE] = (ANY, WITHHELD)
    elif isinstance(error, Unavailable):
        environ[request_info.ELSEWHERE] = (ANY, UNAVAILABLE)
