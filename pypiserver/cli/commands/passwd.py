"""``passwd``: users and their passwords in a password file."""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ...errors import PypiServerError
from ...settings import parsers as types
from ..options import HELP, JSON
from ..output import write_json
from ..subcommand import Subcommand, operand


@dataclass(frozen=True, slots=True)
class Passwd:
    """Set a user's password in a password file."""

    file: Path
    user: str
    json: bool = False

    def run(self, out: TextIO, err: TextIO) -> int:
        """Ask for the password, and set it."""
        from ...access.htpasswd_file import set_password

        try:
            password = _asked_password(self.user)
        except (EOFError, KeyboardInterrupt) as end:
            # The cursor is behind the question.
            err.write("\npypi-server: No password was given; nothing was changed.\n")
            return 130 if isinstance(end, KeyboardInterrupt) else 2
        except UnicodeDecodeError as error:
            raise PypiServerError(f"The password cannot be read as {error.encoding}; nothing was changed.") from error
        created = set_password(self.file, self.user, password)
        if self.json:
            write_json({"file": str(self.file), "user": self.user, "added": created}, out)
            return 0
        out.write(f"{'Added' if created else 'Changed'} the password of {self.user} in {self.file}.\n")
        return 0


def _asked_password(user: str) -> str:
    """The password, asked for twice on a terminal, else the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"Password for {user}: ")
    if getpass.getpass("The same again: ") != password:
        raise PypiServerError("The two passwords differ; nothing was changed.")
    return password


COMMAND = Subcommand(
    "passwd",
    "Set the password of a user in a password file; asks for it.",
    Passwd,
    (operand("file", "FILE", types.path), operand("user", "USER")),
    (JSON, *HELP),
    required=2,
    examples=(("passwd /etc/pypiserver/htpasswd ada", "add ada, or change the password; it is asked for"),),
)
