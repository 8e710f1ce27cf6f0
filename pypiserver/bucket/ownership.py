"""Which catalog owns a bucket: two catalogs over one bucket would both decide who owns a file name.

The owner writes its name and a new number into the object ``server.json`` again and again; a server that finds another
name there waits until the object no longer changes.

**Invariants:** no other machine's clock is believed, only how long this process saw no change; two that start together
both read the object again before they serve; an owner that was silent too long and finds another name stops serving.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable

from ..errors import NotFound, PypiServerError, Unavailable
from .object_store import ObjectStoreClient

KEY = "server.json"
PERIOD_SECONDS = 30.0
# Another owner counts as gone after this many seconds without a change.
SILENCE_SECONDS = 100.0
# Seconds between writing a name and reading it again.
CONFIRM_SECONDS = 0.5
LOOKS = 10
_MAX_NAME = 200


class BucketInUse(Unavailable):
    """The bucket belongs to another catalog."""


class BucketOwnership:
    """The claim of the catalog ``name`` to the bucket at ``objects``; constructing it sends no request.

    ``gives_way``: whether it waits for another owner; a catalog that several servers share does not. ``clock`` returns
    monotonic seconds, ``wait`` sleeps for some.
    """

    def __init__(
        self,
        objects: ObjectStoreClient,
        name: str,
        *,
        gives_way: bool = True,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._objects = objects
        self._name = name[:_MAX_NAME]
        self._gives_way = gives_way
        self._clock = clock
        self._wait = wait
        self._next = float("-inf")
        self._written = ""
        self._other = ""
        self._other_since = 0.0

    def keep(self) -> None:
        """Claim the bucket, or renew the claim; most calls do nothing.

        Raises BucketInUse while the bucket belongs to another catalog, and Unavailable while the store is down.
        """
        if self._clock() < self._next:
            return
        if not self._gives_way:
            # The object only informs other servers; a write that fails now is repeated later.
            with contextlib.suppress(PypiServerError):
                self._write()
            self._next = self._clock() + PERIOD_SECONDS
            return
        standing = self._read()
        if not self._is_free(standing):
            raise self._refusal(standing)
        self._write()
        if _name_in(standing) != self._name:
            self._wait(CONFIRM_SECONDS)
            standing = self._read()
            if standing != self._written:
                raise self._refusal(standing)
        self._next = self._clock() + PERIOD_SECONDS

    def look(self) -> None:
        """Check the claim that another process with our catalog keeps; raises like :meth:`keep`."""
        if self._gives_way and self._clock() >= self._next:
            for _ in range(LOOKS):
                standing = self._read()
                if _name_in(standing) == self._name:
                    self._next = self._clock() + PERIOD_SECONDS
                    return
                # The other process may be about to claim it.
                self._wait(CONFIRM_SECONDS / 2)
            raise self._refusal(standing)

    def give_up(self) -> None:
        """Release the claim so that the next owner starts at once; raises Unavailable."""
        if self._gives_way and self._written and self._read() == self._written:
            self._objects.put(KEY, json.dumps({"name": self._name, "ended": True}).encode())
        self._written, self._next = "", float("-inf")

    def _is_free(self, standing: str) -> bool:
        if _name_in(standing) in ("", self._name) or '"ended": true' in standing:
            return True
        now = self._clock()
        if standing != self._other:
            self._other, self._other_since = standing, now
        return now - self._other_since >= SILENCE_SECONDS

    def _refusal(self, standing: str) -> BucketInUse:
        other = _name_in(standing) or "a server without a name"
        return BucketInUse(
            f"The bucket {self._objects.url} is served with another catalog, by {other}. "
            "Several servers share a bucket through a catalog in PostgreSQL (--catalog postgresql://...). "
            "If that server is gone, this one begins within two minutes."
        )

    def _read(self) -> str:
        try:
            return self._objects.get(KEY).decode("utf-8", "replace")
        except NotFound:
            return ""

    def _write(self) -> None:
        self._written = json.dumps({"name": self._name, "number": secrets.token_hex(8)})
        self._objects.put(KEY, self._written.encode())


def _name_in(text: str) -> str:
    try:
        name = json.loads(text)["name"]
    except (ValueError, KeyError, TypeError):
        return ""
    return name[:_MAX_NAME] if isinstance(name, str) and name.isprintable() else "another server"
