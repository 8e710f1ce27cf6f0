"""``token``: API tokens; make, list, revoke and rotate them, and find out which ones are in a text."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ...errors import ConfigError
from ...settings import parsers as types
from ...settings.config import SETTINGS
from ...settings.setting import Parser, Setting
from ..options import CONFIG_FILE, HELP, JSON
from ..subcommand import Subcommand, operand, switch
from ..token_task import NEVER, TASKS, TokenTask


@dataclass(frozen=True, slots=True)
class Token(TokenTask):
    """List or change the tokens in a file or a database."""

    def run(self, out: TextIO, err: TextIO) -> int:
        """Run the task; 1 if ``find`` finds no token of these, or a rule of ``revoke`` fits none."""
        from .. import manage_tokens

        kept = manage_tokens.kept(self.place, self.config)
        if self.task == "list":
            return manage_tokens.show(kept, out, err, as_json=self.json)
        if self.task == "find":
            return manage_tokens.find(kept, _text_of(self.subject), out, as_json=self.json)
        if self.task == "mint":
            return manage_tokens.mint(kept, self, out, err)
        if self.task == "rotate":
            return manage_tokens.rotate(kept, self, out, err)
        return manage_tokens.revoke(kept, self, out)


def _text_of(source: str) -> str:
    """The text of a file, or of standard input."""
    if source == "-":
        stream = getattr(sys.stdin, "buffer", None)
        return sys.stdin.read() if stream is None else stream.read().decode("utf-8", "replace")
    try:
        return Path(source).read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError(
            f"The text {source} cannot be read: {error.strerror or error}.", kind="unreadable", value=source
        ) from error


def age_or_never(value: object) -> int | str:
    """Seconds, from a number with s, m, h or d; or ``never``."""
    if str(value).strip().lower() == NEVER:
        return NEVER
    try:
        return types.age(value)
    except ValueError as error:
        raise ValueError(f"{error}; or never") from None


def rights(value: object) -> tuple[str, ...]:
    """Words of rights, separated by commas or given several times."""
    from ...access.token_record import actions_of

    given = [word for each in (value if isinstance(value, list) else [value]) for word in types.words(str(each))]
    actions_of(given)
    return tuple(dict.fromkeys(given))


def projects(value: object) -> tuple[str, ...]:
    """Patterns of project names, separated by commas or blanks, or given several times."""
    from ...access.patterns import read_patterns

    given = [word for each in (value if isinstance(value, list) else [value]) for word in types.words(str(each))]
    read_patterns(given)
    return tuple(dict.fromkeys(given))


def _option(name: str, metavar: str, parse: Parser, text: str, *, action: str = "value", default: str = "") -> Setting:
    return Setting(
        name=name, parse=parse, flags=(f"--{name.replace('_', '-')}",), metavar=metavar, group="Options", help=text,
        action=action, default_text=default,
    )  # fmt: skip


COMMAND = Subcommand(
    "token",
    "API tokens, in place of passwords: mint, list, revoke, rotate or find them.",
    Token,
    (
        operand("task", "TASK", types.one_of(TASKS, "task"), TASKS),
        operand("first", "FILE"),
        operand("second", "SUBJECT"),
    ),
    (
        _option(
            "may", "ACTIONS", rights, "mint: what it may do, with commas: read, upload, write, yank, all ...",
            action="repeat",
        ),
        _option("projects", "PATTERNS", projects, "mint: only for these: 'acme-* !acme-secret'.", action="repeat"),
        _option("expires", "AGE", age_or_never, "mint, rotate: when it expires: 12h, 30d or never.", default="90d"),
        _option("note", "TEXT", types.title, "mint: what it is for."),
        switch("service", "--service", text="mint: it needs no user in the password file."),
        _option("overlap", "AGE", types.age, "rotate: how long the old secret still counts, such as 1d."),
        _option("user", "USER", types.text, "revoke: every token of this user."),
        _option("unused_for", "AGE", types.age, "revoke: every token not used for this time, such as 90d."),
        JSON,
        SETTINGS["tokens"],
        SETTINGS["audit_log"],
        CONFIG_FILE,
        *HELP,
    ),
    required=1,
    synopsis_text="TASK [FILE] [USER|ID|TEXTFILE|-]",
    examples=(
        ("token mint /etc/pypiserver/tokens ci --may upload", "standard output has the token alone"),
        ("token rotate /etc/pypiserver/tokens Ab12Cd34 --overlap 1d", "a new secret"),
    ),
)  # fmt: skip
