"""Files that have no name until they are complete (``O_TMPFILE`` of Linux).

No other process can see such a file, nothing of it remains when its process dies, and it costs fewer calls than a
hidden name that is made and removed.

**Invariants:** a folder is tested once, by making and naming such a file; where that fails, files have hidden names
instead.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from pathlib import Path

from ..backend.os_calls import OPERATIONS, Operations, hidden_name

_UNNAMED = getattr(os, "O_TMPFILE", 0) | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
_UNKNOWN = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EISDIR, errno.EINVAL}


def open_unnamed(folder: Path, operations: Operations = OPERATIONS, *, known_as: Path | None = None) -> int | None:
    """A new file without a name, open to write and to read; None where the folder has none. Raises OSError.

    ``known_as`` is the folder's own path, where ``folder`` is a temporary path to it.
    """
    if not has_unnamed(known_as or folder):
        return None
    try:
        return operations.open(folder, _UNNAMED, 0o666)
    except OSError as error:
        # Another file system may be mounted there since the test.
        if error.errno in _UNKNOWN:
            return None
        raise


@functools.lru_cache(maxsize=1024)
def has_unnamed(folder: Path) -> bool:
    """Whether the file system of a folder supports such files and can name them."""
    if not hasattr(os, "O_TMPFILE"):
        return False
    name = hidden_name(folder)
    try:
        descriptor = os.open(folder, _UNNAMED, 0o600)
    except OSError:
        return False
    try:
        OPERATIONS.name(descriptor, name)
    except OSError:
        return False
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            name.unlink(missing_ok=True)
    return True
