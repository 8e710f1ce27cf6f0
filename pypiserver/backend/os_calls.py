"""The calls of the operating system by which bytes become durable, and what their errors mean to whoever wrote.

The rules to keep: a hidden file of ours is known by its name alone; what will not heal by trying again is never a 5xx
that clients repeat, except the full disk's own 507.
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
# Of renameat2(2): paths from the working directory, and no name that somebody has.
_HERE, _NOREPLACE = -100, 1
# A folder that cannot be synced (some network and FUSE file systems say so) is as durable as it gets.
_REFUSED = "The server may not write to its folder; nothing was stored. Its log says more."
_FAILED = "The server cannot write to its folder right now; nothing was stored. Its log says more."
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}


def _name(descriptor: int, target: Path) -> None:
    """Give a name to an open file that has none (Linux)."""
    # The descriptor is named only because with one Python follows the link; the path is absolute.
    os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor, follow_symlinks=True)


def _rename(source: Path, target: Path) -> None:
    """Rename a file to a name that nobody has; raises FileExistsError when somebody does.

    Linux does it in one step on most file systems, elsewhere it is looked for first.
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
    """The calls that change what is stored; tests put ones here that fail."""

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
    """A new hidden name in a folder: for a ``part`` that is being written, or what is ``kept`` in case of failure."""
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
    """Whose folder it is, where it is another user's; empty where nothing is known of that."""
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
    """What an error of the operating system means for whoever wanted to write."""
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
            f"Something else stands in the way in {folder} ({words}); nothing was stored. Rename it.",
            public="Something else on the server has the name of this file or its folder; nothing was stored.",
        )
    return Unavailable(f"The folder {folder} cannot be written ({words}); nothing was stored.", public=_FAILED)
