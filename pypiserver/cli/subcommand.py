"""A command: a row with its name, operands, flags and help, and the value that it becomes.

**Invariants:** a row is plain data, made when its file is imported; the parser, the help, the completion scripts and
the reference documentation are loops over rows; only the value's ``run`` has effects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from ..settings import parsers as types
from ..settings.config import GROUPS, SETTINGS
from ..settings.setting import Parser, Setting

PROGRAM = "pypi-server"
DOCUMENTATION = "https://github.com/pypiserver/pypiserver"
# The commands, in the order of the help; each has a row in ``commands``.
NAMES = (
    "run", "update", "passwd", "rights", "token", "yank", "unyank", "delete", "restore", "unclaim", "check", "reindex",
    "gc", "copy", "proxy", "config", "systemd", "nginx", "compose", "stats", "completion", "help", "healthcheck",
    "cache",
)  # fmt: skip


class Command(Protocol):
    """A command with its arguments, ready to run."""

    def run(self, out: TextIO, err: TextIO) -> int:
        """Run it, write the report to ``out``, and return the exit status; raises PypiServerError."""


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A row of the table; the first ``required`` operands must be given.

    ``build`` makes the command from the values of operands and options by name. A command that takes any setting gets
    them as one ``config``; its first operand may be ``roots`` (the folders of the settings) or ``root`` (the only
    folder, if it is named). ``wants_given`` says that it also gets the given values, ``wants_table`` that it gets the
    table of all commands. ``examples`` are command lines without the name of the program, each with its effect;
    ``synopsis_text`` is how the operands are written if not one by one.
    """

    name: str
    summary: str
    build: Callable[..., Command]
    operands: tuple[Setting, ...]
    options: tuple[Setting, ...]
    required: int = 0
    wants_given: bool = False
    wants_table: bool = False
    examples: Sequence[tuple[str, str]] = ()
    synopsis_text: str = ""

    @property
    def synopsis(self) -> str:
        """The operands as the help writes them."""
        if self.synopsis_text:
            return self.synopsis_text
        shown = [each.metavar + ("..." if each.action == "repeat" else "") for each in self.operands]
        return " ".join(text if at < self.required else f"[{text}]" for at, text in enumerate(shown))

    @property
    def usage(self) -> str:
        """The usage line of the command."""
        return " ".join([PROGRAM, *([self.name] if self.name else []), "[OPTIONS]", self.synopsis]).rstrip()


def switch(name: str, *flags: str, text: str, group: str = "Options") -> Setting:
    """A flag without a value."""
    return Setting(name=name, parse=types.boolean, action="switch", flags=flags, help=text, group=group)


def operand(name: str, metavar: str, parse: Parser = types.text, choices: tuple[str, ...] = ()) -> Setting:
    """A word that is not a flag."""
    return Setting(name=name, parse=parse, metavar=metavar, help="", choices=choices)


def settings(*names: str) -> tuple[Setting, ...]:
    """The settings of these names."""
    return tuple(SETTINGS[name] for name in names)


def all_settings() -> tuple[Setting, ...]:
    """Every setting that has a flag, by group."""
    return tuple(each for group in GROUPS for each in SETTINGS.values() if each.group == group and each.flags)
