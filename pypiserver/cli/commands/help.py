"""``help``: the help of a command, or of a topic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TextIO

from ...errors import ConfigError
from ...settings.suggestions import hinting, nearest
from ...terminal import colored, has_color
from ..help import TOPICS, full, screen, topic
from ..options import HELP
from ..subcommand import Subcommand, operand


@dataclass(frozen=True, slots=True)
class Help:
    """Print the help of a command or topic, or of the program if none is named; raises ConfigError for other names."""

    topic: str = ""
    table: Mapping[str, Subcommand] = field(default_factory=dict, compare=False)

    def run(self, out: TextIO, err: TextIO) -> int:
        """Print it."""
        write_help(self._text(), out)
        return 0

    def _text(self) -> str:
        commands = {name: row for name, row in self.table.items() if name}
        name = self.topic.lower()
        if not name:
            return screen(self.table[""], commands)
        if name in commands:
            return full(commands[name], commands)
        found = topic(name, self.table[""], commands)
        if found is None:
            near = nearest(name, (*commands, *TOPICS))
            raise ConfigError(
                f"There is no help about {self.topic!r}{hinting(near)} Give a command, or one of {', '.join(TOPICS)}.",
                kind="value",
                setting="topic",
                value=self.topic,
            )
        return found


def write_help(text: str, out: TextIO) -> None:
    """Write a help text, with headings in bold if the terminal has colors."""
    if has_color(out):
        text = re.sub(r"^(usage:|[A-Z][a-z ]*:)(?=$| )", lambda heading: colored(heading[1], "bold"), text, flags=re.M)
    out.write(text)


COMMAND = Subcommand(
    "help",
    "Show the help of a command or a topic.",
    Help,
    (operand("topic", "TOPIC"),),
    HELP,
    wants_table=True,
    examples=(
        ("help yank", "all about one command"),
        ("help logging", "the flags of one topic"),
        ("help all", "every flag"),
    ),
)
