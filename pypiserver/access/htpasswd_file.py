"""Setting a password in an htpasswd file.

The rules to keep: the file is replaced in one step, and nobody can read it meanwhile who could not before; lines that
are not about the user stay as they are, also those that others write at the same time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from ..backend.name_lock import claimed
from ..errors import ConfigError
from .password_hashes import make_hash


def set_password(path: Path, user: str, password: str) -> bool:
    """Set a user's password in the htpasswd file, which is made when it is missing; True when the user is new.

    Other lines, owner and mode stay as they are; the file is replaced in one step. Raises ConfigError.
    """
    if (
        not user
        or ":" in user
        or not user.isprintable()
        or len(user) > 255
        or user.startswith("#")
        or user != user.strip()
    ):
        raise ConfigError(
            f"{user!r} is no user name: it must not be empty, hold ':' or control characters, or begin with #.",
            kind="user",
            value=user,
        )
    if not password or "\0" in password:
        raise ConfigError("The password must not be empty, nor hold a NUL; nothing was changed.", kind="password")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            "The password is not UTF-8, as clients send it; nothing was changed.", kind="password"
        ) from None
    try:
        # Not Path.resolve, which has an error of its own for a link that leads to itself.
        target = Path(os.path.realpath(path))
        entry = f"{user}:{make_hash(password)}"
        # Of several that are set at once none is lost: each sees what the one before it wrote.
        with claimed(target):
            return _set(target, user, entry)
    except OSError as error:
        raise ConfigError(
            f"The password file {path} cannot be changed: {error.strerror or error}.",
            kind="unwritable",
            setting="password_file",
            value=path,
        ) from error


def _set(target: Path, user: str, entry: str) -> bool:
    """Give the user this line; True when the user is new."""
    while True:
        old, status = _read(target)
        lines = old.decode("utf-8", "surrogateescape").splitlines()
        places = [at for at, line in enumerate(lines) if line.strip().partition(":")[0] == user]
        for at in places:
            lines[at] = entry
        if not places:
            lines.append(entry)
        if _replace(target, "\n".join(lines) + "\n", old, status):
            return not places


def _read(path: Path) -> tuple[bytes, os.stat_result | None]:
    """What the file holds, and what it is: both of one file, None when there is none."""
    try:
        with path.open("rb") as file:
            return file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return b"", None


def _replace(path: Path, text: str, old: bytes, status: os.stat_result | None) -> bool:
    """Put a new file in the place of the ``old`` one; False when another program changed that meanwhile."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        if status is not None:
            if os.name != "nt":
                # Only root may give it to somebody else; for others it is theirs, as any file they write.
                with contextlib.suppress(PermissionError):
                    os.chown(temporary, status.st_uid, status.st_gid)
            temporary.chmod(status.st_mode & 0o777)
        if _read(path)[0] == old:
            temporary.replace(path)
            return True
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    temporary.unlink(missing_ok=True)
    return False
