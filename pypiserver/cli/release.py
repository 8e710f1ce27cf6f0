"""The files for yank, unyank, delete and restore, and their names on the command line.

``[DIR] NAME VERSION``, ``[DIR] NAME==VERSION``, or ``[DIR] NAME`` with ``--file`` or ``--all``. Without a DIR they are
in the folders, or the bucket, of the settings.

**Invariants:** words that meant DIR NAME VERSION or DIR NAME in an older version keep that meaning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError
from ..settings.config import Config
from ..settings.setting import Setting
from .options import FILE, NAME, OF_RELEASE, ROOT, VERSION
from .subcommand import Subcommand, switch

OPERANDS = (ROOT, NAME, VERSION)
SYNOPSIS = "[DIR] NAME[==VERSION] [VERSION]"
OPTIONS: tuple[Setting, ...] = (FILE, switch("all", "--all", text="Every release of the project."), *OF_RELEASE)
_VERSION_LIKE = re.compile(r"v?[0-9][^/\\]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Selection:
    """Files of a project in the folders or the bucket of ``config``; ``root`` is the named folder or bucket, if any.

    Without a version or a file, all files of the project.
    """

    config: Config
    root: Path | str | None = None
    name: str = ""
    version: str | None = None
    file: str | None = None
    json: bool = field(default=False, kw_only=True)
    all: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Release(Selection):
    """A release of a project, one file of it, or with ``all`` every release; raises ConfigError if none is named."""

    def __post_init__(self) -> None:
        if not self.version and not self.file and not self.all:
            message = f"No release is given for {self.name!r}; add its VERSION, --file NAME, or --all."
            raise ConfigError(message, kind="missing", setting="version")
        if self.version and self.all:
            message = f"--all is every release of {self.name!r}; leave it out, or the version {self.version!r}."
            raise ConfigError(message, kind="contradiction", setting="all", source="--all")


def divide(row: Subcommand, words: Sequence[str], *, is_whole: bool) -> dict[str, str]:
    """Which of the words are ``root``, ``name`` and ``version``; raises ConfigError if they fit no form.

    ``is_whole`` says that a flag (``--file``, ``--all``) takes the place of a version. For a command that needs no
    name, one word is the folder if it is written like one or exists, else the name.
    """
    if not row.required <= len(words) <= 3:
        few = len(words) < row.required
        raise ConfigError(
            f"{'NAME is missing' if few else f'{words[-1]!r} is too much'}; write: {row.usage}",
            kind="missing" if few else "too-many",
            setting="name" if few else "",
            value=None if few else words[-1],
        )
    at = next((at for at, word in enumerate(words) if "==" in word and at < 2 and not _is_place(word)), None)
    if at is not None:
        name, _, version = words[at].partition("==")
        if words[at + 1 :]:
            message = f"{words[at]!r} has a version already; leave out {words[at + 1]!r}."
            raise ConfigError(message, kind="too-many", value=words[at + 1])
        return {**_named(("root",), words[:at]), "name": name.strip(), "version": version.strip()}
    if len(words) == 1:
        is_name = row.required or is_whole or not (_is_place(words[0]) or Path(words[0]).is_dir())
        return _named(("name",) if is_name else ("root",), words)
    if len(words) == 2 and not is_whole and not _is_place(words[0]) and _VERSION_LIKE.fullmatch(words[1]):
        return _named(("name", "version"), words)
    return _named(("root", "name", "version"), words)


def _named(names: Sequence[str], words: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, words, strict=False))


def _is_place(word: str) -> bool:
    """Whether a word is written like a folder or a bucket, not like the name of a project."""
    return word.startswith((".", "~")) or "/" in word or "\\" in word


def require_bucket(config: Config) -> None:
    """Raise ConfigError if the packages are in folders."""
    if config.storage is None:
        message = "This is for a bucket; name it with --storage URL. A folder does not need it."
        raise ConfigError(message, kind="missing", setting="storage")
