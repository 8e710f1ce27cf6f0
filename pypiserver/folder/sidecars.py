"""The sidecars of files, as fingerprints that show each change.

**Invariants:** a fingerprint is empty without sidecars, and another one after any of them changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..backend.stored_file import StoredFile
from ..distributions.truncation import COMPANIONS, UNFINISHED
from .partial_files import Key


class Sidecars:
    """The sidecars of each file, as a fingerprint that shows a changed reason or a new signature."""

    def __init__(self, entries: Iterable[StoredFile] = ()) -> None:
        self._parts: dict[Key, list[str]] = {}
        for entry in entries:
            self._note(entry)

    def apart_from(self, entries: Iterable[StoredFile]) -> Iterator[StoredFile]:
        """The entries without the sidecars, which are noted here."""
        for entry in entries:
            if entry.path.endswith(COMPANIONS):
                self._note(entry)
            else:
                yield entry

    def of(self, key: Key) -> str:
        """The fingerprint of this file's sidecars, empty without any."""
        return ";".join(sorted(self._parts[key])) if key in self._parts else ""

    def _note(self, entry: StoredFile) -> None:
        base, _, suffix = entry.path.rpartition(".")
        part = f".{suffix}"
        # A downloader writes to its own all the time; only its existence counts.
        if part not in UNFINISHED:
            part += f":{entry.size}:{entry.mtime_ns}:{entry.inode}:{entry.ctime_ns}"
        self._parts.setdefault((entry.root, base), []).append(part)
