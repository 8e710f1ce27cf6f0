"""Which files the folders contain at this moment, for the question whether a name is absent.

Events and scans come milliseconds or seconds after a name appears.

**Invariants:** a file that is in a folder while the question is asked is found; a folder is listed again only when it
changed; callers that ask while folders are being listed share the next listing, and wait a bounded time; the number of
names in memory is bounded; a larger tree is searched whole by a scan only, which may take its time; in a larger tree a
journal reports the names that appeared, up to this moment, where the system has one.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Collection, Hashable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..backend.mounts import is_shared
from ..backend.stored_file import folder_identity
from ..distributions.filename import normalize, projects_of
from ..native_names import native, text_of
from .following import Following
from .journal import Rows
from .rounds import Rounds
from .safe_open import outage
from .storage import Folders

Key = tuple[int, str]
# No names of larger trees are kept, because listing one takes longer than a request should.
MOST_FOLDERS = 64
MOST_NAMES = 10_000
# Seconds between checks whether a tree became smaller.
LARGE_SECONDS = 60.0
# For this many nanoseconds after its change a folder may change again and look the same (see digests).
TICK_NS = 20_000_000


class _TooLargeError(Exception):
    """There are more names than may be kept."""


class _Listed(NamedTuple):
    """A listed folder: its state then, None when the state proves nothing; names by their normalized form."""

    state: tuple[int, int] | None
    names: list[tuple[str, str]]
    folders: tuple[str, ...]


class Presence:
    """Looks for names in ``folders``; constructing it touches nothing. Without ``rows`` there is no journal."""

    def __init__(self, folders: Folders, rows: Rows | None = None) -> None:
        self._folders = folders
        self._following = Following(folders, rows) if rows is not None else None
        self._listed: dict[Key, _Listed] = {}
        # Rises before the listing becomes another one.
        self._number = 0
        # By device: whether other machines may change its folders.
        self._shared: dict[int, bool] = {}
        self._large_until = 0.0
        # For large trees: each root's listing, and its folders by the normalized form of their names.
        self._roots: dict[int, tuple[_Listed, dict[str, list[str]]]] = {}
        self._large_roots: dict[int, float] = {}
        self._listing = Rounds(self._list_all)
        self._root_listing = Rounds(self._list_roots)

    def holding(self, projects: Collection[str], *, is_thorough: bool = False) -> list[Key] | None:
        """Root and path of every file that may belong to one of these projects, by its name.

        In a tree that is too large, these are the files that had no row in the catalog when the journal noted them;
        None says that all others have one. Where there is no journal, only the roots, and the folders in them that have
        a project's name, are searched: then there may be more files. ``is_thorough`` searches a tree of any size, once.
        Raises Unavailable when a root cannot be read, or reading the folders takes long.
        """
        listed = self._listing.ask() if time.monotonic() >= self._large_until else None
        if listed is not None:
            matching = (key for folder, each in listed.items() for key in _of(projects, folder, each))
            return [key for key in matching if _is_distribution(key[1])]
        if not is_thorough:
            told = self._following.told(projects, self.is_named) if self._following is not None else None
            if told is not None:
                return told or None
            # Most users with many folders have one for each project in the root.
            return [key for key in self._likely(projects) if _is_distribution(key[1])] or None
        found = (
            (key[0], _below(key[1], name))
            for key, listed in self._walk({}, limit=None)
            for normal, name in listed.names
            if any(normal[:at] in projects for at, letter in enumerate(normal) if letter == "-")
        )
        return [key for key in found if _is_distribution(key[1])]

    def mark(self) -> Hashable | None:
        """Equal to an earlier one as long as no name appeared since; None where only :meth:`holding` tells.

        It takes a ``stat`` for each folder of this machine, and waits for nothing.
        """
        number, listed = self._number, self._listed
        if not listed:
            return self._following.mark() if self._following is not None else None
        is_same = all(each.state is not None and self._state(key) == each.state for key, each in listed.items())
        return number if is_same and number == self._number else None

    def _state(self, key: Key) -> tuple[int, int] | None:
        """The state of a folder, None where that proves nothing."""
        try:
            status = os.stat(f"{self._folders.roots[key[0]]}/{native(key[1])}")
        except OSError:
            return None
        return None if self._shared.get(status.st_dev, True) else (status.st_mtime_ns, status.st_ino)

    def is_named(self, key: Key) -> bool:
        """Whether any file has this name now."""
        return os.path.lexists(f"{self._folders.roots[key[0]]}/{native(key[1])}")

    def follow(self) -> None:
        """Read the journal of a large tree now and then, so that the kernel's queue stays short."""
        if self._following is not None:
            self._following.follow()

    def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.close()

    def _list_all(self) -> dict[Key, _Listed] | None:
        """All folders as they are now; None when they are too many."""
        known, self._listed = self._listed, {}
        try:
            listed = dict(self._walk(known, limit=MOST_NAMES))
        except _TooLargeError:
            self._large_until = time.monotonic() + LARGE_SECONDS
            return None
        if listed.keys() != known.keys() or any(listed[key] is not known[key] for key in listed):
            self._number += 1
        self._listed = listed
        return listed

    def _list_roots(self) -> dict[int, tuple[_Listed, dict[str, list[str]]]]:
        """The roots as they are now, without those that are too large, and their folders by normalized name."""
        now = time.monotonic()
        known, roots = self._roots, {}
        for root in range(len(self._folders.roots)):
            if now < self._large_roots.get(root, 0.0):
                continue
            before, named = known.get(root, (None, {}))
            try:
                listed = self._look((root, ""), before, MOST_NAMES)
            except _TooLargeError:
                self._large_roots[root] = now + LARGE_SECONDS
                continue
            if listed is not before:
                named = {}
                for each in listed.folders:
                    named.setdefault(str(normalize(each)), []).append(each)
            roots[root] = listed, named
        self._roots = roots
        return roots

    def _likely(self, projects: Collection[str]) -> Iterator[Key]:
        """Files in the roots, and in those of their folders that have a project's name."""
        for root, (listed, named) in self._root_listing.ask().items():
            yield from _of(projects, (root, ""), listed)
            begin = [(root, each) for project in projects for each in named.get(project, ())]
            try:
                for key, below in self._walk({}, limit=MOST_NAMES, begin=begin):
                    yield from _of(projects, key, below)
            except _TooLargeError:
                self._large_roots[root] = time.monotonic() + LARGE_SECONDS

    def _walk(
        self, known: dict[Key, _Listed], *, limit: int | None, begin: Iterable[Key] | None = None
    ) -> Iterator[tuple[Key, _Listed]]:
        """Every folder, as it is now; raises _TooLargeError at more than ``limit`` names, or too many folders."""
        pending = [(root, "") for root in range(len(self._folders.roots))] if begin is None else list(begin)
        count = folders = 0
        while pending:
            key = pending.pop()
            listed = self._look(key, known.get(key), None if limit is None else limit - count)
            count += len(listed.names)
            folders += 1
            if limit is not None and folders + len(pending) + len(listed.folders) > MOST_FOLDERS:
                raise _TooLargeError
            pending += [(key[0], each) for each in listed.folders]
            yield key, listed

    def _look(self, key: Key, known: _Listed | None, room: int | None) -> _Listed:
        root, path = key
        place = f"{self._folders.roots[root]}/{native(path)}"
        try:
            # Opened, because an NFS client then queries its server.
            with os.scandir(place) as entries:
                status = os.stat(place)
                state = (status.st_mtime_ns, status.st_ino)
                if known is not None and known.state == state:
                    return known
                if status.st_dev not in self._shared:
                    self._shared[status.st_dev] = is_shared(Path(place))
                return self._list(path, status, entries, room)
        except OSError as error:
            if not path:
                raise outage(self._folders.roots[root], error) from error
            # The folder is gone, or the scan finds that it cannot be read, and draws the conclusions.
            return _Listed(None, [], ())

    def _list(
        self, path: str, status: os.stat_result, entries: Iterable[os.DirEntry[str]], room: int | None
    ) -> _Listed:
        names: list[tuple[str, str]] = []
        folders: list[str] = []
        state = (status.st_mtime_ns, status.st_ino)
        for entry in entries:
            name = text_of(entry.name)
            if name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(_below(path, name))
            else:
                names.append((normalize(name), name))
            if room is not None and len(names) + len(folders) > room:
                raise _TooLargeError
        names.sort()
        # FUSE caches what it knows of a folder for a second.
        is_told = folder_identity(status)[1] != 0 and time.time_ns() - state[0] > TICK_NS
        return _Listed(state if is_told else None, names, tuple(folders))


def _of(projects: Iterable[str], key: Key, listed: _Listed) -> Iterator[Key]:
    """The files in a folder whose names begin with a project's name."""
    for project in projects:
        at = bisect_left(listed.names, (f"{project}-", ""))
        while at < len(listed.names) and listed.names[at][0].startswith(f"{project}-"):
            yield key[0], _below(key[1], listed.names[at][1])
            at += 1


def _is_distribution(path: str) -> bool:
    return bool(projects_of(path.rpartition("/")[2]))


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
