"""The tree of files below each root, as a look at it shows them.

**Invariants:** names that begin with a dot are invisible, everywhere; a folder behind a link is not entered; one bad
entry affects only itself, a root that cannot be read is an outage; no file is opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..allowed_names import allowed_in_a_path
from ..backend.mounts import DEVICES
from ..backend.stored_file import ODD_NAME, ScanResult, StoredFile, entry_of, folder_identity, shown
from ..distributions.filename import SIDECARS
from ..errors import ConfigError, Unreadable
from ..native_names import IS_UTF8, absolute, native, text_of
from .safe_open import (
    CAN_WALK,
    NOT_THERE,
    VANISHED,
    entries_in,
    is_hidden,
    is_plain,
    look_below,
    look_through,
    opened_folder,
    outage,
)


@dataclass(slots=True)
class _Walk:
    """A walk through the root of that ``number``; ``first`` are the endings of the names that come first in a folder.

    ``pending`` are the folders still to be read, each with the device of its parent.
    """

    scan: ScanResult
    number: int
    first: tuple[str, ...]
    pending: list[tuple[str, int]] = field(default_factory=lambda: [("", 0)])


class FolderTree:
    """The roots, in order of precedence; constructing it touches nothing."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(map(absolute, roots))

    def check(self) -> None:
        """Raise Unavailable unless every root can be read; ConfigError when one lies inside another."""
        for number, root in enumerate(self.roots):
            if any(root == other or root in other.parents for other in self.roots[number + 1 :]) or any(
                other in root.parents for other in self.roots[number + 1 :]
            ):
                raise ConfigError(
                    f"The folder {root} is named twice, or lies inside another one; name it once.",
                    kind="twice",
                    setting="roots",
                    value=root,
                )
            try:
                os.scandir(root).close()
            except OSError as error:
                raise outage(root, error) from error

    def scan(self) -> ScanResult:
        """Every file in the roots; raises Unavailable when a root cannot be read."""
        scan = ScanResult()
        entries = list(self.walk(scan))
        scan.entries.extend(entries)
        return scan

    def walk(self, scan: ScanResult, *, first: tuple[str, ...] = ()) -> Iterator[StoredFile]:
        """Every file in the roots, one by one, because a million entries fill 300 MB.

        In each folder those come first that end in one of ``first``. Skipped entries, and the folders that were read,
        are added to ``scan``. Raises Unavailable when a root cannot be read.
        """
        DEVICES.look()
        for number, root in enumerate(self.roots):
            walk = _Walk(scan, number, first)
            while walk.pending:
                relative, device = walk.pending.pop()
                try:
                    yield from self._files_in(walk, relative, device)
                except OSError as error:
                    if not relative:
                        raise outage(root, error) from error
                    if error.errno not in VANISHED:
                        reason = f"the folder cannot be read ({error.strerror or error})"
                        scan.note_unread(number, relative, relative, reason)
            # A root that disappeared while it was read would look half empty.
            if not root.is_dir():
                raise outage(root, OSError(errno.ENOENT, os.strerror(errno.ENOENT)))

    def folder_state(self, root: int, path: str) -> tuple[int, int] | None:
        """Modification time and inode of a folder, which show new and missing names; None without a folder."""
        try:
            status = os.stat(f"{self.roots[root]}/{native(path)}")
        except OSError:
            return None
        return status.st_mtime_ns, folder_identity(status)[1]

    def is_empty(self, root: int, path: str) -> bool:
        """Whether a folder is missing or has no visible entry; one that cannot be read does not count as empty."""
        try:
            with os.scandir(f"{self.roots[root]}/{native(path)}") as entries:
                return all(entry.name.startswith(".") for entry in entries)
        except OSError as error:
            return error.errno in NOT_THERE

    def _files_in(self, walk: _Walk, relative: str, device: int) -> Iterator[StoredFile]:
        """The files of one folder, whose parent is on ``device``; adds the folders in it to those to be walked.

        All but a few entries are plain files, so these cost no calls but the necessary system calls.
        """
        scan, number = walk.scan, walk.number
        prefix = f"{relative}/" if relative else ""
        with opened_folder(f"{self.roots[number]}/{native(relative)}", is_root=not relative) as folder:
            status = os.stat(folder)
            identity = folder_identity(status)
            scan.folders.append((number, relative, status.st_mtime_ns, identity[1]))
            if relative and identity[0] != device:
                scan.mounts[number, relative] = identity
            for entry in entries_in(folder, walk.first, scan.get_on):
                name = entry.name if IS_UTF8 else text_of(entry.name)
                if name.startswith("."):
                    continue
                path = prefix + name
                try:
                    if entry.is_file(follow_symlinks=False) and allowed_in_a_path(name):
                        yield entry_of(number, path, entry.stat(follow_symlinks=False))
                    elif entry.is_dir(follow_symlinks=False) and allowed_in_a_path(name):
                        walk.pending.append((path, identity[0]))
                    else:
                        self._look_closer(walk, path, name, entry)
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        reason = f"it cannot be looked at ({error.strerror or error})"
                        scan.note_unread(number, prefix or "/", shown(path), reason)
                if scan.entries:
                    yield scan.entries.pop()

    def _look_closer(self, walk: _Walk, path: str, name: str, entry: os.DirEntry[str]) -> None:
        """Handle an entry that is neither a file nor a folder, or that has an odd name."""
        scan, number = walk.scan, walk.number
        if not allowed_in_a_path(name):
            if entry.is_dir(follow_symlinks=False):
                scan.note_unread(number, path[: -len(name)] or "/", shown(path), ODD_NAME)
            else:
                scan.skipped.append((number, shown(path), ODD_NAME))
        elif entry.is_symlink():
            self._look_through(scan, number, path)
        elif entry.stat(follow_symlinks=False):
            scan.skipped.append((number, path, "it is no regular file"))

    def _look_through(self, scan: ScanResult, number: int, path: str) -> None:
        """Handle a link: if it leads to a file inside a root, it is a file like any other."""
        target = self.roots[number] / native(path)
        try:
            status = target.stat()
        except OSError as error:
            scan.skipped.append((number, path, f"it is a link that leads nowhere ({error.strerror or error})"))
            return
        if stat.S_ISDIR(status.st_mode):
            scan.skipped.append((number, path, "it is a link to a folder, and these are not followed"))
        elif not stat.S_ISREG(status.st_mode):
            scan.skipped.append((number, path, "it is no regular file"))
        else:
            # The earlier status proves nothing: the link may lead elsewhere.
            found = look_through(target, self.roots)
            if found is None or not stat.S_ISREG(found.st_mode):
                where = "that is hidden" if is_hidden(target, self.roots) else "outside of the folders"
                scan.skipped.append((number, path, f"it is a link to a file {where}"))
            else:
                scan.entries.append(entry_of(number, path, found))

    def stat(self, root: int, path: str) -> StoredFile | None:
        """One file as :meth:`scan` would see it, None when it would not.

        Raises Unavailable when the root cannot be read, Unreadable when only this file cannot be looked at: neither
        means that the file is gone.
        """
        return next(self._look(root, path, ("",)), None)

    def companions(self, root: int, path: str, suffixes: tuple[str, ...] = SIDECARS) -> list[StoredFile]:
        """The files with the name of one file and one of these suffixes, by default its sidecars.

        As :meth:`scan` would see them; raises as :meth:`stat` does.
        """
        return list(self._look(root, path, suffixes))

    def _look(self, root: int, path: str, suffixes: tuple[str, ...]) -> Iterator[StoredFile]:
        if not is_plain(path) or not allowed_in_a_path(path):
            return
        try:
            if not CAN_WALK:
                self.check()
            statuses = look_below(self.roots[root], native(path), suffixes)
        except OSError as error:
            raise Unreadable(f"The file {path} cannot be looked at: {error.strerror or error}.") from error
        for suffix, status in zip(suffixes, statuses, strict=True):
            if status is not None and stat.S_ISLNK(status.st_mode):
                scan = ScanResult()
                self._look_through(scan, root, path + suffix)
                yield from scan.entries
            elif status is not None and stat.S_ISREG(status.st_mode):
                yield entry_of(root, path + suffix, status)
