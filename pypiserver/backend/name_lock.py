"""Claims to a file name, held by locks on hidden files: across threads, processes and, where locks work, machines.

**Invariants:** a lock ends with its holder, even when the holder crashes; every wait has a limit; a hidden file that
another machine deleted is created again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..native_names import text_of
from .os_calls import EXCLUSIVE, OPERATIONS, Operations, hidden_name

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_GONE = {errno.ENOENT, getattr(errno, "ESTALE", errno.ENOENT)}
# The holder of a claim only renames and syncs; one held longer is another program's, or the disk hangs.
CLAIM_SECONDS = 15.0
# Network file systems may still show a file for this long after another machine deleted it.
GONE_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 0.05
_CLAIM = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


if sys.platform == "win32":

    def lock(descriptor: int, *, wait: bool, is_shared: bool = False) -> bool:
        """Lock an open file until it is closed; False when another process or descriptor has it. Raises OSError.

        Any number of holders can have a shared lock, none together with one that is not shared.
        """
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def unlock(descriptor: int) -> None:
        """Let go of the lock of an open file; raises OSError."""
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
else:
    import fcntl

    def lock(descriptor: int, *, wait: bool, is_shared: bool = False) -> bool:
        """Lock an open file until it is closed; False when another process or descriptor has it. Raises OSError.

        Any number of holders can have a shared lock, none together with one that is not shared.
        """
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Let go of the lock of an open file; raises OSError."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def open_locked(folder: Path, operations: Operations = OPERATIONS) -> tuple[Path, int]:
    """Create a hidden file in a folder; gives its path and a descriptor for writing. Raises OSError.

    The file is locked until it is closed, which tells the cleanup that it is in use: clocks and file systems are too
    coarse for that. Where files cannot be locked, the cleanup goes by age.
    """
    while True:
        path = hidden_name(folder)
        descriptor = operations.open(path, EXCLUSIVE, 0o666)
        try:
            if lock(descriptor, wait=False) and is_named(descriptor, path):
                return path, descriptor
        except OSError:
            return path, descriptor
        # The cleanup deleted the file before it was locked.
        os.close(descriptor)


def is_named(descriptor: int, path: Path) -> bool:
    """Whether a path still names the open file; raises OSError."""
    status = look_at(path)
    try:
        return status is not None and os.path.samestat(os.fstat(descriptor), status)
    except OSError as error:
        # fstat may fail for an open file that another machine deleted.
        if error.errno in _GONE:
            return False
        raise


def look_at(path: Path) -> os.stat_result | None:
    """The status of a path, without following a link; None when there is nothing. Raises OSError."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def claimed(target: Path, operations: Operations = OPERATIONS, *, is_needed: bool = True) -> Iterator[bool]:
    """Hold the claim to a name, which one holder at a time can have on this host.

    Yields False where files cannot be locked. The claim is a lock on a hidden file, so it ends even when its holder
    crashes. Names that differ only in case share a claim, because some file systems treat them as one. Raises OSError
    when the hidden file cannot be created, unless the claim is not needed: a full disk must not keep files from being
    removed. Raises TimeoutError when another holder keeps the claim for CLAIM_SECONDS.
    """
    key = hashlib.sha256(text_of(target.name).casefold().encode("utf-8", "surrogateescape")).hexdigest()[:32]
    claim = target.with_name(f".upload-{key}.claim")
    try:
        descriptor, is_ours = _lock_claim(claim, operations)
    except OSError as error:
        if is_needed or isinstance(error, TimeoutError):
            raise
        yield False
        return
    try:
        yield is_ours
    finally:
        # Still locked: a waiter for this file sees that it has no name any more, and creates another one.
        with contextlib.suppress(OSError):
            claim.unlink()
        os.close(descriptor)
        if not is_ours:  # Windows cannot delete an open file
            with contextlib.suppress(OSError):
                claim.unlink(missing_ok=True)


def _lock_claim(claim: Path, operations: Operations) -> tuple[int, bool]:
    began = time.monotonic()
    pause = 0.0
    while True:
        descriptor = -1
        try:
            descriptor = operations.open(claim, _CLAIM, 0o600)
            _wait_for(descriptor, claim, began + CLAIM_SECONDS)
            if is_named(descriptor, claim):
                return descriptor, True
        except OSError as error:
            if descriptor >= 0 and error.errno in _NO_LOCKS:
                return descriptor, False
            if error.errno not in _GONE or time.monotonic() > began + GONE_SECONDS or not claim.parent.is_dir():
                _close(descriptor)
                raise
            time.sleep(pause)
            pause = min(2 * pause + 0.001, _LOOK_AGAIN_SECONDS)
        _close(descriptor)


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def _wait_for(descriptor: int, claim: Path, until: float) -> None:
    """Lock the claim; raises TimeoutError when another holder still has it at ``until`` (time.monotonic)."""
    pause = 0.001
    while not lock(descriptor, wait=False):
        if time.monotonic() > until:
            reason = f"another program has held the claim {claim.name} for {CLAIM_SECONDS:.0f} seconds"
            raise TimeoutError(errno.ETIMEDOUT, reason)
        time.sleep(pause)
        pause = min(2 * pause, _LOOK_AGAIN_SECONDS)
