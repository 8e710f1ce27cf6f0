"""Parsers of settings that are words, numbers, lists or texts: given as text or Python value, they become typed values.

**Invariants:** a parser takes the text of a flag, a variable or a paste file, or the value of a keyword; it accepts its
own result again, so that a parsed mapping can be passed on. An invalid value raises ``ValueError`` with a part of
a sentence that says what to give instead; ``config`` puts the flag, variable or keyword in front of it. No parser
touches the file system.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Callable, Iterable

from ..text import one_line
from .setting import Parser
from .suggestions import hinting, nearest

ACTIONS = ("update", "download", "list")
# Characters; more would not fit in the head of a page on a phone.
MAX_TITLE = 80
_TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})
_FALSE = frozenset({"0", "false", "no", "off", "n", "f"})
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def boolean(value: object) -> bool:
    """A boolean from true, false, or one of ``1 yes on y t``, ``0 no off n f``, in any case."""
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{value!r} is not yes or no; give 1, true, yes, on or 0, false, no, off")
    return word in _TRUE


def whole_number(low: int, high: int | None = None) -> Parser:
    """A parser of whole numbers from ``low`` to ``high``, both included."""
    limits = f"from {low} to {high}" if high is not None else f"of {low} or more"

    def parse(value: object) -> int:
        number = int(str(value)) if re.fullmatch(r"[+-]?[0-9]{1,18}", str(value).strip()) else None
        if number is None or number < low or (high is not None and number > high):
            raise ValueError(f"{value!r} is not valid; give a whole number {limits}")
        return number

    return parse


def whole_number_or_auto(value: object) -> int | None:
    """A number of 1 or more, or None for ``auto``."""
    if str(value).strip().lower() == "auto":
        return None
    try:
        return int(whole_number(1)(value))
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from None


def size(value: object) -> int:
    """Bytes, from a number with an optional K, M, G or T (powers of 1024): ``4G``, ``500M``, ``1.5GiB``."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGT]?)(?:I?B)?", str(value).strip().upper())
    number = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if number < 1:
        raise ValueError(f"{value!r} is not a size; give bytes, or a number with K, M, G or T such as 500M")
    return number


def age(value: object) -> int:
    """Seconds, from a number with s, m, h or d: ``90s``, ``12h``, ``1d``."""
    match = re.fullmatch(r"([0-9]{1,9})\s*([smhd])", str(value).strip().lower())
    if not match:
        raise ValueError(f"{value!r} is not an age; give a number with s, m, h or d such as 12h or 1d")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]


def duration(value: object) -> int:
    """Seconds, as a number or as an age: ``600``, ``10m``, ``7d``, ``0``."""
    written = str(value).strip()
    if not isinstance(value, bool) and re.fullmatch(r"[0-9]{1,10}", written):
        return int(written)
    try:
        return age(written)
    except ValueError:
        raise ValueError(f"{value!r} is not a time; give a number with s, m, h or d such as 10m or 7d") from None


def date(value: object) -> str:
    """A day, or a time with its zone (RFC 3339), as text; TOML has types of its own for both."""
    written = value.isoformat() if isinstance(value, datetime.date) else str(value).strip()
    end_of(written)
    return written


def end_of(day_or_time: str) -> float:
    """The last moment of a day in UTC, or the time itself, in seconds since the epoch."""
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day_or_time):
            start = datetime.datetime.fromisoformat(day_or_time).replace(tzinfo=datetime.timezone.utc)
            return start.timestamp() + 86_400 - 1e-6
        # Python 3.10 does not read the letter.
        time = datetime.datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", day_or_time))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(f"{day_or_time!r} is no date; give 2026-11-28, or a time in UTC: 2026-11-28T12:00:00Z")
    return time.timestamp()


def text(value: object) -> str:
    """Any string, unchanged."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def title(value: object) -> str:
    """A name to show: one line of at most 80 characters."""
    line = one_line(text(value))
    if not line or len(line) > MAX_TITLE:
        raise ValueError(f"{value!r} is no title; give a text of 1 to {MAX_TITLE} characters")
    return line


def lines(text: str) -> list[str]:
    """The folders in a section of a paste file: one per line; a line may contain spaces."""
    return [line.strip() for line in text.splitlines() if line.strip()] or [""]


def words(text: str) -> list[str]:
    """The words of a list separated by commas, spaces or line ends."""
    return [word for word in re.split(r"[\s,]+", text) if word]


def actions(value: object) -> frozenset[str]:
    """Actions that need a login; ``.`` alone or an empty list means none; refuses an empty string."""
    given = [word for each in texts(value) for word in words(each.lower())]
    if given == ["."] or not texts(value):
        return frozenset()
    if "." in given:
        raise ValueError("'.' means no action at all and excludes others; give one or the other")
    for word in given:
        if word not in ACTIONS:
            hint = hinting(nearest(word, ACTIONS))
            raise ValueError(f"no such action {word!r}{hint} Give any of {', '.join(ACTIONS)}")
    if not given:
        raise ValueError("the list of actions is empty; give any of update, download, list, or '.' for none")
    return frozenset(given)


def patterns(value: object) -> tuple[str, ...]:
    """Patterns of project names (``*``, ``?`` and ``[...]``), separated by commas or as a list."""
    given = [word for each in texts(value) for word in words(each) or [each]]
    for word in given:
        if not re.fullmatch(r"[A-Za-z0-9._*?\[\]!-]+", word):
            raise ValueError(f"{word!r} is not a pattern of project names; give for example 'acme-*'")
    return tuple(dict.fromkeys(given))


def one_of(choices: tuple[str, ...], what: str) -> Parser:
    """A parser of one word of ``choices``, in any case; ``what`` names the kind of word in the message."""
    by_lower = {choice.lower(): choice for choice in choices}

    def parse(value: object) -> str:
        word = str(value).strip().lower()
        if word not in by_lower:
            hint = hinting(nearest(word, by_lower))
            raise ValueError(f"no such {what} {str(value)!r}{hint} Give one of {', '.join(choices)}")
        return by_lower[word]

    return parse


def usable_hashes() -> list[str]:
    """The fixed-length hashes that this Python can compute."""
    return sorted(name for name in hashlib.algorithms_available if _digest_size(name))


def hash_algorithm(value: object) -> str | None:
    """The name of a fixed-length hash of ``hashlib``, or None for the words that switch the fragment off."""
    name = "off" if value is None or value is False else str(value).strip().lower()
    if name in {"off", "no", "0", "false", "none", ""}:
        return None
    # OpenSSL also accepts names such as "sha-256", which no client knows in a link.
    if name not in usable_hashes():
        hint = hinting(nearest(name, usable_hashes()))
        raise ValueError(f"this Python cannot compute the hash {name!r}{hint} Give a fixed-length hash, or 'off'")
    return name


def _digest_size(name: str) -> int:
    """Bytes of the digest; 0 for a hash that is unknown, has no fixed length, or is disabled in OpenSSL."""
    try:
        return hashlib.new(name, usedforsecurity=False).digest_size
    except (ValueError, TypeError):
        return 0


def plug_in(value: object) -> str:
    """``NAME`` or ``NAME:ARGUMENT``; the argument is any text."""
    written = text(value).strip()
    name = written.partition(":")[0]
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise ValueError(f"{name!r} is not the name of a plug-in; write NAME or NAME:ARGUMENT")
    return written


def login_check(value: object) -> Callable[[str, str], object]:
    """A callable that takes user and password and returns whether they are valid."""
    if not callable(value):
        raise ValueError(f"{value!r} is not callable; from Python, give a function that takes user and password")
    return value


def several(value: object) -> list[object]:
    """The values of any iterable but a string."""
    if not isinstance(value, Iterable):
        raise ValueError(f"{value!r} is neither a string nor a list")
    return list(value)


def texts(value: object) -> list[str]:
    """The text, or those of an iterable."""
    return [value] if isinstance(value, str) else [text(each) for each in several(value)]
