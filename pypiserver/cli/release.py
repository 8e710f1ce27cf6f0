"""The release, or the one file, that yank, unyank, delete and restore are about."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError
from ..settings.config import Config


@dataclass(frozen=True, slots=True)
class Selection:
    """Files of a project in one folder or bucket; ``root`` is the only one of ``config``."""

    config: Config
    root: Path | str
    name: str = ""
    version: str | None = None
    file: str | None = None
    json: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Release(Selection):
    """A release of a project, or one file of it; raises ConfigError where neither is named."""

    def __post_init__(self) -> None:
        if not self.version and not self.file:
            message = f"It is not said which release of {self.name!r}; give a VERSION, or --file NAME."
            raise ConfigError(message, kind="missing", setting="version")


def require_bucket(config: Config) -> None:
    """Raise ConfigError where the packages are in folders."""
    if config.storage is None:
        message = "This is for a bucket; name it with --storage URL. A folder is looked at by its server."
        raise ConfigError(message, kind="missing", setting="storage")
