"""``passwd``: the users in a password file; add, change, list, verify and remove them."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ...errors import ConfigError, NotFound, PypiServerError
from ...settings import path_parsers
from ...settings.suggestions import hinting, nearest
from ..options import HELP, JSON
from ..output import write_json
from ..subcommand import PROGRAM, Subcommand, operand, switch


@dataclass(frozen=True, slots=True)
class Passwd:
    """Set a user's password in a password file, or list, verify or remove users; raises ConfigError for several."""

    file: Path
    user: str = ""
    json: bool = False
    list: bool = False
    verify: bool = False
    remove: bool = False

    def __post_init__(self) -> None:
        if self.list + self.verify + self.remove > 1:
            raise ConfigError("--list, --verify and --remove are for one each; give one of them.", kind="contradiction")
        if not self.user and not self.list:
            message = f"USER is missing; write: {PROGRAM} passwd FILE USER, or --list"
            raise ConfigError(message, kind="missing", setting="user")

    def run(self, out: TextIO, err: TextIO) -> int:
        """Run it; 1 if the password is wrong."""
        from ...access import htpasswd_file

        if self.list:
            return self._list(out)
        if self.remove:
            if not htpasswd_file.remove_user(self.file, self.user):
                raise self._unknown()
            return self._say({"removed": True}, f"Removed {self.user} from {self.file}.", out)
        self._check()
        try:
            password = _asked_password(self.user, twice=not self.verify)
        except (EOFError, KeyboardInterrupt) as end:
            # The cursor is after the prompt.
            err.write("\npypi-server: No password was given; nothing was changed.\n")
            return 130 if isinstance(end, KeyboardInterrupt) else 2
        except UnicodeDecodeError as error:
            raise PypiServerError(f"The password cannot be read as {error.encoding}; nothing was changed.") from error
        if self.verify:
            fits = htpasswd_file.is_password(self.file, self.user, password)
            self._say({"verified": fits}, f"That is {'' if fits else 'not '}the password of {self.user}.", out)
            return 0 if fits else 1
        created = htpasswd_file.set_password(self.file, self.user, password)
        word = "Added" if created else "Changed"
        return self._say({"added": created}, f"{word} the password of {self.user} in {self.file}.", out)

    def _check(self) -> None:
        """Raise ConfigError for a failure that would otherwise come after the password was typed."""
        from ...access import htpasswd_file

        if _is_file_name(self.user, none_is_there=not self.file.exists()):
            raise ConfigError(
                f"{self.user!r} is the name of a file, and the user comes after it; write: "
                f"{PROGRAM} passwd {self.user} {self.file}",
                kind="swapped",
                setting="user",
                value=self.user,
            )
        htpasswd_file.check_user(self.user)
        if not self.verify:
            htpasswd_file.check_file(self.file)
        elif self.user not in htpasswd_file.users_in(self.file):
            raise self._unknown()

    def _list(self, out: TextIO) -> int:
        from ...access.htpasswd_file import users_in

        users = users_in(self.file)
        if self.json:
            found = [{"user": user, "scheme": entry.scheme} for user, entry in users.items()]
            write_json({"file": str(self.file), "users": found}, out)
            return 0
        out.writelines(f"{user}  ({entry.scheme})\n" for user, entry in users.items())
        if not users:
            out.write(f"{self.file} has no usable user.\n")
        return 0

    def _unknown(self) -> NotFound:
        from ...access.htpasswd_file import users_in

        hint = hinting(nearest(self.user, users_in(self.file)))
        return NotFound(f"There is no user {self.user!r} in {self.file}{hint}", kind="unknown")

    def _say(self, data: dict[str, object], sentence: str, out: TextIO) -> int:
        if self.json:
            write_json({"file": str(self.file), "user": self.user, **data}, out)
        else:
            out.write(f"{sentence}\n")
        return 0


def _is_file_name(user: str, *, none_is_there: bool) -> bool:
    """Whether the user is the name of a file; ``none_is_there`` says that the file that was given does not exist."""
    looks_so = "htpasswd" in user or user.endswith(".txt") or Path(user).is_file()
    return os.sep in user or (none_is_there and looks_so)


def _asked_password(user: str, *, twice: bool) -> str:
    """The password, from a prompt on a terminal (twice if it is new), else the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"Password for {user}: ")
    if twice and getpass.getpass("The same again: ") != password:
        raise PypiServerError("The two passwords differ; nothing was changed.")
    return password


COMMAND = Subcommand(
    "passwd",
    "Set the password of a user in a password file; asks for it.",
    Passwd,
    (operand("file", "FILE", path_parsers.path), operand("user", "USER")),
    (
        JSON,
        switch("list", "--list", text="List the users whose line can be used, and the scheme of their hash."),
        switch("verify", "--verify", text="Ask for the password, and say whether it is the user's."),
        switch("remove", "--remove", text="Remove the user."),
        *HELP,
    ),
    required=1,
    examples=(
        ("passwd /etc/pypiserver/htpasswd ada", "add ada, or change the password; it is asked for"),
        ("passwd /etc/pypiserver/htpasswd --list", "who is in it"),
        ("passwd /etc/pypiserver/htpasswd ada --remove", "remove ada"),
    ),
)
