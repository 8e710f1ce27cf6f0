"""Claims on names in the ``.status`` folders of roots; see :mod:`backend.claims`.

**Invariants:** a claim counts from the moment its file has its name, in every process; a claim is written to the folder
that the last file was in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from packaging.utils import NormalizedName

from ..backend.claims import claim_in, is_private, text_of_claim
from ..backend.name_lock import claimed
from ..backend.os_calls import OPERATIONS, refusal
from ..catalog import Catalog
from ..catalog.recovery import RecoveringCatalog
from ..distributions.filename import normalize
from ..errors import Forbidden, Unavailable
from ..native_names import native
from .atomic import publish_bytes
from .safe_open import NOT_THERE, held_folder, opened_folder, read_existing, read_plain
from .storage import Folders

FOLDER = ".status"
MAX_TEXT = 4096


class FolderClaims:
    """The claims in ``folders``; ``catalog`` knows those under other spellings, once it is asked (``is_serving``)."""

    def __init__(self, folders: Folders, queries: RecoveringCatalog, catalog: Catalog, *, is_serving: bool) -> None:
        self._folders = folders
        self._query = queries.query
        self._catalog = catalog
        self._is_serving = is_serving

    def find(self, project: NormalizedName) -> str:
        """Why the name is ours now, '' if it is not."""
        texts = [_read(root, project) for root in self._folders.roots]
        if found := next((found for text in texts if text and (found := claim_in(text))), ""):
            return found
        if not self._is_serving or all(text is None for text in texts):
            return ""
        # A file that was written by hand may have another spelling of the name.
        return self._query(lambda: self._catalog.claim_of(project))

    def all(self) -> dict[NormalizedName, str]:
        """The reason of every claim made for a deleted project."""
        self._folders.check()
        texts = self._folders.statuses()
        return {normalize(name): claim_in(text) for name, text in texts.items() if is_private(text)}

    def claim(self, project: NormalizedName, reason: str, *, root: int = 0) -> bool:
        """Write the file, unless a status claims the name already."""
        if is_claimed(self._folders, project):
            return False
        place = self._folders.roots[root]
        try:
            with held_folder(place, FOLDER, make=True) as folder:
                publish_bytes(folder / native(project), text_of_claim(reason), overwrite=True, operations=OPERATIONS)
        except OSError as error:
            raise refusal(error, place / FOLDER) from error
        return True

    def release(self, project: NormalizedName) -> bool:
        """Delete the files that say ``private``, in any spelling of the name."""
        found = False
        for root in self._folders.roots:
            try:
                with held_folder(root, FOLDER) as folder:
                    for path in list(folder.iterdir()):
                        if normalize(path.name) == project and is_private(_text(read_plain(path, MAX_TEXT) or b"")):
                            path.unlink(missing_ok=True)
                            found = True
                if found:
                    with contextlib.suppress(OSError):
                        # It stays if it has other files.
                        (root / FOLDER).rmdir()
            except OSError as error:
                if error.errno not in NOT_THERE:
                    raise refusal(error, root / FOLDER) from error
        return found

    def deleting(self, project: NormalizedName) -> AbstractContextManager[None]:
        """Lock the project's deletions on this host; a folder that takes no lock takes no uploads either."""
        return self._locked(project)

    @contextlib.contextmanager
    def _locked(self, project: NormalizedName) -> Iterator[None]:
        with contextlib.ExitStack() as held:
            with contextlib.suppress(Forbidden, Unavailable, OSError):
                held.enter_context(claimed(self._folders.roots[0] / native(f"{project} deleting"), is_needed=False))
            yield


def is_claimed(folders: Folders, project: NormalizedName) -> str:
    """Why a file of this name claims it, '' if none does; raises Unavailable."""
    return next((found for root in folders.roots if (found := claim_in(_read(root, project) or ""))), "")


def _read(root: Path, project: NormalizedName) -> str | None:
    """The text of a project's status file, '' if it does not exist, None if there is not even the folder.

    Raises Unavailable if it cannot be read.
    """
    name = native(project)
    try:
        with opened_folder(f"{root}/{FOLDER}", is_root=False) as folder:
            if isinstance(folder, int):
                return _text(read_existing(name, MAX_TEXT, folder=folder) or b"")
            return _text(read_existing(f"{folder}/{name}", MAX_TEXT) or b"")
    except OSError as error:
        if error.errno in NOT_THERE:
            return None
        raise Unavailable(f"{root / FOLDER / project} cannot be read ({error.strerror or error}).") from error


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
