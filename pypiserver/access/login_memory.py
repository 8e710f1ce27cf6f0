"""The logins that were right or wrong lately, so that the hundreds of requests of one client cost one check.

**Invariants:** a login is remembered as a MAC of its header, under a key that this process makes and never writes;
right and wrong logins have a limit in bytes each, so wrong ones push out no right one; a login that the password file
confirmed is right only for that content of the file.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from ..bounded_cache import BoundedCache, weight
from .principal import Principal

# A login of a user with 10,000 groups takes less than a sixteenth of it, which is the most that is remembered of one.
RIGHT_BYTES = 16 << 20
WRONG_BYTES = 1 << 20
# A client that tries one wrong password again and again causes one check in this time.
WRONG_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Login:
    """A login that was right: who it is, the ``user`` as it was sent, and when that was confirmed (monotonic seconds).

    ``version`` is that of the password file at that time. ``is_foreign`` says that not the file but a function or a
    plug-in confirmed it.
    """

    principal: Principal
    user: str
    version: int
    confirmed: float
    is_foreign: bool


class LoginMemory:
    """Right and wrong logins by the MAC of their Authorization header. Reading takes no lock."""

    def __init__(self) -> None:
        # A copy of it takes less time than to begin with the key again.
        self._begun = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=32)
        self._right: BoundedCache[bytes, Login] = BoundedCache(RIGHT_BYTES)
        self._wrong: BoundedCache[bytes, tuple[int, float]] = BoundedCache(WRONG_BYTES)
        # When a check failed (not the password, but what checks it) for a login that was right before.
        self._failed: BoundedCache[bytes, float] = BoundedCache(WRONG_BYTES)

    def mac(self, authorization: str) -> bytes:
        """What a header is remembered as."""
        mac = self._begun.copy()
        mac.update(authorization.encode("utf-8", "surrogatepass"))
        return mac.digest()

    def right(self, mac: bytes) -> Login | None:
        """The right login of this header; the caller decides whether it is too old."""
        return self._right.get(mac)

    def is_wrong(self, mac: bytes, version: int, now: float) -> bool:
        """Whether the login was wrong a moment ago, with this version of the password file."""
        found = self._wrong.get(mac)
        return found is not None and found[0] == version and now - found[1] < WRONG_SECONDS

    def has_failed(self, mac: bytes, now: float) -> bool:
        """Whether a check of this login failed a moment ago."""
        found = self._failed.get(mac)
        return found is not None and now - found < WRONG_SECONDS

    def add_right(self, mac: bytes, login: Login) -> None:
        """Remember a right login."""
        self._right.put(mac, login, size=weight(login))

    def add_wrong(self, mac: bytes, version: int, now: float) -> None:
        """Remember a wrong login, and forget that it was ever right."""
        self._wrong.put(mac, (version, now), size=weight((version, now)))
        self._right.drop(mac)

    def add_failed(self, mac: bytes, now: float) -> None:
        """Remember that this login, which was right before, could not be checked."""
        self._failed.put(mac, now, size=weight(now))
