"""The words of ``pypi-server token``: which task, about which tokens, where they are kept.

``TASK [FILE] SUBJECT``; without a FILE the tokens are those of the settings.

**Invariants:** a flag that belongs to another task is refused, and so is a task that lacks its subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..settings import path_parsers
from ..settings.config import Config
from .subcommand import PROGRAM

TASKS = ("mint", "list", "revoke", "rotate", "find")
# What the last word of each task is; list has none.
_SUBJECTS = {"mint": "USER", "revoke": "ID", "rotate": "ID", "find": "TEXTFILE, or - for standard input,"}
NEVER = "never"
# Which tasks a flag belongs to.
_FLAGS = {
    "may": ("mint",), "projects": ("mint",), "note": ("mint",), "service": ("mint",), "expires": ("mint", "rotate"),
    "overlap": ("rotate",), "user": ("revoke",), "unused_for": ("revoke",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenTask:
    """One task about the tokens in a file or database: ``first`` and ``second`` are ``[FILE] SUBJECT`` as written.

    Times are seconds; ``expires`` is ``never``, or None where it is not given. Raises ConfigError for words and flags
    that do not belong together.
    """

    task: str
    config: Config
    first: str | None = None
    second: str | None = None
    may: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    expires: int | str | None = None
    note: str = ""
    service: bool = False
    overlap: int = 0
    user: str = ""
    unused_for: int | None = None
    json: bool = False

    def __post_init__(self) -> None:
        for name, tasks in _FLAGS.items():
            if getattr(self, name) not in (None, (), "", 0, False) and self.task not in tasks:
                flag = f"--{name.replace('_', '-')}"
                message = f"{flag} is for token {' and token '.join(tasks)}; leave it out."
                raise ConfigError(message, kind="contradiction", setting=name, source=flag)
        if self.task == "mint" and not self.may:
            message = "Nothing says what the token may do; add --may upload, --may read, or --may with other actions."
            raise ConfigError(message, kind="missing", setting="may")
        by_rule = bool(self.user) or self.unused_for is not None
        if self.task == "revoke" and by_rule and self.second:
            message = f"Give one ID, or --user and --unused-for; leave out {self.second!r}."
            raise ConfigError(message, kind="contradiction", value=self.second)
        if self._takes_subject and not self.subject:
            written = f"{PROGRAM} token {self.task} [FILE] {_SUBJECTS[self.task].split(',')[0]}"
            message = f"{_SUBJECTS[self.task]} is missing; write: {written}".replace(", is", " is")
            raise ConfigError(message, kind="missing", setting="subject")
        if not self._takes_subject and self.second:
            raise ConfigError(f"{self.second!r} is too much; leave it out.", kind="too-many", value=self.second)

    @property
    def _takes_subject(self) -> bool:
        return self.task in _SUBJECTS and not (self.task == "revoke" and (self.user or self.unused_for is not None))

    @property
    def subject(self) -> str:
        """The user, the id or the text that the task is about, '' if it is about none."""
        if not self._takes_subject:
            return ""
        return self.second or self.first or ""

    @property
    def place(self) -> Path | str:
        """The file or the database of the tokens; raises ConfigError if it is not said."""
        word = self.first if self.second or not self._takes_subject else None
        if word is not None:
            try:
                place: Path | str = path_parsers.catalog_place(word)
            except ValueError as fault:
                raise ConfigError(f"FILE: {fault}.", kind="value", setting="tokens") from None
            return place
        if self.config.tokens is None:
            raise ConfigError(
                f"No file of tokens is named; write: {PROGRAM} token {self.task} FILE ..., or give the file "
                "of the server with --tokens FILE.",
                kind="missing",
                setting="tokens",
            )
        return self.config.tokens
