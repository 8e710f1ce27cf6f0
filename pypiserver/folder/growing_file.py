"""A file of another index on its way into the cache: hidden, read while it grows, named when it is whole.

It has a hidden name, and not none, so that other processes of the server can read it too; it is locked while its
process lives, and what a process that died left is deleted.

**Invariants:** it gets its name when it is durable, with its upload time and its sidecars; a failure leaves no name.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from ..backend.cache_store import Progress
from ..backend.name_lock import open_locked
from ..backend.os_calls import refusal
from ..backend.written_bytes import WrittenBytes
from ..native_names import native
from .atomic import place
from .cache_tree import CacheTree
from .shared_fetch import Record

Note = Callable[[os.stat_result, str], None]


class FolderGrowing:
    """A GrowingFile in a folder of the cache; ``note`` gets the status and the hash once it has its name."""

    def __init__(
        self, tree: CacheTree, folder: str, filename: str, *, record: Record | None = None, note: Note
    ) -> None:
        self.size = 0
        self._tree = tree
        self._folder = folder
        self._filename = filename
        self._record = record
        self._note = note
        self._holding = contextlib.ExitStack()
        self._held = tree.root
        self._part: Path | None = None
        self._file: io.FileIO | None = None
        self._seeking = threading.Lock()

    def open(self) -> FolderGrowing:
        """Create it; raises StorageFull, Forbidden or Unavailable."""
        try:
            self._held = self._holding.enter_context(self._tree.held(self._folder, make=True))
            self._part, descriptor = open_locked(self._held, self._tree.operations)
        except OSError as error:
            self._holding.close()
            raise refusal(error, self._tree.root / self._folder) from error
        except BaseException:
            self._holding.close()
            raise
        self._file = io.FileIO(descriptor, "r+")
        if self._record is not None:
            self._record.begin(f"{self._folder}/{self._part.name}")
        return self

    def write(self, data: bytes) -> int:
        """Append bytes; raises StorageFull, Forbidden or Unavailable."""
        file, left = self._opened(), memoryview(data)
        try:
            while left:
                # On one descriptor with readers that seek, where there is no pread.
                with self._seeking if not hasattr(os, "pread") else contextlib.nullcontext():
                    if not hasattr(os, "pread"):
                        file.seek(self.size)
                    done = self._tree.operations.write(file, left)  # type: ignore[arg-type]
                self.size += done
                left = left[done:]
        except OSError as error:
            raise refusal(error, self._tree.root / self._folder) from error
        return len(data)

    def read_at(self, offset: int, count: int) -> bytes:
        """Bytes that were written."""
        file = self._opened()
        if hasattr(os, "pread"):
            return os.pread(file.fileno(), count, offset)
        with self._seeking:
            file.seek(offset)
            return file.read(count) or b""

    def stream(self) -> BinaryIO:
        """The bytes that were written."""
        return io.BufferedReader(WrittenBytes(self))

    def tell(self, progress: Progress | None) -> None:
        """Let other processes know."""
        if self._record is not None:
            self._record.write(progress)

    def publish(self, mtime_ns: int, sidecars: Mapping[str, bytes], *, sha256: str) -> None:
        """Give it its name; raises StorageFull, Forbidden or Unavailable."""
        file, part = self._opened(), self._part
        assert part is not None, "open() comes first"  # noqa: S101
        target = self._held / native(self._filename)
        try:
            os.utime(file.fileno() if os.utime in os.supports_fd else part, ns=(mtime_ns, mtime_ns))
            self._tree.operations.fsync(file.fileno())
            # One that is here already is another file of this name, or one that was being removed.
            is_taken = os.path.lexists(target)
            place(part, target, sidecars, overwrite=is_taken, operations=self._tree.operations)
            self._note(os.fstat(file.fileno()), sha256)
        except FileExistsError:
            # Another program was faster, with the same bytes or with others: the next reader looks at them.
            pass
        except OSError as error:
            raise refusal(error, self._tree.root / self._folder) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Delete the hidden name; the file lives on until its last reader lets go of it."""
        part, self._part = self._part, None
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        self._holding.close()

    def __del__(self) -> None:
        # Its readers may be done long after the fetch.
        if self._file is not None:
            self._file.close()

    def _opened(self) -> io.FileIO:
        assert self._file is not None, "open() comes first"  # noqa: S101
        return self._file
