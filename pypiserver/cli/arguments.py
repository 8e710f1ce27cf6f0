"""The words of one command, read by argparse: the given text of operands and options, by name.

Flags and operands can be in any order; ``--`` ends the flags. Long flags are never abbreviated, so that a new flag
cannot change the meaning of an old script.

**Invariants:** the result is the same with argparse of every supported Python; every mistake becomes one of our own,
with the flag as it was written, and all mistakes are reported together; nothing is printed, nothing exits.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from ..errors import ConfigError, Mistake
from ..settings.config import SETTINGS
from ..settings.setting import Setting
from ..settings.sources import Given
from ..settings.suggestions import hinting, nearest
from .subcommand import PROGRAM, Subcommand


class CommandParser(argparse.ArgumentParser):
    """argparse's parser of one command."""

    def __init__(self, row: Subcommand) -> None:
        # Given a usage, argparse does not build one each time.
        super().__init__(prog=PROGRAM, usage=row.usage, add_help=False, allow_abbrev=False)
        # A word like a negative number is a flag like any other: no command accepts a negative number.
        self._has_negative_number_optionals.append(True)
        for option in row.options:
            self.add_argument(*option.flags, action=_Record, setting=option)
        for each in row.operands:
            many = each.action == "repeat"
            self.add_argument(_place(each), metavar=each.metavar, nargs="*" if many else "?", default=None)

    def error(self, message: str) -> NoReturn:
        """Raise the message that argparse would print."""
        raise _RefusedError(message)


class _RefusedError(Exception):
    """argparse cannot read a command line."""


class _Record(argparse.Action):
    """Keeps what was given for a setting, with the flag that gave it."""

    def __init__(self, option_strings: Sequence[str], dest: str, setting: Setting, **_: Any) -> None:
        nargs = None if setting.takes_value else 0
        super().__init__(option_strings, setting.name, nargs=nargs, default=argparse.SUPPRESS)
        self._action = setting.action

    def __call__(self, parser: Any, namespace: argparse.Namespace, value: Any, flag: str | None = None) -> None:
        before: Given | None = getattr(namespace, self.dest, None)
        # Newer versions of argparse remove the sign from -vp=9 themselves.
        if isinstance(value, str) and flag and not flag.startswith("--"):
            value = value.removeprefix("=")
        setattr(namespace, self.dest, _added(before, Given(flag or "", value), self._action))


def read(row: Subcommand, words: Sequence[str], table: Mapping[str, Subcommand]) -> tuple[dict[str, Given], list[str]]:
    """The values given by flags, by the names of their settings, and the words that are not flags.

    Raises ConfigError with all mistakes; ``table`` has the commands that a flag may belong to.
    """
    # Versions of argparse treat the words after it differently.
    end = words.index("--") if "--" in words else len(words)
    head, tail = list(words[:end]), list(words[end + 1 :])
    try:
        found, rest = CommandParser(row).parse_known_intermixed_args(head)
    except _RefusedError as refused:
        raise ConfigError.of(_mistakes(row, head, table)) from refused
    values = vars(found)
    operands = [*_words(values.pop(_place(each)) for each in row.operands), *rest]
    # argparse does not recognize a flag with a space in it.
    if any(word.startswith("-") and word != "-" for word in operands):
        raise ConfigError.of(_mistakes(row, head, table))
    return values, [*operands, *tail]


def _place(each: Setting) -> str:
    """The name of an operand in argparse, which differs from that of an option with the same name."""
    return f"operand {each.name}"


def _words(values: Iterable[Any]) -> Iterator[str]:
    """The words in the values of operands; a value is one word, several, or None."""
    for value in values:
        if isinstance(value, str):
            yield value
        else:
            yield from value or ()


def flags_in(word: str, by_flag: Mapping[str, Setting]) -> Iterator[tuple[str, str | None]]:
    """The flags in one word with the value attached to each: ``--port=80``, ``-Ux``, ``-p80``, ``-p=80``."""
    if word.startswith("--"):
        flag, attached, value = word.partition("=")
        yield flag, value if attached else None
        return
    letters = word[1:] if word.startswith("-") else ""
    while letters:
        flag, letters = f"-{letters[0]}", letters[1:]
        if flag in by_flag and by_flag[flag].takes_value and letters:
            yield flag, letters.removeprefix("=")
            return
        yield flag, None


def _mistakes(row: Subcommand, words: Sequence[str], table: Mapping[str, Subcommand]) -> Iterator[Mistake]:
    """Every flag that is unknown, lacks its value, or takes none, in words that argparse refused."""
    by_flag = {flag: option for option in row.options for flag in option.flags}
    left = list(reversed(words))
    while left:
        word = left.pop()
        for flag, value in flags_in(word, by_flag) if word != "-" else ():
            option = by_flag.get(flag)
            if option is None:
                yield _unknown(flag, value, row, table)
            elif not option.takes_value and value is not None:
                yield Mistake(f"{flag} takes no value; leave out {value!r}.", "takes-none", option.name, value, flag)
            elif option.takes_value and value is None:
                if not left or left[-1][:1] == "-" != left[-1]:
                    sentence = f"{flag} needs a value; write {flag} {option.metavar}."
                    yield Mistake(sentence, "needs-value", option.name, None, flag)
                else:
                    left.pop()


def _unknown(flag: str, value: str | None, row: Subcommand, table: Mapping[str, Subcommand]) -> Mistake:
    """The mistake of an unknown flag: with what was probably meant, or the commands it belongs to."""
    by_flag = {flag: option for option in row.options for flag in option.flags}
    if not flag.startswith("--"):
        near = flag.swapcase() if flag.swapcase() in by_flag else ""
    else:
        known = [each for each in by_flag if each.startswith("--")]
        longer = [each for each in known if each.startswith(flag)]
        near = nearest(flag, longer, 0.0) if longer else nearest(flag, known, 0.7)
    owners = [name for name, row in table.items() if any(flag in option.flags for option in row.options)]
    if flag in SETTINGS["storage"].flags and any(each.name == "root" for each in row.operands):
        hint, meant = f"; the URL of a bucket is the first word: {PROGRAM} {row.name} s3://BUCKET ...", "root"
    elif owners and near and row.name:
        hint, meant = hinting(near), near
    elif owners and row.name:
        others = owners[0] if len(owners) == 1 else f"{owners[0]} and {len(owners) - 1} other commands"
        hint, meant = f" in '{PROGRAM} {row.name}'; it is one of {others}. See {PROGRAM} {row.name} -h.", owners[0]
    elif owners:
        hint, meant = f"; it belongs to '{PROGRAM} {owners[0]}'.", owners[0]
    else:
        hint, meant = hinting(near) if near else f"; see {PROGRAM} --help.", near
    return Mistake(f"There is no flag {flag}{hint}", "misplaced" if owners else "unknown", flag, value, flag, meant)


def _added(before: Given | None, now: Given, action: str) -> Given:
    """The value of an option after its flag was given once more."""
    if action == "repeat":
        return now._replace(value=[*listed(before), now.value])
    if action == "count":
        return now._replace(value=1 if before is None else int(str(before.value)) + 1)
    return now if action == "value" else now._replace(value=action != "off")


def listed(given: Given | None) -> list[object]:
    """The values of an option that may be repeated."""
    return list(given.value) if given is not None and isinstance(given.value, list) else []
