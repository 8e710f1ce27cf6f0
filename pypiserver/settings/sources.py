"""Merging the sources of settings: keywords, environment variables, the configuration file and paste sections.

**Invariants:** every source goes through one table of names, older names included; a value keeps the flag, variable or
keyword it was written under, so that messages can name it; mistakes are collected, not raised. Values stay as they were
written: ``config`` parses them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigError, Mistake
from . import path_parsers
from .setting import Setting
from .suggestions import hinting, nearest

ENVIRON_PREFIX = "PYPISERVER_"
_IGNORED = ("VERSION",)  # default_config() of 1.x contains it
# Kubernetes puts the address of a service called "pypiserver" into PYPISERVER_PORT of every container.
# Users and passwords for other indexes, which are no settings.
_CREDENTIALS = re.compile(r"upstream_.+_(user|password|password_file)")
_FOREIGN_VALUE = re.compile(r"(tcp|udp|sctp)://")


class Given(NamedTuple):
    """A value as it was written.

    ``label`` is the flag, variable or keyword; ``negate`` is true for a keyword that means the opposite; ``source`` is
    the path of the configuration file, or empty.
    """

    label: str
    value: object
    negate: bool = False
    source: str = ""


class Sources:
    """The names of a table of settings, and the values that each source gives; ``default_of(name)`` is a default."""

    def __init__(self, settings: Mapping[str, Setting], default_of: Callable[[str], object]) -> None:
        self._settings = settings
        self._default_of = default_of
        self._by_keyword: Mapping[str, Setting] = {
            keyword: each for each in settings.values() for keyword in (each.name, *each.aliases, *each.opposites)
        }

    def declared(self, keyword: str) -> Setting | None:
        """The setting with this current or older name; None for an unknown name."""
        return self._by_keyword.get(keyword)

    def gather(
        self, flags: Mapping[str, Given], environ: Mapping[str, str], file: Mapping[str, Given], faults: list[Mistake]
    ) -> dict[str, Given]:
        """The value given for each setting, by the source that wins: flag, variable, file.

        An empty variable counts as unset.
        A variable that looks like a misspelled setting is a mistake; in a file, every unknown name is one.
        ``PYPISERVER_<NAME>_FILE`` names a file that holds the value, as containers get their secrets.
        """
        written: dict[str, Given] = {}
        for variable, value in environ.items():
            name = variable[len(ENVIRON_PREFIX) :].lower()
            if not variable.startswith(ENVIRON_PREFIX) or not value or _CREDENTIALS.fullmatch(name):
                continue
            if name in self._by_keyword and not _FOREIGN_VALUE.match(value):
                written[name] = Given(variable, value)
            elif name not in self._by_keyword and name.removesuffix("_file") in self._by_keyword:
                self._read_value(Given(variable, value), environ, written, faults)
            elif name not in (*self._by_keyword, "config") and (
                meant := nearest(name.upper(), map(str.upper, self._by_keyword), 0.8)
            ):
                sentence = f"{variable}: no such setting{hinting(meant)}"
                faults.append(Mistake(sentence, "unknown", name, value, variable, meant))
        variables = {name: self.divided(name, each) for name, each in self._resolve(written, faults).items()}
        return {**self._resolve(file, faults), **variables, **flags}

    def resolve_keywords(self, written: Mapping[str, Given], faults: list[Mistake]) -> dict[str, Given]:
        """Values by setting name, from keywords, including those of 1.x and 2.x.

        A keyword with the default value yields to another name of the same setting, and default folders to a bucket.
        """
        used: dict[str, Given] = {}
        for keyword, each in written.items():
            if keyword == "welcome_msg" and isinstance(each.value, str):
                used[keyword] = each._replace(value=path_parsers.Content(each.value) if each.value else None)
            elif keyword not in _IGNORED:
                used[keyword] = each._replace(value=None) if self._is_left_empty(keyword, each) else each
        names = [self._by_keyword[keyword].name for keyword in used if keyword in self._by_keyword]
        has_bucket = any(each in used and used[each].value is not None for each in ("storage", "store_url"))
        repeated = {name for name in names if names.count(name) > 1} | ({"roots"} if has_bucket else set())
        weak = [keyword for keyword, each in used.items() if self._says_default(keyword, each, repeated)]
        first = {keyword: used.pop(keyword) for keyword in weak}
        if has_bucket:
            first = {keyword: each for keyword, each in first.items() if self._by_keyword[keyword].name != "roots"}
        return self._resolve({**first, **used}, faults, weak)

    def divided(self, name: str, given: Given, folders: Callable[[str], list[str]] = path_parsers.path_list) -> Given:
        """The value as a list, split, for settings that take several values."""
        split = folders if name == "roots" else self._settings[name].split
        return given if split is None else given._replace(value=split(str(given.value)))

    def _read_value(
        self, each: Given, environ: Mapping[str, str], written: dict[str, Given], faults: list[Mistake]
    ) -> None:
        """Read the file that ``<variable>_FILE`` names, as the value of the variable."""
        variable = each.label.removesuffix("_FILE")
        if environ.get(variable):
            faults.append(_twice(variable[len(ENVIRON_PREFIX) :].lower(), each, variable))
            return
        try:
            value = Path(str(each.value)).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            words = getattr(error, "strerror", None) or "it is not UTF-8 text"
            sentence = f"{each.label}: the file {each.value} cannot be read ({words})."
            name = variable[len(ENVIRON_PREFIX) :].lower()
            faults.append(Mistake(sentence, "unreadable", name, each.value, each.label))
            return
        written[variable[len(ENVIRON_PREFIX) :].lower()] = Given(each.label, value)

    def _is_left_empty(self, keyword: str, given: Given) -> bool:
        """Whether this is an empty string that means the default; never for ``roots`` and ``authenticate``."""
        declared = self._by_keyword.get(keyword)
        if declared is None or given.value != "" or declared.name in ("roots", "authenticate"):
            return False
        try:
            declared.parse("")
        except ValueError:
            return True
        return False

    def _says_default(self, keyword: str, given: Given, repeated: Collection[str]) -> bool:
        """Whether this keyword gives the default to a setting that another keyword names too."""
        declared = self._by_keyword.get(keyword)
        if declared is None or declared.name not in repeated:
            return False
        if given.value is None and not declared.none_is_value:
            return True
        try:
            value = declared.parse(given.value)
            return bool((not value if keyword in declared.opposites else value) == self._default_of(declared.name))
        except (ValueError, ConfigError):
            return False

    def _resolve(
        self, written: Mapping[str, Given], faults: list[Mistake], weak: Collection[str] = ()
    ) -> dict[str, Given]:
        """Values by setting name, from current and older keywords; those in ``weak`` yield to others."""
        given: dict[str, Given] = {}
        for keyword, each in written.items():
            declared = self._by_keyword.get(keyword)
            if declared is None:
                meant = nearest(keyword, self._by_keyword)
                sentence = f"{each.label}: no such setting{hinting(meant)}"
                faults.append(Mistake(sentence, "unknown", keyword, each.value, each.label, meant))
            elif declared.name in given and given[declared.name].label.removesuffix("=") not in weak:
                faults.append(_twice(declared.name, each, given[declared.name].label))
            else:
                given[declared.name] = each._replace(negate=keyword in declared.opposites)
        return given


def _twice(name: str, given: Given, other: str) -> Mistake:
    """The mistake of giving a setting that ``other`` already gives."""
    sentence = f"{given.label} and {other} are the same setting; give only one of them."
    return Mistake(sentence, "twice", name, given.value, given.label)
