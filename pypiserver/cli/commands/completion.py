"""``completion``: the script by which a shell completes command lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TextIO

from ...settings import parsers as types
from ..completion import completion_script
from ..options import HELP
from ..subcommand import Subcommand, operand

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, slots=True)
class Completion:
    """Print the completion script of a shell."""

    shell: str
    table: Mapping[str, Subcommand] = field(default_factory=dict, compare=False)

    def run(self, out: TextIO, err: TextIO) -> int:
        """Print it."""
        out.write(completion_script(self.shell, self.table))
        return 0


COMMAND = Subcommand(
    "completion",
    "Print the completion script for bash, zsh or fish.",
    Completion,
    (operand("shell", "SHELL", types.one_of(SHELLS, "shell"), SHELLS),),
    HELP,
    required=1,
    wants_table=True,
    examples=(
        ("completion bash > ~/.local/share/bash-completion/completions/pypi-server", "for bash"),
        ("completion fish > ~/.config/fish/completions/pypi-server.fish", "for fish"),
    ),
)
