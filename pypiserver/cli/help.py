"""The text of ``--help``, drawn from the tables of settings and commands.

Pure: it gets tables and returns text, at most 79 columns wide, with one entry for each flag.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from ..settings.config import SETTINGS
from ..settings.setting import Setting
from ..settings.sources import ENVIRON_PREFIX

WIDTH = 79


def paragraph(text: str, indent: str = "") -> str:
    """Text filled to the width, every line indented."""
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def spelling(option: Setting) -> str:
    """How the flag is written: ``-p, --port PORT``."""
    return ", ".join(option.flags) + (f" {option.metavar}" if option.takes_value else "")


def entry(option: Setting) -> str:
    """A flag with its help, its default, and its variable where that has another name than the flag."""
    words = [option.help]
    if option.default_text:
        words.append(f"(default: {option.default_text})")
    if not all(choice in option.help for choice in option.choices):
        words.append(f"One of: {', '.join(option.choices)}.")
    if option.name in SETTINGS and "--" + option.name.replace("_", "-") not in option.flags:
        words.append(f"[{ENVIRON_PREFIX}{option.name.upper()}]")
    return f"  {spelling(option)}\n{paragraph(' '.join(words), '      ')}"


def sections(options: Iterable[Setting]) -> Iterable[str]:
    """The entries under the headings of their groups, in the order the groups first appear."""
    groups: dict[str, list[str]] = {}
    for option in options:
        if option.flags:
            groups.setdefault(option.group, []).append(entry(option))
    for heading, entries in groups.items():
        yield f"{heading}:\n" + "\n".join(entries)


def listing(heading: str, rows: Mapping[str, str]) -> str:
    """A heading with a row for each word and what it means."""
    column = max(map(len, rows)) + 2
    lines = [f"  {word:<{column}}{meaning}" for word, meaning in rows.items()]
    return "\n".join([f"{heading}:", *lines])
