"""Giving a finished file its name, with what stands beside it: all of it or nothing of it.

``link`` gives a name only to the first who asks, over threads, processes and hosts. What belongs together takes several
steps, so these are done by one at a time, and undone when a later one fails. The rules to keep: nothing is looked up
that is not also claimed; a link (of either kind) that stands at a name we write to is replaced or refused, never
followed; a failure leaves every name as it was.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .native import text_of
from .operations import EXCLUSIVE, OPERATIONS, Operations, hidden_name, refusal, sync_folder

# What a file that replaces another one of its name must not keep: it was about other bytes.
ABOUT_BYTES = (".asc", ".provenance")
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_GONE = {errno.ENOENT, getattr(errno, "ESTALE", errno.ENOENT)}
# Who holds a claim renames and syncs; one that is held longer is another program's, or its disk stands still.
CLAIM_SECONDS = 15.0
# Network file systems may believe for a moment in a file that another machine has deleted.
GONE_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 0.05
_CLAIM = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

if sys.platform == "win32":

    def lock(descriptor: int, *, wait: bool) -> bool:
        """Lock an open file for as long as it is open; False when somebody else has it. Raises OSError."""
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
else:
    import fcntl

    def lock(descriptor: int, *, wait: bool) -> bool:
        """Lock an open file for as long as it is open; False when somebody else has it. Raises OSError."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


def place(
    temporary: Path | int,
    target: Path,
    sidecars: Mapping[str, bytes],
    *,
    overwrite: bool,
    operations: Operations = OPERATIONS,
) -> None:
    """Make a temporary file visible as ``target``, with ``sidecars`` (by suffix) beside it, and make that durable.

    A temporary file without a name is given by its descriptor. Raises FileExistsError when something stands there and
    ``overwrite`` is off, OSError when it cannot be done; then everything is as it was, but for ``temporary``, which may
    be gone. A file that is replaced loses its signature and attestations, and so does a name that such a file left
    behind: they were about other bytes.
    """
    steps = _Steps(operations)
    try:
        parts = {suffix: steps.write_part(target.parent, data) for suffix, data in sidecars.items()}
        with claimed(target, operations) as is_ours:
            try:
                about_others = [path for suffix in ABOUT_BYTES if os.path.lexists(path := beside(target, suffix))]
                # Naming the file would tell, but what stands beside it is not touched for that.
                if not overwrite and (about_others or parts) and os.path.lexists(target):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
                for path in about_others:
                    steps.set_aside(path)
                for suffix, part in parts.items():
                    steps.rename(part, beside(target, suffix))
                if overwrite:
                    steps.replace(steps.named(temporary, target.parent), target)
                else:
                    steps.name(temporary, target, may_rename=is_ours)
                sync_folder(target.parent, operations)
            except FileExistsError:
                steps.undo()
                # Whoever was first may not be done yet: what stands here must be durable before we speak of it.
                sync_folder(target.parent, operations)
                raise
            except BaseException:
                steps.undo()
                raise
    finally:
        steps.tidy()


def open_locked(folder: Path, operations: Operations = OPERATIONS) -> tuple[Path, int]:
    """A new hidden file in a folder, open for writing; raises OSError.

    It is locked for as long as it is open, which says to whoever cleans up that it is in use: clocks and file systems
    are too coarse to say so. Where files cannot be locked, age says it.
    """
    while True:
        path = hidden_name(folder)
        descriptor = operations.open(path, EXCLUSIVE, 0o666)
        try:
            if lock(descriptor, wait=False) and is_named(descriptor, path):
                return path, descriptor
        except OSError:
            return path, descriptor
        # Whoever cleans up came before the lock.
        os.close(descriptor)


def is_named(descriptor: int, path: Path) -> bool:
    """Whether a path still leads to an open file; raises OSError."""
    status = look_at(path)
    try:
        return status is not None and os.path.samestat(os.fstat(descriptor), status)
    except OSError as error:
        # A file that another machine deleted may not even be looked at where it is open.
        if error.errno in _GONE:
            return False
        raise


def look_at(path: Path) -> os.stat_result | None:
    """What stands at a path, a link too; None for nothing. Raises OSError."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def beside(file: Path, suffix: str) -> Path:
    """The path of what stands beside a file."""
    return file.with_name(file.name + suffix)


def name_exclusively(
    temporary: Path | int, target: Path, *, may_rename: bool = False, operations: Operations = OPERATIONS
) -> None:
    """Move a file to a name that nobody has; raises FileExistsError when somebody does.

    ``may_rename`` says that the name is claimed: where there are no hard links, and no such renaming either, looking
    first is good enough then.
    """
    if isinstance(temporary, int):
        operations.name(temporary, target)
        return
    if sys.platform == "win32":
        temporary.rename(target)  # there, this refuses to replace
        return
    try:
        operations.link(temporary, target)
    except OSError as error:
        if error.errno not in _NO_LINKS or not may_rename:
            raise
        operations.rename(temporary, target)
        return
    # The second name is hidden, and tidied away at the next start at the latest: no reason to fail.
    with contextlib.suppress(OSError):
        temporary.unlink()


@contextlib.contextmanager
def claimed(target: Path, operations: Operations = OPERATIONS, *, is_needed: bool = True) -> Iterator[bool]:
    """Hold the claim to a name, as one at a time can on this host; gives False where files cannot be locked.

    The claim is a lock on a hidden file, so that it ends with its holder, however that dies. Names that differ only by
    case share one, because some file systems take them for the same. Raises OSError when the hidden file cannot be
    made, unless the claim is not needed: a full disk must not keep files from being removed. Raises TimeoutError when
    somebody else holds the claim for CLAIM_SECONDS.
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
        # Still locked: who waits for this file sees that it has no name any more, and makes another one.
        with contextlib.suppress(OSError):
            claim.unlink()
        os.close(descriptor)
        if not is_ours:  # Windows deletes no open file
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
    """Lock the claim; raises TimeoutError when it cannot be had ``until`` then (time.monotonic)."""
    pause = 0.001
    while not lock(descriptor, wait=False):
        if time.monotonic() > until:
            reason = f"another program has held the claim {claim.name} for {CLAIM_SECONDS:.0f} seconds"
            raise TimeoutError(errno.ETIMEDOUT, reason)
        time.sleep(pause)
        pause = min(2 * pause, _LOOK_AGAIN_SECONDS)


def publish_bytes(
    file: Path, suffix: str, data: bytes, *, overwrite: bool = True, operations: Operations = OPERATIONS
) -> None:
    """Put a sidecar beside an existing file, and make that durable; one that is there stays without ``overwrite``."""
    steps = _Steps(operations)
    try:
        part = steps.write_part(file.parent, data)
        if overwrite:
            operations.replace(part, beside(file, suffix))
        else:
            with contextlib.suppress(FileExistsError):
                name_exclusively(part, beside(file, suffix), may_rename=True, operations=operations)
        sync_folder(file.parent, operations)
    except OSError as error:
        raise refusal(error, file.parent) from error
    finally:
        steps.tidy()


class _Steps:
    """What was done to the names in a folder, with how to undo it, last step first."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._undo: list[Callable[[], object]] = []
        self._parts: list[Path] = []
        self._kept: list[Path] = []
        self._locked: list[int] = []

    def write_part(self, folder: Path, data: bytes) -> Path:
        """A hidden file of these bytes."""
        part, descriptor = open_locked(folder, self._operations)
        self._parts.append(part)
        if os.name != "nt":
            self._locked.append(descriptor)
        with os.fdopen(descriptor, "wb", closefd=os.name == "nt") as file:
            self._operations.write(file, data)
            file.flush()
            self._operations.fsync(file.fileno())
        return part

    def set_aside(self, path: Path) -> None:
        """Take a name away from whatever stands there."""
        kept = hidden_name(path.parent, "kept")
        self._lock(path)
        try:
            self._operations.replace(path, kept)
        except FileNotFoundError:
            # Somebody else took it away.
            return
        self._kept.append(kept)
        self._undo.append(lambda: kept.replace(path))

    def rename(self, part: Path, path: Path) -> None:
        """Give a part a name that was set aside."""
        self._operations.replace(part, path)
        self._undo.append(path.unlink)

    def named(self, temporary: Path | int, folder: Path) -> Path:
        """A file with a name, which is a hidden one if it had none."""
        if isinstance(temporary, Path):
            return temporary
        with contextlib.suppress(OSError):
            lock(temporary, wait=False)
        path = hidden_name(folder)
        self._operations.name(temporary, path)
        self._parts.append(path)
        return path

    def name(self, temporary: Path | int, target: Path, *, may_rename: bool) -> None:
        """Give a file a name that nobody has."""
        name_exclusively(temporary, target, may_rename=may_rename, operations=self._operations)
        self._undo.append(target.unlink)

    def replace(self, temporary: Path, target: Path) -> None:
        """Give a file a name whoever has it."""
        undo: Callable[[], object] = target.unlink
        kept = hidden_name(target.parent, "kept")
        self._lock(target)
        try:
            self._operations.link(target, kept)
        except FileNotFoundError:
            # Nothing stands there, or not any more.
            pass
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Without hard links the old file cannot be kept: better the new one, whole, than none.
            undo = target.lstat
        else:
            self._kept.append(kept)
            self._undo.append(kept.unlink)
            undo = lambda: kept.replace(target)  # noqa: E731
        self._operations.replace(temporary, target)
        self._undo.append(undo)

    def undo(self) -> None:
        """Put every name back to what it stood for; what cannot be put back stays hidden, and is not deleted."""
        self._kept.clear()
        for step in reversed(self._undo):
            with contextlib.suppress(OSError):
                step()

    def tidy(self) -> None:
        """Delete what was written or kept and is not needed any more."""
        for path in self._parts + self._kept:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        for descriptor in self._locked:
            os.close(descriptor)

    def _lock(self, path: Path) -> None:
        """Say until the end that a file is in use, before it gets a hidden name."""
        if os.name == "nt":
            return
        with contextlib.suppress(OSError):
            self._locked.append(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
            lock(self._locked[-1], wait=False)
