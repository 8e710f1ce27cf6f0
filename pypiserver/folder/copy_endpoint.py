"""A folder as source or destination of ``pypi-server copy``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..backend.copy_endpoint import Item, take
from ..backend.hashing import sha256_of_stream
from ..backend.stored_file import ScanResult, StoredFile, sidecar
from ..distributions import filename as distfile
from ..distributions import metadata
from ..errors import ConfigError, Conflict, InvalidFilename
from .storage import Folders


class FolderEndpoint:
    """A folder with all files below it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders = Folders([root])

    # -- as a source ---------------------------------------------------------------------------------------------

    def items(self, skip: Callable[[str, str], None]) -> Iterator[Item]:
        """Every file, in the order in which the first file of a name is served."""
        scan = ScanResult()
        entries = sorted(self._folders.walk(scan))
        for _, path, reason in scan.skipped:
            skip(path, reason)
        sidecars = {entry.path for entry in entries if entry.path.endswith(distfile.SIDECARS)}
        for entry in entries:
            if entry.path in sidecars:
                continue
            try:
                dist = distfile.parse_filename(entry.path.rpartition("/")[2])
            except InvalidFilename as error:
                skip(entry.path, str(error))
                continue
            suffixes = [suffix for suffix in distfile.SIDECARS if sidecar(entry.path, suffix) in sidecars]
            yield self._item(entry, dist, suffixes)

    def _item(self, entry: StoredFile, dist: distfile.FilenameParts, suffixes: list[str]) -> Item:
        def read(path: str) -> bytes:
            with self._folders.open(0, path)[0] as stream:
                return stream.read()

        return Item(
            path=entry.path,
            place=entry.path,
            dist=dist,
            size=entry.size,
            uploaded_ns=entry.mtime_ns,
            sha256="",
            sidecars=lambda: {suffix: read(sidecar(entry.path, suffix)) for suffix in suffixes},
            open=lambda: self._folders.open(0, entry.path)[0],
        )

    def statuses(self) -> Mapping[str, str]:
        """The text of every ``.status/<project>``."""
        return self._folders.statuses()

    # -- as a destination ----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folder if it is missing."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise ConfigError(
                f"{str(self._root)!r} is not a folder; name the folder to copy to.", kind="no-folder", value=self._root
            ) from None
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(
                f"The folder {str(self._root)!r} cannot be made ({why}); name another one.",
                kind="unwritable",
                value=self._root,
            ) from error
        self._folders.check()

    def is_there(self, item: Item) -> bool:
        """Whether the destination has these bytes; if so, its time and its sidecars are corrected."""
        entry = self._folders.stat(0, item.place)
        if entry is None:
            return False
        wanted = (item.sha256 or sha256_of_stream(item.open())) if entry.size == item.size else ""
        if not wanted or sha256_of_stream(self._folders.open(0, item.place)[0]) != wanted:
            raise Conflict(f"{item.place} is in {self._root} with other bytes; it was left as it is.")
        for suffix, data in item.sidecars().items():
            if suffix in distfile.SIDECARS:
                self._folders.write_sidecar(0, item.place, suffix, data, overwrite=False)
        # Setting an equal time is still a change, after which a server would read the file again.
        if entry.mtime_ns != item.uploaded_ns:
            self._set_time(item)
        return True

    def store(self, item: Item) -> None:
        """Write the file under a hidden name, and rename it once it is whole."""
        folder, _, filename = item.place.rpartition("/")
        self._folders.make(folder)
        staged = self._folders.stage(folder)
        try:
            take(item, staged.write)
            with staged.reader() as stream:
                metadata.read_metadata(stream, item.dist)
            sidecars = {suffix: data for suffix, data in item.sidecars().items() if suffix in distfile.SIDECARS}
            staged.publish(filename, overwrite=False, sidecars=sidecars)
        finally:
            staged.discard()
        self._set_time(item)

    def _set_time(self, item: Item) -> None:
        self._folders.set_time(0, item.place, item.uploaded_ns)

    def set_status(self, project: str, text: str) -> None:
        """Write ``.status/<project>``, unless it exists."""
        path = self._root / ".status" / project
        path.parent.mkdir(exist_ok=True)
        # One write, so that every reader sees all of it.
        with contextlib.suppress(FileExistsError), path.open("xb", buffering=0) as file:
            file.write(text.encode("utf-8", "surrogateescape"))
