"""``config``: check the settings, or show them and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ...errors import Mistake
from ...settings import parsers as types
from ...settings import path_parsers
from ...settings.config import Config
from ...settings.sources import Given
from ...settings.toml_file import NAME
from ..options import ALL_SETTINGS, HELP, JSON
from ..subcommand import Subcommand, operand

TASKS = ("check", "show", "init")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Report whether the settings can be used (``task`` check), or their values and sources (show).

    Or make the file ``target`` from the given settings (init). ``config`` is None if there are ``faults``; ``file`` is
    the configuration file that was read.
    """

    task: str
    config: Config | None
    given: Mapping[str, Given]
    faults: tuple[Mistake, ...] = ()
    file: Path | None = None
    json: bool = False
    target: Path = Path(NAME)

    def run(self, out: TextIO, err: TextIO) -> int:
        """Check or show; 1 if there are faults."""
        from .. import show_config

        settings = show_config.Settings(self.config, self.given, self.file)
        if self.task == "init":
            return show_config.init(self.target, settings, out)
        return show_config.run(self.task, settings, self.faults, out=out, err=err, as_json=self.json)


COMMAND = Subcommand(
    "config",
    "Check the settings, show where each comes from, or make a file of them (init).",
    Configuration,
    (operand("task", "TASK", types.one_of(TASKS, "task"), TASKS), operand("config_file", "FILE", path_parsers.path)),
    (JSON, *ALL_SETTINGS, *HELP),
    required=1,
    wants_given=True,
    examples=(
        ("config check /etc/pypiserver.toml", "find mistakes without a start"),
        ("config init -p 81 --disable-fallback", "make pypiserver.toml with these settings, the rest as comments"),
        ("config show -p 81", "all settings, and where each comes from"),
    ),
)
