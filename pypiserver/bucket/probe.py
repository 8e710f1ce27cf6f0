"""Does the bucket answer? Asked once before a server starts, in a process of its own.

**Invariants:** the process that starts the workers never uses the library: its threads do not survive the fork by which
servers make workers.
"""

from __future__ import annotations

import json
import os
import select
import signal
from typing import NamedTuple

from ..errors import NotFound, PypiServerError, Unavailable
from .storage import Bucket

# Seconds; longer than the store's own time limits.
PATIENCE_SECONDS = 60.0


class Fault(NamedTuple):
    """Why the bucket cannot be used; ``is_final`` says that waiting does not help."""

    message: str
    is_final: bool


def probe(bucket: Bucket) -> Fault | None:
    """The fault of the bucket, None if it answers, or if it cannot be probed without harm."""
    if not hasattr(os, "fork"):
        return None
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.write(theirs, json.dumps(_asked(bucket)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(theirs)
    try:
        is_told = bool(select.select([ours], [], [], PATIENCE_SECONDS)[0])
        if not is_told:
            os.kill(child, signal.SIGKILL)
        said = os.read(ours, 65_536) if is_told else b""
    finally:
        os.close(ours)
        os.waitpid(child, 0)
    if not said:
        return Fault(f"The object store {bucket.objects.url} gives no answer.", is_final=False)
    answer = json.loads(said)
    return Fault(*answer) if answer is not None else None


def _asked(bucket: Bucket) -> tuple[str, bool] | None:
    url = bucket.objects.url
    missing = f"There is no bucket {url}; create it, or correct --storage or the endpoint."
    try:
        bucket.check()
    except NotFound:
        return missing, True
    except Unavailable as error:
        status = bucket.objects.refusal(error)
        if status == 404:
            return missing, True
        refused = f"The object store {url} refuses us (status {status}). See to the credentials and their rights."
        return (refused, True) if status else (str(error), False)
    except PypiServerError as error:
        return str(error), True
    return None
