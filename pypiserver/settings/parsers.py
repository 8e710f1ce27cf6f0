"""Parsers of settings: a text or Python value becomes the typed value of a setting.

**Invariants:** a parser takes the text of a flag, a variable or a paste file, or the value of a keyword; it accepts its
own result again, so that a parsed mapping can be passed on. An invalid value raises ``ValueError`` with a part of
a sentence that says what to give instead; ``config`` puts the flag, variable or keyword in front of it. No parser
touches the file system.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from ..text import one_line
from .setting import Parser

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ACTIONS = ("update", "download", "list")
FORWARDING = ("proto", "for", "host", "prefix", "forwarded")
# Characters; more would not fit in the head of a page on a phone.
MAX_TITLE = 80
# Schemes without a bucket name, for tests; the content of memory:// ends with the process.
_LOCAL_BUCKETS = ("file", "memory")
BUCKETS = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", *_LOCAL_BUCKETS)
LOG_STREAMS = ("stderr", "stdout", "none")
_TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})
_FALSE = frozenset({"0", "false", "no", "off", "n", "f"})
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word closest to this one (``cutoff`` from 0 to 1), or an empty string."""
    candidates = list(known)
    # Swapped letters are the likelier typo than what difflib ranks first.
    matches = [each for each in candidates if sorted(each) == sorted(word)]
    matches += difflib.get_close_matches(word, candidates, n=1, cutoff=cutoff)
    return matches[0] if matches else ""


def hinting(word: str) -> str:
    """The end of a sentence: a suggestion of ``word`` if there is one, else a full stop."""
    return f"; did you mean {word!r}?" if word else "."


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


def place(value: object) -> Path | str:
    """A folder, or the URL of a bucket."""
    return bucket_address(value) if "://" in str(value) else path(value)


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


def path(value: object) -> Path:
    """A path with ``~`` expanded; refuses an empty one, which would silently mean the working directory."""
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"{value!r} is not a path")
    written = os.fspath(value)
    if not isinstance(written, str) or not written.strip() or "\0" in written:
        raise ValueError(f"{value!r} is not a valid path; give the path of a file or folder")
    try:
        return Path(written).expanduser()
    except RuntimeError:
        raise ValueError(f"{value!r} has no meaning without a home folder; give a full path") from None


class Content(str):
    """The content of a file, given instead of its path."""

    __slots__ = ()


def path_or_content(value: object) -> Path | Content:
    """A path, or a ``Content`` unchanged."""
    return value if isinstance(value, Content) else path(value)


def log_stream(value: object) -> str:
    """One word of ``LOG_STREAMS``; from Python also ``sys.stdout`` or ``sys.stderr`` itself."""
    if hasattr(value, "write"):
        found = [name for name in ("stdout", "stderr") if value in (getattr(sys, name), getattr(sys, f"__{name}__"))]
        if not found:
            choices = ", ".join(LOG_STREAMS)
            raise ValueError(f"only the streams sys.stdout and sys.stderr are allowed; give one of {choices}")
        return found[0]
    return str(one_of(LOG_STREAMS, "log stream")(value))


def catalog_place(value: object) -> Path | str:
    """The path of a file, or the URL of a PostgreSQL database; errors never repeat the URL, it may hold a password."""
    scheme, separator, rest = value.partition("://") if isinstance(value, str) else ("", "", "")
    if not separator:
        return path(value)
    if scheme not in {"postgresql", "postgres"}:
        raise ValueError("the value is not a PostgreSQL URL; give a file, or postgresql://USER@HOST/DATABASE")
    if rest.partition("/")[0].count("@") > 1 or any(character.isspace() for character in rest):
        raise ValueError("its user or password has a character that must be percent-encoded: @ is %40")
    return str(value)


def paths(value: object) -> tuple[Path, ...]:
    """One path or several; a string is always one path."""
    values = [value] if isinstance(value, str | os.PathLike) else _several(value)
    if not values:
        raise ValueError("the list of folders is empty; give at least one")
    return tuple(dict.fromkeys(path(each) for each in values))


def path_list(text: str) -> list[str]:
    """The folders in a variable: one per line, or separated as in ``PATH``."""
    return [part.strip() for part in re.split(rf"[\r\n{re.escape(os.pathsep)}]+", text) if part.strip()]


def lines(text: str) -> list[str]:
    """The folders in a section of a paste file: one per line; a line may contain spaces."""
    return [line.strip() for line in text.splitlines() if line.strip()] or [""]


def words(text: str) -> list[str]:
    """The words of a list separated by commas, spaces or line ends."""
    return [word for word in re.split(r"[\s,]+", text) if word]


def actions(value: object) -> frozenset[str]:
    """Actions that need a login; ``.`` alone or an empty list means none; refuses an empty string."""
    given = [word for each in _texts(value) for word in words(each.lower())]
    if given == ["."] or not _texts(value):
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


def networks(value: object) -> tuple[Network, ...]:
    """IP addresses and networks, separated by commas or as a list; ``none`` means no address."""
    given = [value] if isinstance(value, str) else _several(value)
    listed = [word for each in given for word in (words(each) if isinstance(each, str) else [str(each)])]
    if [word.lower() for word in listed] in (["none"], ["off"]):
        return ()
    found: list[Network] = []
    for word in listed:
        try:
            found.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            hint = "10.0.0.5 or 10.0.0.0/8; 'none' trusts no proxy"
            raise ValueError(f"{word!r} is not an IP address or network; give for example {hint}") from None
    return tuple(dict.fromkeys(found))


def forwarding_headers(value: object) -> tuple[str, ...]:
    """Names of forwarding headers, separated by commas or as a list; ``none`` means no header."""
    given = [word for each in _texts(value) for word in words(each.lower())]
    if given == ["none"]:
        return ()
    for word in given:
        if word not in FORWARDING:
            hint = hinting(nearest(word, FORWARDING))
            raise ValueError(f"no such forwarding header {word!r}{hint} Give any of {', '.join(FORWARDING)}, or none")
    return tuple(each for each in FORWARDING if each in given)


def patterns(value: object) -> tuple[str, ...]:
    """Patterns of project names (``*``, ``?`` and ``[...]``), separated by commas or as a list."""
    given = [word for each in _texts(value) for word in words(each) or [each]]
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


def web_address(value: object) -> str:
    """An http or https URL with a host, without spaces or control characters."""
    address = str(value).strip()
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", address):
        raise ValueError(f"{value!r} is not an http or https URL; give for example https://pypi.example/simple/")
    return address


def base_address(value: object) -> str | None:
    """The URL of the server's root, or only its path with a slash at both ends; None for the root of the host."""
    written = str(value).strip()
    if "://" in written:
        return web_address(written)
    first = written.lstrip("/").partition("/")[0]
    # Without a leading slash, a name with a dot is probably a host.
    if not re.fullmatch(r"(?:/*[A-Za-z0-9._~!$&'()*+,;=@%-]+)*/*", written) or (written[:1] != "/" and "." in first):
        hint = "https://HOST/, https://HOST/PREFIX/ or /PREFIX/"
        raise ValueError(f"{value!r} is neither a URL nor a path; give {hint}")
    parts = [part for part in written.split("/") if part]
    if {".", ".."} & set(parts):
        raise ValueError(f"{value!r} contains '.' or '..', which clients resolve; give the resolved path")
    return f"/{'/'.join(parts)}/" if parts else None


def origins(value: object) -> tuple[str, ...]:
    """Origins as a browser sends them (RFC 6454 section 6.2), separated by commas or as a list; or ``*``."""
    given = [word for each in _texts(value) for word in words(each)]
    if "*" in given and len(given) > 1:
        raise ValueError("'*' is every origin; remove the others")
    for word in given:
        if word != "*" and not re.fullmatch(
            r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", word
        ):
            raise ValueError(
                f"{word!r} is not an origin; give scheme, host and an optional port in lower case, without a path: "
                "https://notebooks.example"
            )
    return tuple(dict.fromkeys(given))


def bucket_address(value: object) -> str:
    """The URL of a bucket, or of a prefix in one, without a trailing slash."""
    address = str(value).strip()
    match = re.fullmatch(r"([a-z0-9]+)://([^/?#\s]*)((?:/[^/?#\s]+)*)/*", address)
    if not match or match[1] not in BUCKETS or (not match[2] and match[1] not in _LOCAL_BUCKETS):
        hint = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://ACCOUNT/CONTAINER"
        raise ValueError(
            f"{value!r} is not the URL of a bucket; give {hint}; to serve a folder, name it without a flag"
        )
    return f"{match[1]}://{match[2]}{match[3]}"


def host(value: object) -> str:
    """A host name or IP address to listen on; an IPv6 address may have brackets."""
    name = str(value).strip()
    name = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", name):
        raise ValueError(f"{value!r} is not a host name or IP address; give for example 127.0.0.1, 0.0.0.0 or ::")
    return name


def address(value: object) -> tuple[str, int]:
    """A host and a port to listen on: ``127.0.0.1:9090``, ``[::1]:9090``, or only a port, which means loopback."""
    if isinstance(value, tuple | list) and len(value) == 2:
        return host(value[0]), int(whole_number(0, 65535)(value[1]))
    name, _, port = str(value).strip().rpartition(":")
    try:
        return host(name or "127.0.0.1"), int(whole_number(0, 65535)(port))
    except ValueError:
        hint = "HOST:PORT, such as 127.0.0.1:9090, or a port alone"
        raise ValueError(f"{value!r} is not an address to listen on; give {hint}") from None


def url_path(value: object) -> str:
    """The path part of a URL."""
    place = str(value).strip()
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", place):
        raise ValueError(f"{value!r} is not a URL path; give one that starts with '/', such as /health")
    return place


class _AnyField(dict[str, object]):
    """A request, response or error for trying out a format string."""

    def __missing__(self, key: str) -> object:
        return 200 if key == "status_code" else ""


def line_format(value: object) -> str:
    """A ``%(name)s`` format string for lines about requests; an empty one writes no line."""
    try:
        text(value) % _AnyField()
    except (ValueError, TypeError, KeyError) as fault:
        raise ValueError(f"{value!r} is not a format string ({fault}); give %(name)s fields, or '%s' alone") from None
    return text(value)


def record_format(value: object) -> str:
    """A format string over the fields of ``logging.LogRecord``."""
    try:
        record = logging.LogRecord("pypiserver", logging.INFO, "", 0, "", None, None)
        logging.Formatter(text(value)).format(record)
    except (ValueError, TypeError, KeyError) as fault:
        known = "give fields of logging.LogRecord such as %(message)s"
        raise ValueError(f"{value!r} is not a format string for log records ({fault}); {known}") from None
    return text(value)


def login_check(value: object) -> Callable[[str, str], bool]:
    """A callable that takes user and password and returns whether they are valid."""
    if not callable(value):
        raise ValueError(f"{value!r} is not callable; from Python, give a function that takes user and password")
    return value


def _several(value: object) -> list[object]:
    if not isinstance(value, Iterable):
        raise ValueError(f"{value!r} is neither a string nor a list")
    return list(value)


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [text(each) for each in _several(value)]
