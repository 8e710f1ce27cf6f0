"""Whether the root folders are still those that were served.

**Invariants:** a root, or a mount below one, that became a different, empty folder was unmounted or replaced, which is
an outage, not an empty index.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from ..backend.mounts import is_shared
from ..backend.stored_file import folder_identity
from ..errors import Unavailable
from ..native_names import native
from .safe_open import NOT_THERE
from .storage import Folders


class RootGuard:
    """Remembers device and inode of each root, and of each mount below them, as of the last scan."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._known: dict[int, tuple[int, int]] = {}
        self._mounts: dict[tuple[int, str], tuple[int, int]] = {}

    def note(self) -> None:
        """Remember which folders the roots are when a process starts: a different, empty one later is an outage.

        The first scan would be too late, because a catalog that is current is served before it.
        """
        for root, path in enumerate(self._folders.roots):
            with contextlib.suppress(OSError):
                status = path.stat()
                self._known.setdefault(root, folder_identity(status))

    def have_changed(self) -> bool:
        """Whether a root, or a mount below one, is not the same folder as at the last scan."""
        try:
            return any(
                identity != self._known.get(root, identity)
                for root, identity in enumerate(folder_identity(path.stat()) for path in self._folders.roots)
            ) or any(self._is_other(key) for key in self._mounts)
        except OSError:
            return True

    def have_shared_mounts(self) -> bool:
        """Whether other machines may change a mount below a root, which causes no event here."""
        return any(is_shared(self._folders.roots[root] / native(path)) for root, path in self._mounts)

    def _is_other(self, mount: tuple[int, str]) -> bool:
        """Whether the mount is no longer there; one that cannot be looked at counts as there."""
        root, path = mount
        try:
            return folder_identity((self._folders.roots[root] / native(path)).stat()) != self._mounts[mount]
        except OSError as error:
            return error.errno in NOT_THERE

    def identities(self) -> list[tuple[int, int]]:
        """Device and inode of each root; raises Unavailable when one is missing."""
        self._folders.check()
        try:
            return [folder_identity(path.stat()) for path in self._folders.roots]
        except OSError as error:
            raise Unavailable(
                f"A folder was removed or unmounted while it was read: {error}. Try again in a moment."
            ) from error

    def refuse_others(
        self, files: Collection[tuple[int, str]], known: Mapping[tuple[int, str], tuple[int, int]]
    ) -> None:
        """Raise Unavailable when a file's root is another folder now, or its mount is gone.

        ``known`` are the folders in the catalog, with modification time and inode.
        """
        for root in {root for root, _ in files}:
            state = self._folders.folder_state(root, "")
            if (root, "") in known and (state is None or state[1] != known[root, ""][1]):
                raise _replaced(self._folders.roots[root])
        for root, path in self._mounts:
            if any(key[0] == root and key[1].startswith(f"{path}/") for key in files) and self._is_other((root, path)):
                raise _replaced(self._folders.roots[root] / path)

    def refuse_unmounted(
        self, mounts: Mapping[tuple[int, str], tuple[int, int]], has_files_below: Callable[[int, str], bool]
    ) -> None:
        """Raise Unavailable when a mount with files became an empty folder, or none; ``mounts`` are those of a scan."""
        for (root, path), identity in self._mounts.items():
            is_same = mounts.get((root, path)) == identity
            if not is_same and has_files_below(root, path) and self._folders.is_empty(root, path):
                raise Unavailable(
                    f"The folder {path} in {self._folders.roots[root]} was a mount, and nothing is mounted there. "
                    "Mount it again; if it is meant to be gone, restart the server.",
                    kind="unmounted",
                )
        self._mounts = dict(mounts)

    def refuse_lost(self, known: set[int], seen: set[int], began_with: list[tuple[int, int]]) -> None:
        """Raise Unavailable when a root with ``known`` files became another folder in which none was ``seen``.

        ``began_with`` has the roots' identities before they were read: a root replaced meanwhile proves nothing.
        """
        for root, identity in enumerate(self.identities()):
            path = self._folders.roots[root]
            if identity != began_with[root]:
                raise Unavailable(
                    f"The folder {path} was replaced while it was read. Try again in a moment.", kind="replaced"
                )
            if identity != self._known.get(root, identity) and root in known and root not in seen:
                raise Unavailable(
                    f"The folder {path} is no longer the one that was served, and it is empty. If it is a mount, "
                    "mount it again; if it is meant to be empty, restart the server.",
                    kind="lost",
                )
            self._known[root] = identity


def _replaced(folder: Path) -> Unavailable:
    return Unavailable(f"The folder {folder} was replaced a moment ago. Try again in a moment.", kind="replaced")
