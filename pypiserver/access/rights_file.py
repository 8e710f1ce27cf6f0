"""The rights file: who may do what with which projects, a line for each grant.

::

    group platform: ada grace @leads        # groups may contain groups
    everyone       read              acme-public-*
    authenticated  list,download     * !secret-*
    @platform      read,upload,yank  acme-*

**Invariants:** lines only add, in any order, so a line that is left out never grants anything; any other line is a
fault with its number, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..text import cut
from .patterns import read_patterns
from .principal import ACTIONS, WORDS
from .rights import Grant, Who
from .text_lines import Fault, numbered, printable

# A larger file is refused as a whole; ten thousand lines take a quarter of it.
MAX_BYTES = 2 << 20
MAX_GROUPS = 1000
# What is compiled of this many for one principal is just small enough to be kept (``rights.ALLOWED_BYTES``).
MAX_PATTERNS = 20_000
# A word is plain, or quoted where it contains blanks or means something else without quotes: "night shift", "everyone".
_WORD = re.compile(r'\s*(?:(?P<at>@?)"(?P<quoted>[^"]*)"(?=\s|:|$)|(?P<plain>[^\s"]+(?=\s|$)))')
_GROUP = re.compile(r"\s*group\s+(?P<name>\"[^\"]+\"|[^\s\":]+)\s*:(?P<members>.*)")
_SECTION = re.compile(r"\s*\[\s*(?P<words>[^]]*)\]?")
_FORM = "of the form WHO ACTIONS PATTERN..., such as: @staff read acme-*"
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class RightsText:
    """What a rights file says: its grants, the members of each group, and the lines that cannot be used.

    Members are users and groups, as in a line. ``group_lines`` has the number of each group's first line.
    """

    grants: tuple[Grant, ...]
    groups: Mapping[str, frozenset[Who]]
    group_lines: Mapping[str, int]
    faults: tuple[Fault, ...] = ()


def read_rights(data: bytes) -> RightsText:
    """Read the content of a rights file; never raises: what cannot be used is in ``faults``."""
    grants: list[Grant] = []
    groups: dict[str, set[Who]] = {}
    lines: dict[str, int] = {}
    faults: list[Fault] = []
    patterns = 0
    for number, raw in numbered(data):
        try:
            line = _text(raw)
            if section := _SECTION.fullmatch(line):
                # The lines below it were meant for one index only, so none of them may count for all.
                reason = f"sections such as [{cut(section['words'], _SHOWN)}] are not supported: there is one index"
                faults.append(Fault(number, f"{reason}; this line and all lines below it are left out"))
                break
            if group := _GROUP.fullmatch(line):
                name, members = group["name"].strip('"'), _members(group["members"])
                _refuse_circle(name, members, groups)
                if len(groups) >= MAX_GROUPS and name not in groups:
                    raise ValueError(f"there may be {MAX_GROUPS} groups")
                groups.setdefault(name, set()).update(members)
                lines.setdefault(name, number)
            elif line.strip():
                grant = _grant(number, line)
                patterns += grant.patterns.count
                if patterns > MAX_PATTERNS:
                    raise ValueError(f"there may be {MAX_PATTERNS:,} patterns")
                grants.append(grant)
        except ValueError as error:
            faults.append(Fault(number, str(error)))
    return RightsText(tuple(grants), {name: frozenset(of) for name, of in groups.items()}, lines, tuple(faults))


def _text(raw: bytes) -> str:
    """The line without its comment; raises ValueError."""
    line = printable(raw)
    # A "#" in a word is part of it; in quotes, it is text.
    at, is_quoted = 0, False
    for at, character in enumerate(line):
        if character == '"':
            is_quoted = not is_quoted
        elif character == "#" and not is_quoted and (at == 0 or line[at - 1] == " "):
            return line[:at].rstrip()
    return line.rstrip()


class _Word(NamedTuple):
    """A word of a line, and the user or group that it names; without quotes it may not contain every character."""

    who: Who
    is_quoted: bool

    @property
    def text(self) -> str:
        return str(self.who)


def _grant(number: int, line: str) -> Grant:
    words = list(_words(line))
    if words[0] == (Who("user", "group"), False) and (len(words) < 3 or words[1].text not in WORDS):
        raise ValueError("a group is written: group NAME: USER @GROUP...")
    if len(words) < 3:
        raise ValueError(f"it is not {_FORM}")
    who, actions, *patterns = words
    _refuse_other_name(who)
    allowed = _actions(actions.text)
    return Grant(number, " ".join(line.split()), who.who, allowed, read_patterns(word.text for word in patterns))


def _words(text: str) -> Iterator[_Word]:
    """The words of a line; raises ValueError."""
    at = 0
    while at < len(text):
        found = _WORD.match(text, at)
        if found is None:
            raise ValueError("a quotation mark is missing, or is inside of a word")
        at = found.end()
        plain, quoted = found["plain"] or "", found["quoted"]
        if quoted is not None:
            yield _Word(Who("group" if found["at"] else "user", quoted), True)
        elif plain in ("everyone", "authenticated"):
            yield _Word(Who(plain), False)
        else:
            yield _Word(Who("group", plain[1:]) if plain.startswith("@") else Who("user", plain), False)


def _refuse_other_name(word: _Word) -> None:
    """Raise ValueError for what is probably meant as more than one name, or as something else."""
    name, shown = word.who.name, cut(word.text, _SHOWN)
    if word.who.kind in ("user", "group") and not name.strip():
        raise ValueError("a name is empty")
    if not word.is_quoted and name.startswith("!"):
        raise ValueError("no line denies; write lines for what is allowed, or '!' before a pattern of such a line")
    if not word.is_quoted and "," in name:
        raise ValueError(f"{shown!r} is not one name; write a group for several, or quotes around a name with a comma")
    if ":" in name and word.who.kind == "user":
        raise ValueError(f"{shown!r} is not a user name: it has a colon")


def _members(text: str) -> set[Who]:
    words = list(_words(text))
    for word in words:
        _refuse_other_name(word)
        if word.who.kind not in ("user", "group"):
            raise ValueError(f"{word.text!r} cannot be a member of a group; write a line for it")
    return {word.who for word in words}


def _actions(text: str) -> frozenset[str]:
    found: set[str] = set()
    for word in text.split(","):
        if word not in WORDS:
            known = ", ".join((*ACTIONS, "read", "write", "all"))
            shown = cut(word, _SHOWN) or text
            raise ValueError(f"{shown!r} is not an action; there are {known}, with commas and no blanks between them")
        found |= WORDS[word]
    return frozenset(found)


def _refuse_circle(name: str, members: Iterable[Who], groups: Mapping[str, Iterable[Who]]) -> None:
    """Raise ValueError when the group would be a member of itself."""
    waiting, seen = [member.name for member in members if member.kind == "group"], set[str]()
    while waiting:
        group = waiting.pop()
        if group == name:
            raise ValueError(f"the group {name!r} would contain itself")
        if group not in seen:
            seen.add(group)
            waiting += [member.name for member in groups.get(group, ()) if member.kind == "group"]
