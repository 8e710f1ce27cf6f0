"""``systemd``, ``nginx``, ``compose``: ready files for the given settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TextIO

from ...settings.config import Config
from ...settings.sources import Given
from ..options import ALL_SETTINGS, HELP, ROOTS
from ..subcommand import Subcommand


@dataclass(frozen=True, slots=True)
class Recipe:
    """Print a ready file of this kind (systemd, nginx, compose) for the given settings."""

    kind: str
    config: Config
    given: Mapping[str, Given]

    def run(self, out: TextIO, err: TextIO) -> int:
        """Print it."""
        from ..deploy_files import render

        out.write(render(self.kind, self.config, self.given))
        return 0


def _command(kind: str, what: str) -> Subcommand:
    build = partial(Recipe, kind)
    summary = f"Print {what} for these settings."
    examples = ((f"{kind} -p 81 /srv/packages", "for these settings, to a file or to look at"),)
    options = (*ALL_SETTINGS, *HELP)
    return Subcommand(kind, summary, build, (ROOTS,), options, wants_given=True, examples=examples)


SYSTEMD = _command("systemd", "a systemd unit")
NGINX = _command("nginx", "an nginx configuration")
COMPOSE = _command("compose", "a compose file")
