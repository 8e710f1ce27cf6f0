"""The program without a command: serve the folders or, with ``-U``, look for updates of their packages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...errors import ConfigError
from ...settings.config import Config
from ..options import ALL_SETTINGS, HELP, ROOTS
from ..subcommand import Command, Subcommand, switch
from .run import Run
from .update import OPTIONS, Update

UPDATE = switch(
    "update",
    "-U",
    "--update",
    text="Look for newer releases of the packages in each DIR; do not serve.",
    group="Updates",
)


def _build(config: Config, *, update: bool = False, **options: Any) -> Command:
    if update:
        return Update(config, **options)
    for each in OPTIONS:
        if each.name in options:
            message = f"{each.flags[0]} belongs to the search for updates; add -U, or leave it out."
            raise ConfigError(message, kind="contradiction", setting=each.name, source=each.flags[0])
    return Run(config)


CLASSIC = Subcommand(
    "",
    "Serve the packages in each DIR, and in the folders below it, as a Python package index.",
    _build,
    (ROOTS,),
    (*ALL_SETTINGS, UPDATE, *(replace(each, group="Updates") for each in OPTIONS), *HELP),
)
