"""Whether the root folders are still those that were served.

The rule to keep: a root that became another, empty folder was unmounted or replaced, and that is an outage, not an
empty index.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from .errors import Unavailable
from .storage import Folders
from .storage.entries import folder_identity


class Roots:
    """Remembers device and inode of each root, as of the last scan."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._known: dict[int, tuple[int, int]] = {}

    def note(self) -> None:
        """Remember which folders the roots are when a process begins: another, empty one later is an outage.

        The first scan would come too late, because a catalog that is current is served before it.
        """
        for root, path in enumerate(self._folders.roots):
            with contextlib.suppress(OSError):
                status = path.stat()
                self._known.setdefault(root, folder_identity(status))

    def have_changed(self) -> bool:
        """Whether a root is gone, or is not the folder any more that was there at the last scan."""
        try:
            return any(
                identity != self._known.get(root, identity)
                for root, identity in enumerate(folder_identity(path.stat()) for path in self._folders.roots)
            )
        except OSError:
            return True

    def identities(self) -> list[tuple[int, int]]:
        """Device and inode of each root; raises Unavailable when one is not there."""
        self._folders.check()
        try:
            return [folder_identity(path.stat()) for path in self._folders.roots]
        except OSError as error:
            raise Unavailable(f"A folder went away while it was looked at: {error}. Try again in a moment.") from error

    def refuse_others(self, roots: Iterable[int], known: Mapping[tuple[int, str], tuple[int, int]]) -> None:
        """Raise Unavailable when one of the roots is not the folder that the catalog's ``known`` folders tell of."""
        for root in roots:
            state = self._folders.folder_state(root, "")
            if (root, "") in known and (state is None or state[1] != known[root, ""][1]):
                raise Unavailable(
                    f"The folder {self._folders.roots[root]} was replaced a moment ago. Try again in a moment."
                )

    def refuse_lost(self, known: set[int], seen: set[int], began_with: list[tuple[int, int]]) -> None:
        """Raise Unavailable when a root with ``known`` files became another folder in which none was ``seen``.

        ``began_with`` is what the roots were before they were read: one that was replaced meanwhile tells nothing.
        """
        for root, identity in enumerate(self.identities()):
            path = self._folders.roots[root]
            if identity != began_with[root]:
                raise Unavailable(f"The folder {path} was replaced while it was read. Try again in a moment.")
            if identity != self._known.get(root, identity) and root in known and root not in seen:
                raise Unavailable(
                    f"The folder {path} is no longer the one that was served, and it is empty. If it is a mount, "
                    "mount it again; if it is meant to be empty, restart the server."
                )
            self._known[root] = identity
