"""Packages in folders as a storage: opening files of the tree, and changing it.

**Invariants:** a file behind a link is served only when the link stays inside the roots; a path is walked from its root
without following any link; what is changed stays in its folder, even if another folder takes its name.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ..allowed_names import allowed_in_a_path
from ..backend.name_lock import claimed, look_at
from ..backend.os_calls import OPERATIONS, Operations, refusal, sync_folder
from ..backend.stored_file import StoredFile, entry_of, shown
from ..errors import Conflict, Forbidden, NotFound, Unavailable
from ..model import File
from ..native_names import native, text_of
from . import trash
from .atomic import publish_bytes, sidecar_path
from .safe_open import NOT_THERE, held_folder, is_plain, open_below, opened_folder, read_plain
from .staged import Staged, remove_stale
from .tree import FolderTree

_LOG = logging.getLogger(__name__)


class Folders(FolderTree):
    """The tree with its bytes; constructing it touches nothing.

    ``operations`` are the calls of the operating system, for tests that make them fail.
    """

    def __init__(self, roots: Sequence[Path], *, operations: Operations = OPERATIONS) -> None:
        super().__init__(roots)
        self._operations = operations

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
                    target = sidecar_path(file, suffix)
                    publish_bytes(target, data, overwrite=overwrite, operations=self._operations)
            except OSError as error:
                raise refusal(error, self._folder_of(root, path)) from error

    def remove_sidecar(self, root: int, path: str, suffix: str) -> None:
        """Remove a sidecar of a file; does nothing when it is missing."""
        with self._existing(root, path) as file:
            try:
                with contextlib.suppress(FileNotFoundError):
                    self._operations.unlink(sidecar_path(file, suffix))
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
