"""The users in an htpasswd file, for who looks after them: list, verify, add, change, remove.

**Invariants:** the file is replaced atomically, and only users who could read it before can read it meanwhile; lines of
other users stay unchanged, even those that other processes write at the same time.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from ..backend.name_lock import claimed
from ..errors import ConfigError
from .file_edit import read_file, replace_file
from .password_hashes import PasswordHash, fits, make_hash, read_entry


def check_user(user: str) -> None:
    """Raise ConfigError for what cannot be a user's name."""
    if (
        not user
        or ":" in user
        or not user.isprintable()
        or len(user) > 255
        or user.startswith("#")
        or user != user.strip()
    ):
        raise ConfigError(
            f"{user!r} is not a user name: it must not be empty, contain ':' or control characters, or begin with #.",
            kind="user",
            value=user,
        )


def check_file(path: Path) -> None:
    """Raise ConfigError where the htpasswd file cannot be read, or cannot be made."""
    target = Path(os.path.realpath(path))
    try:
        read_file(target)
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(
                errno.EACCES, os.strerror(errno.EACCES) if target.parent.exists() else "its folder is missing"
            )
    except OSError as error:
        raise _unwritable(path, error) from error


def set_password(path: Path, user: str, password: str) -> bool:
    """Set a user's password in the htpasswd file, which is made when it is missing; True when the user is new.

    Other lines, owner and mode stay as they are; the file is replaced in one step. Raises ConfigError.
    """
    check_user(user)
    if not password or "\0" in password:
        raise ConfigError("The password must not be empty or contain a NUL; nothing was changed.", kind="password")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            "The password is not UTF-8, as clients send it; nothing was changed.", kind="password"
        ) from None
    return _change(path, user, make_hash(password))


def remove_user(path: Path, user: str) -> bool:
    """Remove a user from the htpasswd file; False when there is no such user. Raises ConfigError."""
    return _change(path, user, None)


def users_in(path: Path) -> dict[str, PasswordHash]:
    """The users whose line can be used, with their password's hash; raises ConfigError when the file cannot be read."""
    try:
        lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise ConfigError(
            f"The password file {path} cannot be read: {error.strerror or error}.", kind="unreadable", value=path
        ) from error
    found: dict[str, PasswordHash] = {}
    for line in lines:
        user, colon, stored = line.strip().partition(":")
        if user and colon and not user.startswith("#"):
            with contextlib.suppress(ValueError):
                found[user] = read_entry(stored)
    return found


def is_password(path: Path, user: str, password: str) -> bool:
    """Whether that is the user's password in the htpasswd file; raises ConfigError when it cannot be read."""
    entry = users_in(path).get(user)
    return entry is not None and fits(entry, password)


def _change(path: Path, user: str, password_hash: str | None) -> bool:
    """Give the user this hash, or remove the line; True when the user is new, or was removed."""
    try:
        # Not Path.resolve, which raises RuntimeError for a link that leads to itself.
        target = Path(os.path.realpath(path))
        entry = None if password_hash is None else f"{user}:{password_hash}"
        # Concurrent changes are not lost: each sees what the one before it wrote.
        with claimed(target):
            return _set(target, user, entry)
    except OSError as error:
        raise _unwritable(path, error) from error


def _set(target: Path, user: str, entry: str | None) -> bool:
    """Give the user this line, or none; True when the user is new, or was removed."""
    while True:
        old, status = read_file(target)
        lines = old.decode("utf-8", "surrogateescape").splitlines()
        places = [at for at, line in enumerate(lines) if line.strip().partition(":")[0] == user]
        if entry is None:
            if not places:
                return False
            lines = [line for at, line in enumerate(lines) if at not in places]
        elif places:
            for at in places:
                lines[at] = entry
        else:
            lines.append(entry)
        if replace_file(target, "".join(f"{line}\n" for line in lines), old, status):
            return entry is None or not places


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"The password file {path} cannot be changed: {error.strerror or error}.",
        kind="unwritable",
        setting="password_file",
        value=path,
    )
