"""Setting a password in an htpasswd file.

**Invariants:** the file is replaced atomically, and only users who could read it before can read it meanwhile; lines of
other users stay unchanged, even those that other processes write at the same time.
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
    """Set a user's password in the htpasswd file, and create the file if it is missing; True for a new user.

    Other lines, owner and mode stay as they are. Raises ConfigError for an invalid user or password, and when the file
    cannot be changed.
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
            f"{user!r} is not a user name: it must not be empty, contain ':' or control characters, or begin with #.",
            kind="user",
            value=user,
        )
    if not password or "\0" in password:
        raise ConfigError("The password must not be empty or contain a NUL; nothing was changed.", kind="password")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            "The password is not UTF-8, as clients send it; nothing was changed.", kind="password"
        ) from None
    try:
        # Not Path.resolve, which raises RuntimeError for a link that leads to itself.
        target = Path(os.path.realpath(path))
        entry = f"{user}:{make_hash(password)}"
        # Concurrent changes are not lost: each sees what the one before it wrote.
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
    """Write this line for the user; True for a new user."""
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
    """The content of the file and its stat, both of the same file; no bytes and None if it is missing."""
    try:
        with path.open("rb") as file:
            return file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return b"", None


def _replace(path: Path, text: str, old: bytes, status: os.stat_result | None) -> bool:
    """Replace the file whose content was ``old``; False when another program changed it meanwhile."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        if status is not None:
            if os.name != "nt":
                # Only root may set the owner; for other users the new file is their own, like any file they write.
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
