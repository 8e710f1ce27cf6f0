"""Naming a finished file together with its sidecars: all of them or none.

``link`` gives a name only to the first caller, over threads, processes and hosts. Naming a file with its sidecars takes
several steps, so one caller at a time takes them, and a later failure undoes the earlier ones.

**Invariants:** no name is looked up unless it is also claimed; a link (hard or symbolic) at a name we write to is
replaced or refused, never followed; a failure leaves every name as it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from ..backend.name_lock import claimed, lock, open_locked
from ..backend.os_calls import OPERATIONS, Operations, hidden_name, refusal, sync_folder

# The sidecars that a replacing file must not keep: they are about other bytes.
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
    """Make a temporary file visible as ``target``, with ``sidecars`` (by suffix), and make that durable.

    A temporary file without a name is given by its descriptor. Raises FileExistsError when the name is taken and
    ``overwrite`` is off, OSError when it cannot be done; then everything is as it was, except that ``temporary`` may be
    gone. A replaced file loses its signature and attestations, and so does a name whose earlier file left some: they
    are about other bytes.
    """
    steps = _Steps(operations)
    try:
        parts = {suffix: steps.write_part(target.parent, data) for suffix, data in sidecars.items()}
        with claimed(target, operations) as is_ours:
            try:
                about_others = [path for suffix in ABOUT_BYTES if os.path.lexists(path := sidecar_path(target, suffix))]
                # Naming the file would fail too, but the sidecars must not be touched before that.
                if not overwrite and (about_others or parts) and os.path.lexists(target):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
                for path in about_others:
                    steps.set_aside(path)
                for suffix, part in parts.items():
                    steps.rename(part, sidecar_path(target, suffix))
                if overwrite:
                    steps.replace(steps.named(temporary, target.parent), target)
                else:
                    steps.name(temporary, target, may_rename=is_ours)
                sync_folder(target.parent, operations)
            except FileExistsError:
                steps.undo()
                # The first caller may not be done yet: its file must be durable before we report it.
                sync_folder(target.parent, operations)
                raise
            except BaseException:
                steps.undo()
                raise
    finally:
        steps.tidy()


def sidecar_path(file: Path, suffix: str) -> Path:
    """The path of a sidecar of a file."""
    return file.with_name(file.name + suffix)


def name_exclusively(
    temporary: Path | int, target: Path, *, may_rename: bool = False, operations: Operations = OPERATIONS
) -> None:
    """Move a file to an unused name; raises FileExistsError when the name is taken.

    ``may_rename`` says that the caller has claimed the name: then, where there are neither hard links nor an exclusive
    rename, checking the name first is safe enough.
    """
    if isinstance(temporary, int):
        operations.name(temporary, target)
        return
    if sys.platform == "win32":
        temporary.rename(target)  # on Windows, this refuses to replace
        return
    try:
        operations.link(temporary, target)
    except OSError as error:
        if error.errno not in _NO_LINKS or not may_rename:
            raise
        operations.rename(temporary, target)
        return
    # The second name is hidden, and the next start deletes it at the latest: no reason to fail.
    with contextlib.suppress(OSError):
        temporary.unlink()


def publish_bytes(target: Path, data: bytes, *, overwrite: bool, operations: Operations) -> None:
    """Write ``target``, a sidecar, in one step, and make it durable; without ``overwrite`` an existing one stays."""
    steps = _Steps(operations)
    try:
        part = steps.write_part(target.parent, data)
        if overwrite:
            operations.replace(part, target)
        else:
            with contextlib.suppress(FileExistsError):
                name_exclusively(part, target, may_rename=True, operations=operations)
        sync_folder(target.parent, operations)
    except OSError as error:
        raise refusal(error, target.parent) from error
    finally:
        steps.tidy()


class _Steps:
    """The steps done to the names in a folder, and how to undo them, last step first."""

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
        """Free a name: its file gets a hidden name."""
        kept = hidden_name(path.parent, "kept")
        self._lock(path)
        try:
            self._operations.replace(path, kept)
        except FileNotFoundError:
            # Another process removed it first.
            return
        self._kept.append(kept)
        self._undo.append(lambda: kept.replace(path))

    def rename(self, part: Path, path: Path) -> None:
        """Give a part a name that was set aside."""
        self._operations.replace(part, path)
        self._undo.append(path.unlink)

    def named(self, temporary: Path | int, folder: Path) -> Path:
        """The path of a temporary file; a file without a name gets a hidden one."""
        if isinstance(temporary, Path):
            return temporary
        with contextlib.suppress(OSError):
            lock(temporary, wait=False)
        path = hidden_name(folder)
        self._operations.name(temporary, path)
        self._parts.append(path)
        return path

    def name(self, temporary: Path | int, target: Path, *, may_rename: bool) -> None:
        """Give a file an unused name."""
        name_exclusively(temporary, target, may_rename=may_rename, operations=self._operations)
        self._undo.append(target.unlink)

    def replace(self, temporary: Path, target: Path) -> None:
        """Give a file a name, replacing any file that has it."""
        undo: Callable[[], object] = target.unlink
        kept = hidden_name(target.parent, "kept")
        self._lock(target)
        try:
            self._operations.link(target, kept)
        except FileNotFoundError:
            # No file has the name, or no longer.
            pass
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Without hard links the old file cannot be kept: a whole new file is better than none.
            undo = target.lstat
        else:
            self._kept.append(kept)
            self._undo.append(kept.unlink)
            undo = partial(kept.replace, target)
        self._operations.replace(temporary, target)
        self._undo.append(undo)

    def undo(self) -> None:
        """Restore every name to its earlier file; a file that cannot be restored stays hidden, and is not deleted."""
        self._kept.clear()
        for step in reversed(self._undo):
            with contextlib.suppress(OSError):
                step()

    def tidy(self) -> None:
        """Delete the hidden files that are no longer needed."""
        for path in self._parts + self._kept:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        for descriptor in self._locked:
            os.close(descriptor)

    def _lock(self, path: Path) -> None:
        """Lock a file until the end, so that it counts as in use, before it gets a hidden name."""
        if os.name == "nt":
            return
        with contextlib.suppress(OSError):
            self._locked.append(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
            lock(self._locked[-1], wait=False)
