"""What is known of one API token: one line of JSON, in a file or a table.

**Invariants:** a line has no secret, only the SHA-256 of the token; a line with anything unknown in it is refused,
because it may be a limit that a newer version understands; a revoked token keeps its line.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from . import token_text
from .patterns import read_patterns
from .principal import WORDS, Scope

NEVER = "never"
DAY = 86_400
DEFAULT_SECONDS = 90 * DAY
# Bytes; a line has about 300.
MAX_LINE = 16_384
_KEYS = frozenset(
    ("id", "sha256", "user", "created", "expires", "may", "projects", "note", "service", "rotated", "previous",
     "revoked")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Secret:
    """The SHA-256 of a token, in hexadecimal digits, and the time (seconds since the epoch) until which it counts."""

    sha256: str
    until: int | None = None


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One token; times are seconds since the epoch, ``expires`` None is never, no ``projects`` are all of them.

    ``may`` are words of rights; ``previous`` is the secret before the last rotation. ``is_service`` says that it counts
    without a user in the password file.
    """

    id: str
    sha256: str
    user: str
    created: int
    expires: int | None
    may: tuple[str, ...]
    projects: tuple[str, ...] = ()
    note: str = ""
    is_service: bool = False
    rotated: int | None = None
    previous: Secret | None = None
    revoked: int | None = None
    scope: Scope = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scope", _scope(self.may, self.projects))

    def state(self, now: float) -> str:
        """``valid``, ``expired`` or ``revoked`` at this time (seconds since the epoch)."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "valid"

    def secrets(self, now: float) -> tuple[Secret, ...]:
        """The secrets that count at this time, each until its end."""
        newest = Secret(self.sha256, self.expires)
        old = self.previous
        return (newest,) if old is None or (old.until is not None and now >= old.until) else (newest, old)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a new token may do: ``may`` are words of rights, ``projects`` are patterns (none: all projects)."""

    may: tuple[str, ...]
    projects: tuple[str, ...] = ()
    note: str = ""
    is_service: bool = False


def mint(
    user: str, limits: Limits, *, seconds: int | None, now: float, taken: Container[str] = ()
) -> tuple[TokenRecord, str]:
    """A new token with an id that is not ``taken``, and its text; ``seconds`` None never expires.

    Raises ValueError for a word or pattern that cannot be used.
    """
    token_id = next(each for each in iter(token_text.new_id, "") if each not in taken)
    text = token_text.new_text(token_id)
    record = TokenRecord(
        token_id,
        token_text.digest_of(text).hex(),
        user,
        int(now),
        None if seconds is None else int(now) + seconds,
        limits.may,
        limits.projects,
        limits.note,
        limits.is_service,
    )
    return record, text


def rotate(record: TokenRecord, *, overlap: int, seconds: int | None, now: float) -> tuple[TokenRecord, str]:
    """The token with a new secret, and its text; the old secret counts for ``overlap`` seconds more.

    ``seconds`` is the time until the new secret expires; None is never.
    """
    text = token_text.new_text(record.id)
    old_end = int(now) + overlap
    if record.expires is not None:
        old_end = min(old_end, record.expires)
    changed = replace(
        record,
        sha256=token_text.digest_of(text).hex(),
        expires=None if seconds is None else int(now) + seconds,
        rotated=int(now),
        previous=Secret(record.sha256, old_end) if overlap else None,
    )
    return changed, text


def lifetime(record: TokenRecord) -> int | None:
    """The seconds for which it was made, None for a token that never expires."""
    return None if record.expires is None else max(1, record.expires - (record.rotated or record.created))


@functools.lru_cache(maxsize=256)
def _scope(may: tuple[str, ...], projects: tuple[str, ...]) -> Scope:
    """The scope that these words mean; most tokens have the same as others."""
    return Scope(actions_of(may), read_patterns(projects) if projects else None)


def actions_of(words: Iterable[str]) -> frozenset[str]:
    """The actions that these words of rights mean; raises ValueError for others."""
    found: frozenset[str] = frozenset()
    for word in words:
        if word not in WORDS:
            raise ValueError(f"{word!r} is no action; give any of {', '.join(WORDS)}")
        found |= WORDS[word]
    return found


def to_line(record: TokenRecord) -> str:
    """The record as one line of JSON, without a line end."""
    data: dict[str, Any] = {
        "id": record.id,
        "sha256": record.sha256,
        "user": record.user,
        "created": shown_time(record.created),
        "expires": shown_time(record.expires),
        "may": list(record.may),
    }
    if record.projects:
        data["projects"] = list(record.projects)
    if record.note:
        data["note"] = record.note
    if record.is_service:
        data["service"] = True
    if record.rotated is not None:
        data["rotated"] = shown_time(record.rotated)
    if record.previous is not None:
        data["previous"] = {"sha256": record.previous.sha256, "until": shown_time(record.previous.until)}
    if record.revoked is not None:
        data["revoked"] = shown_time(record.revoked)
    return json.dumps(data)


def from_line(line: bytes | str) -> TokenRecord:
    """The record of one line; raises ValueError that says what is wrong, without the text of the line."""
    if len(line) > MAX_LINE:
        raise ValueError(f"it is longer than {MAX_LINE} bytes")
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(data, dict):
        raise ValueError("it is not a JSON object")
    unknown = sorted(map(repr, data.keys() - _KEYS))
    if unknown:
        raise ValueError(f"it has {', '.join(unknown)[:200]}, which this version does not know")
    try:
        record = TokenRecord(
            id=_text(data, "id"),
            sha256=_digest(data),
            user=_text(data, "user"),
            created=_required(_time(data["created"]), "created"),
            expires=_time(data["expires"]),
            may=_words(data, "may"),
            projects=_words(data, "projects") if "projects" in data else (),
            note=_text(data, "note") if "note" in data else "",
            is_service=_flag(data, "service"),
            rotated=_time(data.get("rotated")),
            previous=_previous(data.get("previous")),
            # A mark that cannot be read is a mark: the line is refused as a whole.
            revoked=_required(_time(data["revoked"]), "revoked") if "revoked" in data else None,
        )
    except KeyError as missing:
        raise ValueError(f"it has no {missing.args[0]!r}") from None
    if not token_text.is_id(record.id):
        raise ValueError(f"its 'id' is not {token_text.ID_LENGTH} letters or digits")
    return record


def shown_time(seconds: int | None) -> str:
    """``2026-11-30T16:05:00Z``, or ``never``."""
    if seconds is None:
        return NEVER
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def _time(value: object) -> int | None:
    """Seconds since the epoch from a time in ISO 8601 (UTC unless it says otherwise); None for ``never``."""
    if value is None or value == NEVER:
        return None
    try:
        found = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        return int((found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp())
    except (ValueError, OverflowError):
        raise ValueError(f"it has a time that is not ISO 8601: {str(value)[:40]!r}") from None


def _required(seconds: int | None, name: str) -> int:
    if seconds is None:
        raise ValueError(f"its {name!r} is not a time")
    return seconds


def _text(data: dict[str, Any], name: str) -> str:
    value = data[name]
    if not isinstance(value, str) or (not value and name != "note"):
        raise ValueError(f"its {name!r} is not text")
    return value


def _digest(data: dict[str, Any]) -> str:
    try:
        if len(bytes.fromhex(_text(data, "sha256"))) == 32:
            return str(data["sha256"]).lower()
    except ValueError:
        pass
    raise ValueError("its 'sha256' is not 64 hexadecimal digits")


def _previous(value: object) -> Secret | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("its 'previous' is not an object")
    # Without an end it would count until the token is revoked.
    return Secret(_digest(value), _required(_time(value["until"]), "previous.until"))


def _words(data: dict[str, Any], name: str) -> tuple[str, ...]:
    value = data[name]
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError(f"its {name!r} is not a list of words")
    return tuple(value)


def _flag(data: dict[str, Any], name: str) -> bool:
    value = data.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"its {name!r} is neither true nor false")
    return value
