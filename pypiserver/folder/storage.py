"""Directory trees: their files, and opening one of them.

**Invariants:** names that begin with a dot are invisible, everywhere; a folder behind a link is not entered, a file
behind a link is served only when the link stays inside the roots; one bad entry affects only itself, a root that cannot
be read is an outage; a path is walked from its root without following any link.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ..allowed_names import allowed_in_a_path
from ..backend.mounts import DEVICES
from ..backend.name_lock import claimed, look_at
from ..backend.os_calls import OPERATIONS, Operations, refusal, sync_folder
from ..backend.stored_file import ODD_NAME, ScanResult, StoredFile, entry_of, folder_identity, shown
from ..errors import ConfigError, Conflict, Forbidden, NotFound, Unavailable, Unreadable
from ..model import File
from ..native_names import IS_UTF8, native, text_of
from . import trash
from .atomic import beside, publish_bytes
from .safe_open import (
    CAN_WALK,
    NOT_THERE,
    VANISHED,
    entries_in,
    held_folder,
    is_hidden,
    is_plain,
    look_below,
    look_through,
    open_below,
    opened_folder,
    outage,
    read_plain,
)
from .staged import Staged, remove_stale

_LOG = logging.getLogger(__name__)


class Folders:
    """The roots, in order of precedence; constructing it touches nothing.

    ``operations`` are the calls of the operating system, for tests that make them fail.
    """

    def __init__(self, roots: Sequence[Path], *, operations: Operations = OPERATIONS) -> None:
        self.roots = tuple(Path(os.path.abspath(root)) for root in roots)  # noqa: PTH100 - resolve() would follow links
        self._operations = operations

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
            pending = [("", 0)]
            while pending:
                relative, device = pending.pop()
                try:
                    yield from self._files_in(scan, number, relative, device, pending, first)
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
            status = os.stat(f"{self.roots[root]}/{native(path)}")  # noqa: PTH116 - a Path costs more than the call
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

    def _files_in(
        self,
        scan: ScanResult,
        number: int,
        relative: str,
        device: int,
        pending: list[tuple[str, int]],
        first: tuple[str, ...],
    ) -> Iterator[StoredFile]:
        """The files of one folder, whose parent is on ``device``; adds the folders in it to ``pending``.

        All but a few entries are plain files, so these cost no calls but the necessary system calls.
        """
        prefix = f"{relative}/" if relative else ""
        with opened_folder(f"{self.roots[number]}/{native(relative)}", is_root=not relative) as folder:
            status = os.stat(folder)  # noqa: PTH116 - an open folder has no path
            identity = folder_identity(status)
            scan.folders.append((number, relative, status.st_mtime_ns, identity[1]))
            if relative and identity[0] != device:
                scan.mounts[number, relative] = identity
            for entry in entries_in(folder, first, scan.get_on):
                name = entry.name if IS_UTF8 else text_of(entry.name)
                if name.startswith("."):
                    continue
                path = prefix + name
                try:
                    if entry.is_file(follow_symlinks=False) and allowed_in_a_path(name):
                        yield entry_of(number, path, entry.stat(follow_symlinks=False))
                    elif entry.is_dir(follow_symlinks=False) and allowed_in_a_path(name):
                        pending.append((path, identity[0]))
                    else:
                        self._look_closer(scan, number, path, name, entry)
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        reason = f"it cannot be looked at ({error.strerror or error})"
                        scan.note_unread(number, prefix or "/", shown(path), reason)
                if scan.entries:
                    yield scan.entries.pop()

    def _look_closer(self, scan: ScanResult, number: int, path: str, name: str, entry: os.DirEntry[str]) -> None:
        """Handle an entry that is neither a file nor a folder, or that has an odd name."""
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

    def beside(self, root: int, path: str, suffixes: tuple[str, ...] = trash.SUFFIXES) -> list[StoredFile]:
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

    def open(self, root: int, path: str) -> tuple[BinaryIO, StoredFile]:
        """A file's bytes and its identity, both from one open file.

        ``path`` comes from a scan; it is checked all the same. Raises NotFound when the file is missing, Unavailable
        when it cannot be read.
        """
        if not is_plain(path):
            raise NotFound(f"There is no file {path!r} here.")
        descriptor = -1
        try:
            descriptor = open_below(self.roots[root], native(path), self.roots)
            # Where another machine deleted the file, even this may fail.
            status = os.fstat(descriptor)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            if error.errno in NOT_THERE:
                raise NotFound(f"There is no file {path!r} here.") from error
            raise Unavailable(f"The file {path} cannot be opened: {error.strerror or error}.") from error
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise NotFound(f"There is no file {path!r} here.")
        # Unbuffered, because callers read large blocks: a buffer costs two system calls and its memory.
        return io.FileIO(descriptor), entry_of(root, path, status)

    def open_as(self, file: File) -> BinaryIO | None:
        """The bytes of exactly the file that a row describes: same size, time and inode; None for another one."""
        try:
            stream, entry = self.open(file.root, file.path)
        except NotFound:
            self.check()
            return None
        if entry.identity.is_same(file.identity):
            return stream
        stream.close()
        return None

    def read_text(self, root: int, path: str, limit: int = 65_536) -> str | None:
        """The text of a small file, at most ``limit`` bytes of it, None when it is missing or cannot be read."""
        try:
            file, _ = self.open(root, path)
            with file:
                return file.read(limit).decode("utf-8", "replace")
        except (NotFound, Unavailable, OSError):
            return None

    def statuses(self, skipped: list[str] | None = None) -> dict[str, str]:
        """The text of every ``.status/<project>`` by its name; the first root wins.

        Names that are not text are added to ``skipped``, in a printable form.
        """
        found: dict[str, str] = {}
        for root in self.roots:
            # A folder that cannot be read has no statuses.
            with contextlib.suppress(OSError), opened_folder(f"{root}/.status", is_root=False) as folder:
                for name in sorted(map(text_of, os.listdir(folder))):  # noqa: PTH208 - an open folder has no path
                    if name.startswith("."):
                        continue
                    if not allowed_in_a_path(name):
                        if skipped is not None:
                            skipped.append(shown(name))
                        continue
                    text = self._status(root, folder, name) if name not in found else None
                    if text is not None:
                        found[name] = text.decode("utf-8", "replace")
        return found

    def _status(self, root: Path, folder: int | str, name: str) -> bytes | None:
        if isinstance(folder, int):
            return read_plain(native(name), 4096, folder=folder)
        return read_plain(root / ".status" / native(name), 4096)

    # -- writing -------------------------------------------------------------------------------------------------

    def stage(self, directory: str = "", *, digests: Sequence[str] = ("sha256",)) -> Staged:
        """A hidden temporary file in a folder of the first root, hashed by these algorithms while it is written.

        If the folder is behind a link, the file is in the root instead.
        """
        root = self.roots[0]
        if directory and is_plain(directory):
            try:
                return Staged(root, directory, digests=digests, operations=self._operations).open()
            except Conflict:
                _LOG.warning("%s in %s is behind a link, or is no folder; it is not written to.", directory, root)
        return Staged(root, "", digests=digests, operations=self._operations).open()

    @contextlib.contextmanager
    def claimed(self, key: str) -> Iterator[None]:
        """Claim ``key`` in the first root; one holder at a time on this host."""
        root = self.roots[0]
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(claimed(root / native(key), self._operations))
            except OSError as error:
                raise refusal(error, root) from error
            yield

    def remove(self, root: int, path: str) -> None:
        """Delete a file and its sidecars."""
        with self._existing(root, path) as file:
            trash.remove(file, self._folder_of(root, path), operations=self._operations)

    def take_back(self, entry: StoredFile) -> bool:
        """Delete a file and its sidecars, if it is this one; returns whether it was."""
        with self._existing(entry.root, entry.path) as file:
            where = self._folder_of(entry.root, entry.path)
            return trash.remove(file, where, only=entry[2:5], operations=self._operations)

    def make(self, directory: str) -> None:
        """Make a folder below the first root, unless it exists; raises Conflict when a link is on the way."""
        try:
            with held_folder(self.roots[0], directory, make=True):
                pass
        except OSError as error:
            raise refusal(error, self.roots[0] / directory) from error

    def set_time(self, root: int, path: str, modified_ns: int) -> None:
        """Set the modification time of a file, which is its upload time."""
        with self._existing(root, path) as file:
            try:
                os.utime(
                    file, ns=(modified_ns, modified_ns), follow_symlinks=os.utime not in os.supports_follow_symlinks
                )
            except PermissionError as error:
                raise Forbidden(
                    f"The time of {path} in {self.roots[root]} cannot be set ({error.strerror}): it belongs to another "
                    "user. Its bytes are right."
                ) from error
            except OSError as error:
                raise refusal(error, self._folder_of(root, path)) from error

    def write_sidecar(self, root: int, path: str, suffix: str, data: bytes, *, overwrite: bool = True) -> None:
        """Write a sidecar of a file in one step; an existing one is replaced only with ``overwrite``."""
        with self._existing(root, path) as file:
            try:
                # Removing takes the claim too: a file that is gone gets no sidecar, which the next file of its name
                # would inherit.
                with claimed(file, self._operations):
                    if look_at(file) is None:
                        raise self._missing(root, path)
                    publish_bytes(file, suffix, data, overwrite=overwrite, operations=self._operations)
            except OSError as error:
                raise refusal(error, self._folder_of(root, path)) from error

    def remove_sidecar(self, root: int, path: str, suffix: str) -> None:
        """Remove a sidecar of a file; does nothing when it is missing."""
        with self._existing(root, path) as file:
            try:
                with contextlib.suppress(FileNotFoundError):
                    self._operations.unlink(beside(file, suffix))
                    sync_folder(file.parent, self._operations)
            except OSError as error:
                raise refusal(error, self._folder_of(root, path)) from error

    def remove_stale_parts(self, before: float) -> int:
        """Delete the temporary files of uploads that never finished; returns their number.

        These are the files not touched since ``before`` (seconds since the epoch).
        """
        return sum(remove_stale(root, before) for root in self.roots)

    def trash(self, root: int, path: str) -> None:
        """Move a file and its sidecars into the hidden folder ``.trash`` of its root."""
        with self._existing(root, path) as file:
            trash.move(self.roots[root], path, file)

    def list_trash(self) -> list[tuple[int, str]]:
        """(root, path) of every distribution in the trash."""
        return [(number, path) for number, root in enumerate(self.roots) for path in trash.listing(root)]

    def restore(self, root: int, path: str) -> None:
        """Move a file back from the trash; raises Conflict when another file has its path now."""
        trash.restore(self.roots[root], path, operations=self._operations)

    @contextlib.contextmanager
    def _existing(self, root: int, path: str) -> Iterator[Path]:
        """A path of an existing file that stays in its folder, even if another folder takes its name."""
        if self.stat(root, path) is None:
            raise self._missing(root, path)
        folder, _, name = path.rpartition("/")
        with contextlib.ExitStack() as held:
            try:
                found = held.enter_context(held_folder(self.roots[root], folder))
            except OSError as error:
                raise self._missing(root, path) from error
            yield found / native(name)

    def _folder_of(self, root: int, path: str) -> Path:
        """The folder of a file, by its name in messages."""
        return (self.roots[root] / path).parent

    def _missing(self, root: int, path: str) -> NotFound:
        return NotFound(f"There is no file {path!r} in {self.roots[root]}.", public=f"There is no file {path!r} here.")
