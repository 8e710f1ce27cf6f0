"""Giving a finished file its name, with what stands beside it: all of it or nothing of it.

``link`` gives a name only to the first who asks, over threads, processes and hosts. What belongs together takes several
steps, so these are done by one at a time, and undone when a later one fails. The rules to keep: nothing is looked up
that is not also claimed; a link (of either kind) that stands at a name we write to is replaced or refused, never
followed; a failure leaves every name as it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ..backend.name_lock import claimed, lock, open_locked
from ..backend.os_calls import OPERATIONS, Operations, hidden_name, refusal, sync_folder

# What a file that replaces another one of its name must not keep: it was about other bytes.
ABOUT_BYTES = (".asc", ".provenance")
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


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
