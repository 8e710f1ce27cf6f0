"""The calls of the operating system that make bytes durable, and the errors of ours that their failures become.

**Invariants:** the server recognizes its hidden files by name alone; a failure that a retry cannot heal is never a 5xx
that clients repeat, except the 507 of a full disk.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import re
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import Conflict, Forbidden, PypiServerError, StorageFull, Unavailable

PART = re.compile(r"\.upload-[0-9a-f]{32}\.(?:part|claim|kept)")
EXCLUSIVE = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
# Of renameat2(2): AT_FDCWD, paths are relative to the working directory; RENAME_NOREPLACE, fail if the target exists.
_HERE, _NOREPLACE = -100, 1
_REFUSED = "The server may not write to its folder; nothing was stored. Its log says more."
_FAILED = "The server cannot write to its folder right now; nothing was stored. Its log says more."
# Some network and FUSE file systems cannot sync a folder; its names are as durable there as they can be.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}


def _name(descriptor: int, target: Path) -> None:
    """Give a name to an open file without one (Linux)."""
    # The path is absolute; src_dir_fd is given only because Python follows the link when there is one.
    os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor, follow_symlinks=True)


def _rename(source: Path, target: Path) -> None:
    """Rename a file to an unused name; raises FileExistsError when the name is used.

    Atomic on most file systems of Linux; elsewhere the name is looked up first.
    """
    call = _renameat2()
    if call is not None:
        if not call(_HERE, os.fsencode(source), _HERE, os.fsencode(target), _NOREPLACE):
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number), str(target))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.replace(target)


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    try:
        call: Any = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return call  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Operations:
    """The calls that change what is stored; tests pass failing ones."""

    open: Callable[..., int] = os.open
    write: Callable[[BinaryIO, bytes], int] = lambda file, data: file.write(data)
    fsync: Callable[[int], None] = os.fsync
    link: Callable[[Path, Path], None] = os.link
    name: Callable[[int, Path], None] = _name
    replace: Callable[[Path, Path], None] = os.replace
    rename: Callable[[Path, Path], None] = _rename
    unlink: Callable[[Path], None] = os.unlink


OPERATIONS = Operations()


def hidden_name(folder: Path, kind: str = "part") -> Path:
    """A new hidden path in a folder: for a ``part`` that is being written, or a file ``kept`` in case of failure."""
    return folder / f".upload-{secrets.token_hex(16)}.{kind}"


def sync_folder(folder: Path, operations: Operations = OPERATIONS) -> None:
    """Make the names in a folder durable; raises OSError."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        operations.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def _owner(folder: Path) -> str:
    """A sentence about the owner of a folder of another user; '' for our own folder, or where it is not known."""
    if not hasattr(os, "geteuid"):
        return ""
    try:
        owner = folder.stat().st_uid
    except OSError:
        return ""
    ours = os.geteuid()
    told = (
        f" It belongs to user {owner}, and the server runs as user {ours}: run it as that one, or let this one write."
    )
    return "" if owner == ours else told


def refusal(error: OSError, folder: Path) -> PypiServerError:
    """The error of ours to raise for an OSError in a write to ``folder``."""
    words = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"The folder {folder} is full ({words}); nothing was stored. Make room, then try again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Forbidden(
            f"The folder {folder} cannot be written by the server ({words}); nothing was stored.{_owner(folder)}",
            public=_REFUSED,
        )
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ELOOP):
        return Conflict(
            f"Something else in {folder} has the name of this file or its folder ({words}); nothing was stored. "
            "Rename it.",
            public="Something else on the server has the name of this file or its folder; nothing was stored.",
        )
    return Unavailable(f"The folder {folder} cannot be written ({words}); nothing was stored.", public=_FAILED)
