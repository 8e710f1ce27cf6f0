"""A small file of lines that is read, changed and replaced in one step: password files and tokens.

**Invariants:** readers see the file before or after a change and nothing in between; owner and mode stay; a change that
another program made meanwhile is noticed and not lost.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def read_file(path: Path) -> tuple[bytes, os.stat_result | None]:
    """The content of the file and its stat, both of the same file; no bytes and None if it is missing."""
    try:
        with path.open("rb") as file:
            return file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return b"", None


def replace_file(path: Path, text: str, old: bytes, status: os.stat_result | None) -> bool:
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
        if read_file(path)[0] == old:
            temporary.replace(path)
            return True
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    temporary.unlink(missing_ok=True)
    return False
