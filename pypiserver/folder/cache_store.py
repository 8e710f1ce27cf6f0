"""Files and pages of other indexes in a folder, each index's a folder of packages that any server can serve alone.

``CACHE/<upstream>/<project>/<file>`` has the upload time as its modification time, and its sidecars next to it. What
only a cache needs is hidden from scans: ``.pages/<project>.json``; ``.sidecars/<project>/<file><suffix>``, which has
hashes, metadata, and sidecars of files that are not kept; and ``.fetching`` (see :mod:`.shared_fetch`).

**Invariants:** no link is followed, neither to a folder nor to a file; a file gets its name when it is whole, checked
and durable; a hash on record counts only for the size, times and inode that it was recorded with.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from ..backend.cache_store import FollowedFile, GrowingFile, KeptEntry, KeptFile, Key
from ..backend.hashing import sha256_of_stream
from ..backend.name_lock import claimed, lock, look_at
from ..backend.os_calls import OPERATIONS, Operations, refusal
from ..bounded_cache import BoundedCache
from ..distributions.filename import SIDECARS
from ..errors import PypiServerError, StorageFull, Unavailable
from ..native_names import native, text_of
from . import trash
from .atomic import publish_bytes, sidecar_path
from .cache_tree import HIDDEN, MAX_SIDECAR, PAGES, CacheTree, hidden_folder, is_name, path_of, project_folder
from .cache_uses import Uses
from .growing_file import FolderGrowing
from .safe_open import NOT_THERE, READ_ONLY, open_below, read_plain
from .shared_fetch import SharedFetches
from .staged import remove_stale

MAX_PAGE = 64 << 20
# Bytes of hashes that each process remembers.
HASH_BYTES = 4 << 20
# Bytes that stay free on the disk for others.
SPARE_BYTES = 16 << 20
State = tuple[int, int, int, int, int]


class FolderCache:
    """A CacheStore in the folder ``root``; constructing it touches nothing. ``operations`` are for tests."""

    sign = None

    def __init__(self, root: Path, *, operations: Operations = OPERATIONS) -> None:
        self.root = root
        self._tree = CacheTree(root, operations)
        self._uses = Uses(self._tree)
        self._shared = SharedFetches(self._tree)
        self._hashes: BoundedCache[Key, tuple[State, str]] = BoundedCache(HASH_BYTES)

    def prepare(self, before: float) -> None:
        """Make the folder, and delete what a process that died left; ``before`` is when this one began (epoch)."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refusal(error, self.root) from error
        # A scan of the folder alone does not enter hidden folders.
        for folder in (self.root, *self.root.glob(f"*/{HIDDEN}"), *self.root.glob(f"*/{PAGES}")):
            remove_stale(folder, before)

    # -- files ---------------------------------------------------------------------------------------------------

    def open(self, key: Key) -> KeptFile | None:
        """A kept file, None if there is none; :meth:`remove` spares it until its stream is closed."""
        if (known := self._hashes.get(key)) is not None and (kept := self._open_again(key, *known)) is not None:
            return kept
        path = native(path_of(key))
        try:
            descriptor = open_below(self.root, path, ())
        except OSError as error:
            if error.errno in NOT_THERE:
                return None
            raise Unavailable(f"The file {path} of the cache cannot be opened: {error.strerror or error}.") from error
        stream = io.FileIO(descriptor)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                stream.close()
                return None
            _share(descriptor)
            sha256 = self._sha256(key, descriptor, status)
        except BaseException:
            stream.close()
            raise
        return KeptFile(stream, status.st_size, status.st_mtime_ns, sha256, f"{self.root}/{path}")

    def _open_again(self, key: Key, state: State, sha256: str) -> KeptFile | None:
        """The file of that state, which was opened without following any link before; None if it is another one now.

        Walking down to a file takes four times as long as opening it.
        """
        path = f"{self.root}/{native('/'.join(key))}"
        try:
            stream = io.FileIO(os.open(path, READ_ONLY))
        except OSError:
            return None
        if _state(os.fstat(stream.fileno())) != state:
            stream.close()
            return None
        _share(stream.fileno())
        return KeptFile(stream, state[0], state[1], sha256, path)

    def begin(self, key: Key, size: int | None) -> GrowingFile:
        """Begin to keep a file; raises StorageFull if the disk has no place for it."""
        folder = project_folder(key)
        if size is not None and (free := self._tree.free()) is not None and free < size + SPARE_BYTES:
            raise StorageFull(f"The folder {self.root} has no place for {key.filename} ({size} bytes).")

        def note(status: os.stat_result, sha256: str) -> None:
            self._note_hash(key, _state(status), sha256)

        return FolderGrowing(self._tree, folder, key.filename, record=self._shared.record(key), note=note).open()

    def _note_hash(self, key: Key, state: State, sha256: str) -> None:
        """Record the hash of a kept file, so that it is not read again after a restart."""
        self._hashes.put(key, (state, sha256), size=200)
        with contextlib.suppress(PypiServerError):
            line = " ".join([*map(str, state), sha256]).encode()
            self._tree.write(hidden_folder(key), f"{key.filename}.sha256", line)

    def _sha256(self, key: Key, descriptor: int, status: os.stat_result) -> str:
        state = _state(status)
        known = self._hashes.get(key)
        if known is not None and known[0] == state:
            return known[1]
        words = (self._tree.read(hidden_folder(key), f"{key.filename}.sha256") or b"").decode("ascii", "replace")
        *recorded, sha256 = words.split() or [""]
        if recorded == list(map(str, state)):
            self._hashes.put(key, (state, sha256), size=200)
            return sha256
        # It was put here by hand, or carried here with its folder.
        sha256 = sha256_of_stream(io.FileIO(os.dup(descriptor)))
        os.lseek(descriptor, 0, os.SEEK_SET)
        self._note_hash(key, state, sha256)
        return sha256

    def remove(self, key: Key) -> int:
        """Delete a kept file and its sidecars unless it is in use; returns the bytes that became free."""
        folder, size = project_folder(key), 0
        with contextlib.suppress(OSError, PypiServerError), self._tree.held(folder) as held:
            file = held / native(key.filename)
            with io.FileIO(os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))) as stream:
                if not _is_free(stream.fileno()):
                    return 0
                size = os.fstat(stream.fileno()).st_size
                trash.remove(file, self.root / folder, operations=self._tree.operations)
            self._hashes.drop(key)
        for suffix in (".metadata", ".provenance", ".asc", ".sha256"):
            size += self._tree.unlink(hidden_folder(key), f"{key.filename}{suffix}")
        for each in (folder, hidden_folder(key)):
            with contextlib.suppress(OSError):
                (self.root / native(each)).rmdir()
        return size

    def entries(self) -> Iterator[KeptEntry]:
        """Every kept file."""
        uses = self._uses.all()
        for upstream in self._tree.folders():
            for project in self._tree.folders(upstream):
                for entry in self._tree.files(f"{upstream}/{project}"):
                    if entry.name.endswith(SIDECARS):
                        continue
                    key = Key(upstream, project, text_of(entry.name))
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        used = uses.get(key) or status.st_ctime
                        yield KeptEntry(key, status.st_size, status.st_mtime_ns, used)

    def note_use(self, key: Key) -> None:
        """Note that a client got a file."""
        self._uses.note(key)

    def forget_other_uses(self, keys: Iterable[Key]) -> None:
        """Forget the uses of all files but these."""
        self._uses.keep(keys)

    # -- sidecars ------------------------------------------------------------------------------------------------

    def sidecar(self, key: Key, suffix: str) -> bytes | None:
        """A sidecar: that next to the kept file, or the one that is kept without it."""
        if suffix in SIDECARS and (data := self._tree.read(project_folder(key), key.filename + suffix)) is not None:
            return data
        return self._tree.read(hidden_folder(key), key.filename + suffix)

    def put_sidecar(self, key: Key, suffix: str, data: bytes) -> None:
        """Keep a sidecar: next to the file, if that is kept and servers look for it there."""
        if suffix in SIDECARS:
            with contextlib.suppress(OSError), self._tree.held(project_folder(key)) as held:
                file = held / native(key.filename)
                # Removing takes the claim too: no sidecar is left for the next file of the name.
                with claimed(file, self._tree.operations):
                    if look_at(file) is not None:
                        publish_bytes(
                            sidecar_path(file, suffix), data, overwrite=True, operations=self._tree.operations
                        )
                        return
        self._tree.write(hidden_folder(key), key.filename + suffix, data)

    def remove_sidecar(self, key: Key, suffix: str) -> None:
        """Remove a sidecar; does nothing when it is missing."""
        self._tree.unlink(project_folder(key), key.filename + suffix)
        self._tree.unlink(hidden_folder(key), key.filename + suffix)

    def kept_yanks(self, upstream: str, project: str) -> Mapping[str, str | None]:
        """The kept files of a project, each with the reason of its yank, None if it is not yanked."""
        found: dict[str, str | None] = {}
        for entry in self._tree.files(f"{upstream}/{project}"):
            if not entry.name.endswith(SIDECARS):
                reason = read_plain(sidecar_path(Path(entry.path), ".yanked"), MAX_SIDECAR)
                found[text_of(entry.name)] = None if reason is None else reason.decode("utf-8", "replace")
        return found

    # -- pages ---------------------------------------------------------------------------------------------------

    def page(self, upstream: str, project: str) -> bytes | None:
        """The kept page of a project."""
        return self._tree.read(f"{upstream}/{PAGES}", f"{project}.json", MAX_PAGE) if is_name(project) else None

    def put_page(self, upstream: str, project: str, data: bytes) -> None:
        """Keep a page, in place of an older one."""
        if is_name(project):
            self._tree.write(f"{upstream}/{PAGES}", f"{project}.json", data)

    def remove_page(self, upstream: str, project: str) -> int:
        """Delete a kept page, and what is kept about files that are not; returns the bytes that became free."""
        if not is_name(project):
            return 0
        size = self._tree.unlink(f"{upstream}/{PAGES}", f"{project}.json")
        if not self.kept_yanks(upstream, project):
            folder = f"{upstream}/{HIDDEN}/{project}"
            size += sum(self._tree.unlink(folder, text_of(entry.name)) for entry in list(self._tree.files(folder)))
            with contextlib.suppress(OSError):
                (self.root / native(folder)).rmdir()
        return size

    def pages(self) -> Iterator[tuple[str, str]]:
        """(upstream, project) of every kept page."""
        for upstream in self._tree.folders():
            for entry in self._tree.files(f"{upstream}/{PAGES}"):
                if entry.name.endswith(".json"):
                    yield upstream, text_of(entry.name.removesuffix(".json"))

    def other_bytes(self) -> int:
        """The bytes of pages, and of sidecars that are not next to a file."""
        total = 0
        for upstream in self._tree.folders():
            below = [f"{upstream}/{HIDDEN}/{each}" for each in self._tree.folders(f"{upstream}/{HIDDEN}")]
            for folder in (f"{upstream}/{PAGES}", *below):
                for entry in self._tree.files(folder):
                    with contextlib.suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_size
        return total

    # -- one of several processes ---------------------------------------------------------------------------------

    def sole_fetcher(self, key: Key) -> AbstractContextManager[bool]:
        """Whether this process is the one that fetches the file on this host, while the context lasts."""
        return self._shared.sole(key)

    def follow(self, key: Key) -> AbstractContextManager[FollowedFile | None]:
        """The file that another process on this host fetches."""
        return self._shared.follow(key)

    def sole_pruner(self) -> AbstractContextManager[bool]:
        """Whether this process is the one that makes room."""
        return self._shared.alone(".prune")

    def close(self) -> None:
        """Write the uses that are only in memory."""
        self._uses.write()


def _state(status: os.stat_result) -> State:
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns, status.st_dev


def _share(descriptor: int) -> None:
    """Let :meth:`FolderCache.remove` see that the file is in use, where files can be locked."""
    try:  # noqa: SIM105 - contextlib.suppress takes as long as the lock, for each download
        lock(descriptor, wait=False, is_shared=True)
    except OSError:
        pass


def _is_free(descriptor: int) -> bool:
    """Whether no stream of :meth:`FolderCache.open` is of this file; true where files cannot be locked."""
    try:
        return lock(descriptor, wait=False)
    except OSError:
        return True
