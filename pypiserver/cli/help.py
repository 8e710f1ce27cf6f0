"""The texts of ``-h``, ``--help`` and ``help``, made from the rows of commands.

**Invariants:** pure: rows in, text out; no line has more than 79 columns; ``-h`` fits a terminal of 24
lines, that of a command one of 40; every flag
has an entry in ``--help``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from ..settings.config import GROUPS, SETTINGS
from ..settings.setting import Setting
from ..settings.sources import ENVIRON_PREFIX
from .subcommand import DOCUMENTATION, PROGRAM, Subcommand

WIDTH = 79
# A command with more settings than this takes all of them.
_MANY = 30
# The flags that the README names first.
FIRST_FLAGS = (
    *("-p PORT", "-i ADDRESS", "-P FILE", "-a ACTIONS", "-o", "--disable-fallback", "--fallback-mode MODE"),
    *("--private PATTERN", "-v"),
)
EXAMPLES = (
    ("-p 8080 ~/packages", "serve a folder on port 8080"),
    ("-P htpasswd ~/packages", "let the users in this file upload"),
    ("-P . -a . ~/packages", "let everyone upload"),
    ("-U ~/packages", "look for newer releases"),
    ("yank foo==1.0", "let installers avoid it"),
    ("check ~/packages", "read every file"),
)
KINDS = (
    ("serve", ("run", "healthcheck")),
    ("packages", ("yank", "unyank", "delete", "restore", "unclaim", "check", "copy", "update", "stats")),
    ("users", ("passwd", "rights", "token")),
    ("set up", ("config", "systemd", "nginx", "compose", "completion")),
    ("storage", ("reindex", "gc", "cache", "proxy")),
)
# Holds a flag and its value on one line.
_HELD = "\xa0"
TOPICS = (*(each.lower() for each in GROUPS), "updates", "commands", "all")


def screen(row: Subcommand, commands: Mapping[str, Subcommand]) -> str:
    """The help of ``-h``: the purpose of a command, examples, and the most common flags."""
    if row.name:
        own = [each for each in row.options if each.name not in SETTINGS and each.group != "Help"]
        shared = [each.flags[-1] for each in row.options if each.name in SETTINGS]
        named = "every setting" if len(shared) > _MANY else ", ".join(shared)
        note = f"It takes {named}, too; '{PROGRAM} {row.name} --help' explains all." if shared else ""
        return _joined(_head(row), *_examples(row), *sections(own), paragraph(note), _epilogue())
    first = "Serve the packages in each DIR (default: ~/packages) as a Python package index."
    held = ", ".join(each.replace(" ", _HELD) for each in FIRST_FLAGS)
    flags = textwrap.fill(f"Flags: {held}", WIDTH, subsequent_indent=" " * 7)
    more = f"All flags: {PROGRAM} --help. One command or topic: {PROGRAM} help NAME"
    return _joined(
        _usage(row), first, _table((f"{PROGRAM} {line}", text) for line, text in EXAMPLES),
        "Commands:\n" + _table((kind, ", ".join(name for name in names if name in commands)) for kind, names in KINDS),
        f"{flags}\n{more}\n{_epilogue()}".replace(_HELD, " "),
    )  # fmt: skip


def full(row: Subcommand, commands: Mapping[str, Subcommand]) -> str:
    """The help of ``--help``: everything about a command, or about the program."""
    if row.name:
        return _joined(_head(row), *_examples(row), *sections(row.options), _epilogue())
    about = (
        f"{row.summary} Without a DIR it serves ~/packages. Files and folders that start with a dot are left out. "
        "Flags and folders can be in any order."
    )
    return _joined(
        _usage(row), paragraph(about), *sections(row.options), _commands(commands), *map(paragraph, _NOTES), _epilogue()
    )


def topic(name: str, row: Subcommand, commands: Mapping[str, Subcommand]) -> str | None:
    """The help of one topic (of ``TOPICS``), None for any other name."""
    if name == "all":
        return full(row, commands)
    if name == "commands":
        return _joined(_commands(commands), _epilogue())
    found = [each for each in row.options if each.group.lower() == name]
    return _joined(*sections(found), paragraph(_NOTES[1]), _epilogue()) if found else None


_NOTES = (
    f"'{PROGRAM} COMMAND --help' tells more about a command, '{PROGRAM} help TOPIC' about one of these: "
    f"{', '.join(TOPICS)}. To serve a folder that is called like a command, write it as ./NAME.",
    "Every setting can also be given as a variable: PYPISERVER_PORT=8080 means --port 8080, "
    "PYPISERVER_OVERWRITE=yes means --overwrite; or in a file, pypiserver.toml: port = 8080. Flags win over "
    "variables, and variables over the file.",
)


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _usage(row: Subcommand) -> str:
    return f"usage: {row.usage}\n       {PROGRAM} COMMAND [OPTIONS] ..."


def _head(row: Subcommand) -> str:
    return f"usage: {row.usage}\n\n{paragraph(row.summary)}"


def _examples(row: Subcommand) -> list[str]:
    lines = [f"  {PROGRAM} {line}\n{paragraph(text, '      ')}" for line, text in row.examples]
    return ["Examples:\n" + "\n".join(lines)] if lines else []


def _commands(commands: Mapping[str, Subcommand]) -> str:
    return "Commands:\n" + _table((each.name, each.summary) for each in commands.values())


def _epilogue() -> str:
    return f"Documentation: {DOCUMENTATION}"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    """A row for each word and its meaning; a meaning that is too long continues below its row."""
    listed = list(rows)
    column = max(len(word) for word, _ in listed) + 4
    return "\n".join(
        textwrap.fill(
            meaning, WIDTH, initial_indent=f"  {word}".ljust(column), subsequent_indent=" " * column,
            break_long_words=False, break_on_hyphens=False,
        )
        for word, meaning in listed
    )  # fmt: skip


def paragraph(text: str, indent: str = "") -> str:
    """Text filled to the width, every line indented."""
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def spelling(option: Setting) -> str:
    """The flag as the help writes it: ``-p, --port PORT``."""
    return ", ".join(option.flags) + (f" {option.metavar}" if option.takes_value else "")


def entry(option: Setting) -> str:
    """A flag with its help, its default, and its variable if its name differs from the flag's."""
    words = [option.help]
    if option.default_text:
        words.append(f"(default: {option.default_text})")
    if not all(choice in option.help for choice in option.choices):
        words.append(f"One of: {', '.join(option.choices)}.")
    if option.name in SETTINGS and "--" + option.name.replace("_", "-") not in option.flags:
        words.append(f"[{ENVIRON_PREFIX}{option.name.upper()}]")
    return f"  {spelling(option)}\n{paragraph(' '.join(words), '      ')}"


def sections(options: Iterable[Setting]) -> Iterable[str]:
    """The entries under the headings of their groups, in the order in which the groups first appear."""
    groups: dict[str, list[str]] = {}
    for option in options:
        if option.flags:
            groups.setdefault(option.group, []).append(entry(option))
    for heading, entries in groups.items():
        yield f"{heading}:\n" + "\n".join(entries)
