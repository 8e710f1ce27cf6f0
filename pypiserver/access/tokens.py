"""API tokens in requests: which header has one, whether it counts now, and for whom.

**Invariants:** only a text with the form of a token gets as far as the tokens, and no wrong one costs a slow hash; a
wrong, an expired, a revoked and an unknown token get the same answer, and the log says which it was; nothing is written
for a request. Whether a token has expired goes by the wall clock, since its end is a date.
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable
from typing import NamedTuple

from ..bounded_cache import BoundedCache, weight
from ..errors import Unauthorized
from .password_file import Table
from .principal import Principal
from .rights import PATTERN_BYTES
from .token_lines import TokenLines, TokenSource
from .token_record import TokenRecord, shown_time
from .token_text import USER, Credential, credential_of
from .token_uses import TokenUses

# Of headers that were right: 1,100 bytes each, and 350 for each pattern of its token.
REMEMBER_BYTES = 4 << 20
PUBLIC = "The token is not valid (any more)."


class _Seen(NamedTuple):
    """A header that was right: whom it names, until when, and the user who must still be known ('' for none)."""

    principal: Principal
    until: float
    owner: str


class Tokens:
    """Checks the tokens of ``source``. ``clock`` gives seconds since the epoch.

    ``knows`` says whether the password file has a user (None: there is no such file); a token whose user is unknown
    does not count, unless it was made for a service.
    """

    def __init__(
        self, source: TokenSource, knows: Callable[[str], bool] | None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._source = source
        self._knows = knows or _knows_no_user
        self._clock = clock
        self._uses = TokenUses(source.add_uses, clock=clock)
        # The headers that were right by these lines; others begin with none.
        self._memory: tuple[TokenLines | None, BoundedCache[bytes, _Seen]] = None, BoundedCache(REMEMBER_BYTES)

    def identify(self, authorization: str, mac: bytes) -> Principal | None:
        """The principal of the token in an Authorization header, None if it has no token.

        The header is remembered as ``mac``. Raises Unauthorized for a token that does not count, Unavailable when the
        tokens cannot be read.
        """
        lines, memory = self._memory
        seen = memory.get(mac)
        if seen is not None and self._source.current() is lines:
            now = self._clock()
            if now < seen.until and (not seen.owner or self._knows(seen.owner)):
                self._uses.note(seen.principal.label, now)
                return seen.principal
        credential = credential_of(authorization)
        if credential is None or (credential.may_be_password and self._knows(USER)):
            return None
        if not credential.digest:
            raise _refused(credential.id, "altered", "it was cut or altered, or is no token of this server")
        lines = self._source.current()
        found = self._check(credential, lines.get(credential.id))
        self._remember(lines, mac, found)
        self._uses.note(found.principal.label, self._clock())
        return found.principal

    def known(self, mac: bytes, table: Table | None) -> Principal | None:
        """The principal of a remembered token, None if that cannot be told without waiting.

        ``table`` is the password file as it is now, None if it must be read first.
        """
        lines, memory = self._memory
        seen, now = memory.get(mac), self._clock()
        if seen is None or now >= seen.until or self._source.known() is not lines:
            return None
        if seen.owner and (table is None or seen.owner not in table.entries):
            return None
        self._uses.note(seen.principal.label, now)
        return seen.principal

    def close(self) -> None:
        """Write down when tokens were used last, and close connections."""
        self._uses.close()
        self._source.close()

    def _check(self, credential: Credential, record: TokenRecord | None) -> _Seen:
        """What to remember of a token that counts; raises Unauthorized."""
        if record is None:
            raise _refused(credential.id, "unknown", "no token that can be used has this id")
        now = self._clock()
        fitting = [
            each for each in record.secrets(now) if hmac.compare_digest(bytes.fromhex(each.sha256), credential.digest)
        ]
        if not fitting:
            raise _refused(record.id, "secret", "its secret is another one; it was rotated, or the token made up")
        if record.revoked is not None:
            raise _refused(record.id, "revoked", f"it was revoked at {shown_time(record.revoked)}")
        if record.expires is not None and now >= record.expires:
            raise _refused(record.id, "expired", f"it expired at {shown_time(record.expires)}")
        if not record.is_service and not self._knows(record.user):
            raise _refused(record.id, "owner", f"its user {record.user!r} is not in the password file")
        ends = [each for each in (fitting[0].until, record.expires) if each is not None]
        principal = Principal(record.user, scope=record.scope, label=record.id)
        return _Seen(principal, min(ends, default=math.inf), "" if record.is_service else record.user)

    def _remember(self, lines: TokenLines, mac: bytes, found: _Seen) -> None:
        known, memory = self._memory
        if known is not lines:
            memory = BoundedCache(REMEMBER_BYTES)
            self._memory = lines, memory
        scope = found.principal.scope
        patterns = 0 if scope is None or scope.projects is None else scope.projects.count
        memory.put(mac, found, size=weight(found) + PATTERN_BYTES * patterns)


def _knows_no_user(user: str) -> bool:
    return False


def _refused(token_id: str, kind: str, reason: str) -> Unauthorized:
    message = f"The token {token_id or '(no id)'} is refused: {reason}."
    return Unauthorized(message, public=PUBLIC, kind=kind, reason=reason)
