"""Names of files that appeared in a large tree and may have no row in the catalog yet, up to this very moment.

Each process has a journal of its own: the caller reads the kernel's queue, and depends on no other thread or process.

**Invariants:** a name in a folder has a row, or was seen by a scan, or is in the journal once :meth:`read` was called;
when following fails (an event was lost, a root is another folder now), LostError is raised, and a new journal starts; a
name is forgotten only in the state in which it was looked up, because it may have appeared again since; names take a
bounded number of bytes.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from ..backend.inotify import IGNORED, IS_FOLDER, OVERFLOWED, UNMOUNTED, Event, Inotify
from ..backend.mounts import is_shared
from ..distributions.filename import projects_of
from ..distributions.truncation import COMPANIONS
from ..native_names import native, text_of
from .storage import Folders

Key = tuple[int, str]
# A name, and the number of its latest note.
Noted = tuple[Key, int]
MOST_BYTES = 16 << 20
# A tree of more folders is not followed: a folder takes some 300 bytes here, and a watch of the kernel.
MOST_FOLDERS = 50_000
# Bytes of a name apart from its letters, once for each project it may belong to.
KEY_BYTES = 300
# The number of names looked up at a time, to forget those that have a row.
SWEPT = 1000


class LostError(Exception):
    """The later events in the folders are not known."""


class Rows(Protocol):
    """What the catalog knows of the folders."""

    def folders(self) -> dict[Key, tuple[int, int]]:
        """Modification time (nanoseconds) and inode of each folder, as the last scan found it."""

    def row(self, root: int, path: str) -> object:
        """The row of a file, None without one."""


class Journal:
    """Started by :meth:`begin`. One thread at a time may begin or read it."""

    def __init__(self, folders: Folders, rows: Rows) -> None:
        self._folders = folders
        self._rows = rows
        self._inotify: Inotify | None = None
        # Folders by the number of their watch: root and path, for each root that contains the folder. Then the roots'
        # identities.
        self._places: dict[int, dict[int, str]] = {}
        self._identities: list[tuple[int, int]] = []
        self._devices: set[int] = set()
        self._lock = threading.Lock()
        self._names: dict[str, dict[Key, int]] = {}
        self._bytes = 0
        self._numbers = itertools.count()
        # For marks: which journal this is, how many events it took, and whether it may be taking some now.
        self._name = object()
        self._taken = 0
        self._is_reading = False

    def begin(self) -> None:
        """Watch every folder, and note the names that the last scan may not have seen.

        Raises OSError where the system cannot watch all folders, and LostError when they are too many to follow or
        shared.
        """
        self._inotify = Inotify()
        known = self._rows.folders()
        for root, place in enumerate(self._folders.roots):
            if is_shared(place):
                raise LostError("other machines may write there")
            status = os.stat(place)
            self._identities.append((status.st_dev, status.st_ino))
            self._devices.add(status.st_dev)
            for folder, names in self._tree((root, "")):
                if self._folders.folder_state(*folder) != known.get(folder):
                    self._note(key for key in names if self._rows.row(*key) is None)

    @property
    def _watches(self) -> Inotify:
        assert self._inotify is not None, "begin() comes first"  # noqa: S101 - a bug of ours
        return self._inotify

    def read(self) -> None:
        """Note everything that appeared up to now; raises LostError."""
        self._refuse_other_roots()
        self._is_reading = True
        try:
            for event in self._watches.read():
                self._taken += 1
                self._take(event)
        except OSError as error:
            raise LostError(str(error)) from error
        finally:
            self._is_reading = False

    def mark(self) -> Hashable | None:
        """Equal to an earlier one as long as nothing appeared since; None if something may have. Waits for nothing."""
        taken = self._taken
        try:
            self._refuse_other_roots()
        except LostError:
            return None
        is_read = not self._is_reading and self._watches.is_empty()
        # Another thread may have taken events out of the queue, and not have noted them yet.
        return (self._name, taken) if is_read and not self._is_reading and taken == self._taken else None

    def _refuse_other_roots(self) -> None:
        for number, place in enumerate(self._folders.roots):
            try:
                status = os.stat(place)
            except OSError as error:
                raise LostError(f"{place} was removed or renamed") from error
            if (status.st_dev, status.st_ino) != self._identities[number]:
                raise LostError(f"{place} is another folder now")

    def of(self, projects: Iterable[str]) -> list[Noted]:
        """The names noted for these projects."""
        with self._lock:
            return [noted for project in projects for noted in self._names.get(project, {}).items()]

    def forget(self, noted: Iterable[Noted]) -> None:
        """Forget names that have a row or are gone, unless they were noted again."""
        with self._lock:
            for key, number in noted:
                for project in projects_of(key[1].rpartition("/")[2]):
                    names = self._names.get(project, {})
                    if names.get(key) == number:
                        del names[key]
                        self._bytes -= KEY_BYTES + len(key[1])
                        if not names:
                            del self._names[project]

    def sweep(self) -> None:
        """Forget names that have a row by now, some at a time, so that few are kept while there are no questions."""
        with self._lock:
            every = (noted for names in self._names.values() for noted in names.items())
            some = list(itertools.islice(every, SWEPT))
        self.forget([noted for noted in some if self._rows.row(*noted[0]) is not None])

    def close(self) -> None:
        """Stop watching."""
        if self._inotify is not None:
            self._inotify.close()

    def _take(self, event: Event) -> None:
        if event.mask & OVERFLOWED:
            raise LostError("more happened than the kernel remembers")
        places = self._places.get(event.folder, {})
        if not event.name:
            if event.mask & UNMOUNTED or "" in places.values():
                raise LostError("a folder was moved or unmounted")
            if event.mask & IGNORED:
                self._places.pop(event.folder, None)
            return
        name = text_of(event.name)
        if name.startswith("."):
            return
        # A copy, because a folder may be moved into itself by another path to it.
        for root, path in list(places.items()):
            key = (root, f"{path}/{name}" if path else name)
            if event.mask & IS_FOLDER:
                for _, names in self._tree(key):
                    self._note(names)
            else:
                self._note([key])

    def _tree(self, begin: Key) -> Iterator[tuple[Key, list[Key]]]:
        """Every folder from this one down, watched from now on, with the files in it now."""
        pending = [begin]
        while pending:
            root, path = pending.pop()
            place = f"{self._folders.roots[root]}/{native(path)}" if path else str(self._folders.roots[root])
            names: list[Key] = []
            try:
                # Watched before it is listed, so that later names cause an event.
                self._places.setdefault(self._watches.watch(place, itself=not path), {})[root] = path
                if len(self._places) > MOST_FOLDERS:
                    raise LostError("there are more folders than are followed")
                self._refuse_shared(place)
                with os.scandir(place) as entries:
                    for entry in entries:
                        name = text_of(entry.name)
                        if name.startswith("."):
                            continue
                        key = (root, f"{path}/{name}" if path else name)
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(key)
                        else:
                            names.append(key)
            except (FileNotFoundError, NotADirectoryError):
                if not path:
                    raise
                # It moved again; if it stayed below a root, an event tells where.
                continue
            yield (root, path), names

    def _refuse_shared(self, place: str) -> None:
        """Raise LostError for another file system that other machines may write to."""
        device = os.stat(place).st_dev
        if device not in self._devices:
            if is_shared(Path(place)):
                raise LostError("other machines may write there")
            self._devices.add(device)

    def _note(self, keys: Iterable[Key]) -> None:
        of_projects = [(key, projects_of(key[1].rpartition("/")[2])) for key in keys if not key[1].endswith(COMPANIONS)]
        with self._lock:
            for key, projects in of_projects:
                for project in projects:
                    names = self._names.setdefault(project, {})
                    if key not in names:
                        self._bytes += KEY_BYTES + len(key[1])
                    names[key] = next(self._numbers)
        if self._bytes > MOST_BYTES:
            raise LostError("more names appeared than are kept")
