"""Writing so that nobody ever sees half a file, and nobody's file is lost.

Bytes go to a hidden temporary file in the folder where the file will stand; ``fsync``; ``link`` to the final name,
which is exclusive over threads, processes and hosts; ``fsync`` of the folder. The rules to keep: a failure leaves the
folder as it was; a link at a name we write to is never followed; temporary files are known by their name and age alone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import Conflict, Forbidden, PypiServerError, StorageFull, Unavailable
from .entries import Entry

_PART = re.compile(r"\.upload-[0-9a-f]{32}\.part")
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
# What a file that replaces another one of its name must not keep: it was about other bytes.
_ABOUT_BYTES = (".asc", ".provenance")
_EXCLUSIVE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class Operations:
    """The calls by which bytes become durable; tests put ones here that fail."""

    open: Callable[..., int] = os.open
    write: Callable[[BinaryIO, bytes], int] = lambda file, data: file.write(data)
    fsync: Callable[[int], None] = os.fsync
    link: Callable[..., None] = os.link
    replace: Callable[[Path, Path], None] = os.replace


OPERATIONS = Operations()


class Staged:
    """A file that is being uploaded, hidden until :meth:`publish`, gone after :meth:`discard`."""

    def __init__(
        self, root: Path, folder: Path, *, digests: Sequence[str], operations: Operations = OPERATIONS
    ) -> None:
        self._root = root
        self._folder = folder
        self._operations = operations
        self._hashes = {name: _hash(name) for name in digests}
        self._path = folder / f".upload-{secrets.token_hex(16)}.part"
        self._file: BinaryIO | None = None
        self.size = 0

    def open(self) -> Staged:
        """Create the temporary file; raises StorageFull, Forbidden or Unavailable."""
        try:
            descriptor = self._operations.open(self._path, _EXCLUSIVE | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise refusal(error, self._folder) from error
        self._file = os.fdopen(descriptor, "wb")
        return self

    def write(self, data: bytes) -> int:
        """Take the next bytes; raises StorageFull, Forbidden or Unavailable."""
        assert self._file is not None, "open() comes first"  # noqa: S101 - a bug of ours, not of a client
        try:
            self._operations.write(self._file, data)
        except OSError as error:
            raise refusal(error, self._folder) from error
        for each in self._hashes.values():
            each.update(data)
        self.size += len(data)
        return len(data)

    def digest(self, name: str) -> bytes:
        """The digest of what was written, by one of the algorithms named at first."""
        digest: bytes = self._hashes[name].digest()
        return digest

    def hexdigest(self, name: str) -> str:
        """The same as lower-case hex."""
        return self.digest(name).hex()

    def reader(self) -> BinaryIO:
        """What was written, opened anew for reading."""
        assert self._file is not None, "open() comes first"  # noqa: S101
        try:
            self._file.flush()
            return self._path.open("rb")
        except OSError as error:
            raise refusal(error, self._folder) from error

    def publish(self, filename: str, *, overwrite: bool, sidecars: Mapping[str, bytes]) -> Entry:
        """Make the file durable and visible as ``filename``, with ``sidecars`` (by suffix) beside it, all or nothing.

        Raises Conflict when a file of that name is there and ``overwrite`` is off. A file that is replaced loses its
        signature and attestations, which were about other bytes; a yank is about the release, and stays.
        """
        assert self._file is not None, "open() comes first"  # noqa: S101
        target = self._folder / filename
        beside: list[Path] = []
        try:
            self._file.flush()
            self._operations.fsync(self._file.fileno())
            self._file.close()
            for suffix, data in sidecars.items():
                beside.append(self._prepare_sidecar(target, suffix, data, overwrite=overwrite))
            self._name(self._path, target, overwrite=overwrite)
        except BaseException as error:
            for path in beside:
                path.unlink(missing_ok=True)
            self.discard()
            if isinstance(error, FileExistsError):
                raise Conflict(f"The file {filename} already exists.") from error
            if isinstance(error, OSError):
                raise refusal(error, self._folder) from error
            raise
        if overwrite:
            for suffix in _ABOUT_BYTES:
                if suffix not in sidecars:
                    target.with_name(target.name + suffix).unlink(missing_ok=True)
        self._sync_folder()
        status = target.stat()
        relative = target.relative_to(self._root).as_posix()
        return Entry(0, relative, status.st_size, status.st_mtime_ns, status.st_ino)

    def _prepare_sidecar(self, target: Path, suffix: str, data: bytes, *, overwrite: bool) -> Path:
        """Put a sidecar beside a file that is about to appear.

        One that stands there without its file is an orphan, and replaced; one of a file that exists is not touched
        unless the file is overwritten too.
        """
        if not overwrite and target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        _write_beside(target, suffix, data, self._operations)
        return target.with_name(target.name + suffix)

    def _name(self, temporary: Path, target: Path, *, overwrite: bool) -> None:
        if overwrite:
            self._operations.replace(temporary, target)
            return
        try:
            self._operations.link(temporary, target, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _claim_and_rename(temporary, target, self._operations)
            return
        temporary.unlink()

    def _sync_folder(self) -> None:
        if os.name != "nt":
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                self._operations.fsync(descriptor)
            finally:
                os.close(descriptor)

    def discard(self) -> None:
        """Delete the temporary file; nothing happens after :meth:`publish`, or a second time."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def _hash(name: str) -> Any:
    if name == "blake2b-256":
        return hashlib.blake2b(digest_size=32)
    return hashlib.new(name, usedforsecurity=False)


def _claim_and_rename(temporary: Path, target: Path, operations: Operations) -> None:
    """For file systems without hard links: whoever creates the hidden claim may look and rename, one at a time."""
    claim = target.with_name(f".{target.name}.claim")
    os.close(operations.open(claim, _EXCLUSIVE, 0o600))
    try:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        operations.replace(temporary, target)
    finally:
        claim.unlink(missing_ok=True)


def _write_beside(target: Path, suffix: str, data: bytes, operations: Operations) -> None:
    """Write a sidecar in one step."""
    temporary = target.with_name(f".upload-{secrets.token_hex(16)}.part")
    descriptor = operations.open(temporary, _EXCLUSIVE | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            operations.write(file, data)
            file.flush()
            operations.fsync(file.fileno())
        operations.replace(temporary, target.with_name(target.name + suffix))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def publish_bytes(file: Path, suffix: str, data: bytes, *, operations: Operations = OPERATIONS) -> None:
    """Put a sidecar beside an existing file, or replace it."""
    try:
        _write_beside(file, suffix, data, operations)
    except OSError as error:
        raise refusal(error, file.parent) from error


def remove_stale(root: Path, older_than_seconds: float, *, clock: Callable[[], float] = time.time) -> int:
    """Delete temporary files of uploads that nobody can be writing any more; gives their number."""
    removed = 0
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if _PART.fullmatch(name):
                with contextlib.suppress(OSError):
                    if clock() - path.lstat().st_mtime >= older_than_seconds:
                        path.unlink()
                        removed += 1
    return removed


def refusal(error: OSError, folder: Path) -> PypiServerError:
    """What an error of the operating system means for whoever wanted to write."""
    words = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"The folder {folder} is full ({words}); nothing was stored. Make room, then try again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Forbidden(f"The folder {folder} cannot be written by the server ({words}); nothing was stored.")
    return Unavailable(f"The folder {folder} cannot be written ({words}); nothing was stored.")
