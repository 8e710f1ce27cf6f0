"""The tables ``[[upstream]]`` of ``pypiserver.toml``, each another index; from Python, a list of mappings.

**Invariants:** those of :mod:`parsers`; an unknown key is a mistake; no message repeats a URL, because it
may have a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from . import parsers
from .address_parsers import web_address
from .suggestions import hinting, nearest

# The folder of an index in the cache has this name, and so have its variables.
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
UNKNOWN_AGES = ("withhold", "first-seen")
FORMATS = ("wheel", "sdist")


def index_name(value: object) -> str:
    """The name of an index."""
    if not NAME.fullmatch(str(value)):
        raise ValueError(f"{value!r} is not a name of an index; give letters a-z, digits and '-', such as pytorch")
    return str(value)


def index_url(value: object) -> str:
    """The address of a simple page, with a slash at its end."""
    try:
        address = web_address(value)
    except ValueError:
        raise ValueError("it is not an http or https URL; give for example https://pypi.example/simple/") from None
    if "?" in address or "#" in address:
        raise ValueError("it has a query or fragment; give the address of the simple page without them")
    return address.rstrip("/") + "/"


def project_patterns(value: object) -> tuple[str, ...]:
    """Patterns of projects, with ``!`` before those that are left out."""
    given = tuple(dict.fromkeys(word for each in parsers.texts(value) for word in parsers.words(each)))
    for word in given:
        if not re.fullmatch(r"!?[A-Za-z0-9._*?-]+", word):
            raise ValueError(f"{word!r} is not a pattern of project names; give for example 'acme-*' or '!acme-sdk'")
    if not any(not word.startswith("!") for word in given):
        raise ValueError("it names no project; '*' is every project")
    return given


def statuses(value: object) -> tuple[int, ...]:
    """HTTP statuses of failure."""
    given = parsers.several(value) if not isinstance(value, int | str) else [value]
    return tuple(sorted({int(parsers.whole_number(400, 499)(each)) for each in given}))


def origins(value: object) -> tuple[str, ...]:
    """Origins, ``https://host`` with an optional port."""
    given = parsers.texts(value)
    for each in given:
        if not re.fullmatch(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?", each):
            raise ValueError(f"{each!r} is not an origin; give scheme and host, such as https://files.example")
    return tuple(dict.fromkeys(each.rstrip("/").lower() for each in given))


def choices_of(choices: tuple[str, ...], what: str) -> Callable[[object], tuple[str, ...]]:
    """A parser of some words of ``choices``."""
    one = parsers.one_of(choices, what)
    return lambda value: tuple(dict.fromkeys(one(each) for each in parsers.texts(value)))


def tag_patterns(value: object) -> tuple[str, ...]:
    """Tags of wheels, or patterns of them: ``win_amd64``, ``manylinux*``, ``cp312``."""
    given = parsers.texts(value)
    for each in given:
        if not re.fullmatch(r"[A-Za-z0-9_.*?]+", each):
            raise ValueError(f"{each!r} is no tag of wheels; give for example 'manylinux*', 'win_amd64' or 'cp312'")
    return tuple(dict.fromkeys(each.lower() for each in given))


def _key(default: object, parse: Callable[[object], Any], help: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help})


@dataclass(frozen=True, slots=True)
class UpstreamTable:
    """One table; a key is a field, with its parser and its text for the reference."""

    name: str = _key("", index_name, "Its name: a-z, 0-9 and '-'; the folder in the cache has this name. Required.")
    url: str = _key("", index_url, "The address of its simple page, https://HOST/simple/. Required.")
    projects: tuple[str, ...] = _key(
        ("*",), project_patterns, "Ask it for these projects only: a list of patterns; '!' before one leaves it out."
    )
    missing: tuple[int, ...] = _key(
        (404, 410), statuses, "HTTP statuses that mean 'this project is not here'; some indexes answer 403."
    )
    hosts: tuple[str, ...] = _key(
        (), origins, "Further origins that may have private addresses, such as http://files.internal:8081."
    )
    min_age: int | None = _key(None, parsers.duration, "Instead of --min-age; '0' for none.")
    unknown_age: str = _key(
        "withhold", parsers.one_of(UNKNOWN_AGES, "way"),
        "What to do with files without an upload time: withhold them, or count from when a page first had them "
        "(first-seen).",
    )  # fmt: skip
    formats: tuple[str, ...] = _key((), choices_of(FORMATS, "format"), "Only these kinds of files: wheel, sdist.")
    platforms: tuple[str, ...] = _key((), tag_patterns, "Only wheels for these platforms: patterns of tags.")
    pythons: tuple[str, ...] = _key((), tag_patterns, "Only wheels for these Pythons: patterns of tags, such as cp312.")
    max_file_size: int | None = _key(None, parsers.size, "Only files up to this size, such as 500M.")


KEYS: Mapping[str, Mapping[str, Any]] = {each.name: each.metadata for each in fields(UpstreamTable)}


def upstream_tables(value: object) -> tuple[UpstreamTable, ...]:
    """A list of tables or mappings; raises ValueError for the first mistake, which names its table."""
    if isinstance(value, str | Mapping):
        raise ValueError("each index is a table of its own in pypiserver.toml; write [[upstream]], with two brackets")
    found = tuple(_table(each, number) for number, each in enumerate(parsers.several(value), 1))
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two tables have the name {name!r}; give each index another one")
    return found


def _table(value: object, number: int) -> UpstreamTable:
    if isinstance(value, UpstreamTable):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("an index is a table; write [[upstream]], and below it name and url")
    label = f"table {number}" + (f" ({value['name']})" if isinstance(value.get("name"), str) else "")
    parsed = {}
    for key, each in value.items():
        if key not in KEYS:
            raise ValueError(f"{label} has a key {key!r}, which does not exist{hinting(nearest(str(key), KEYS))[:-1]}")
        try:
            parsed[key] = KEYS[key]["parse"](each)
        except ValueError as fault:
            raise ValueError(f"{label}, {key}: {fault}") from None
    for key in ("name", "url"):
        if key not in parsed:
            raise ValueError(f'{label} has no {key}; write {key} = "..." into it')
    return UpstreamTable(**parsed)
