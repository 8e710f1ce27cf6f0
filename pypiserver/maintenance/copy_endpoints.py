"""The two ends of ``pypi-server copy``: a folder, and a bucket."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from ..backend.digester import BLOCK
from ..backend.stored_file import Entry, Scan, sidecar
from ..bucket.storage import METADATA, STATUSES, UPLOADED, Bucket, BucketFile, format_time, path_of, sha256_of
from ..distributions import filename as distfile
from ..distributions import metadata
from ..errors import ConfigError, Conflict, InvalidFilename, Unavailable
from ..folder.storage import Folders
from .copy import Item, take

# What people put beside a file; a bucket has more.
KEPT = (".asc", ".yanked", ".provenance")


class FolderEnd:
    """A folder with what is below it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders = Folders([root])

    # -- as a source ---------------------------------------------------------------------------------------------

    def items(self, skip: Callable[[str, str], None]) -> Iterator[Item]:
        """Every file, in the order in which the first of a name is served."""
        scan = Scan()
        entries = sorted(self._folders.walk(scan))
        for _, path, reason in scan.skipped:
            skip(path, reason)
        beside = {entry.path for entry in entries if entry.path.endswith(distfile.SIDECARS)}
        for entry in entries:
            if entry.path in beside:
                continue
            try:
                dist = distfile.parse_filename(entry.path.rpartition("/")[2])
            except InvalidFilename as error:
                skip(entry.path, str(error))
                continue
            suffixes = [suffix for suffix in KEPT if sidecar(entry.path, suffix) in beside]
            yield self._item(entry, dist, suffixes)

    def _item(self, entry: Entry, dist: distfile.DistFile, suffixes: list[str]) -> Item:
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
            beside=lambda: {suffix: read(sidecar(entry.path, suffix)) for suffix in suffixes},
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
        """Whether these bytes stand at the place; its time, and what belongs beside it, are mended then."""
        entry = self._folders.stat(0, item.place)
        if entry is None:
            return False
        wanted = (item.sha256 or _sha256(item.open())) if entry.size == item.size else ""
        if not wanted or _sha256(self._folders.open(0, item.place)[0]) != wanted:
            raise Conflict(f"{item.place} is in {self._root} with other bytes; it was left as it is.")
        for suffix, data in item.beside().items():
            if suffix in KEPT:
                self._folders.write_sidecar(0, item.place, suffix, data, overwrite=False)
        # Setting the time it has is a change all the same, after which a server would read the file again.
        if entry.mtime_ns != item.uploaded_ns:
            self._set_time(item)
        return True

    def store(self, item: Item) -> None:
        """Write the file to a hidden one, and give that its name once it is whole."""
        folder, _, filename = item.place.rpartition("/")
        self._folders.make(folder)
        staged = self._folders.stage(folder)
        try:
            take(item, staged.write)
            with staged.reader() as stream:
                metadata.read_metadata(stream, item.dist)
            beside = {suffix: data for suffix, data in item.beside().items() if suffix in KEPT}
            staged.publish(filename, overwrite=False, sidecars=beside)
        finally:
            staged.discard()
        self._set_time(item)

    def _set_time(self, item: Item) -> None:
        self._folders.set_time(0, item.place, item.uploaded_ns)

    def set_status(self, project: str, text: str) -> None:
        """Write ``.status/<project>``, unless it is there."""
        path = self._root / ".status" / project
        path.parent.mkdir(exist_ok=True)
        # One write, so that whoever reads it sees all of it.
        with contextlib.suppress(FileExistsError), path.open("xb", buffering=0) as file:
            file.write(text.encode("utf-8", "surrogateescape"))


class BucketEnd:
    """A bucket, or a part of one."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._paths: dict[str, str] = {}

    # -- as a source ---------------------------------------------------------------------------------------------

    def items(self, skip: Callable[[str, str], None]) -> Iterator[Item]:
        """Every file; of several with one name the one that came first, as nobody here knows which is served."""
        first: dict[str, tuple[int, str]] = {}
        for file in self._bucket.walk([]):
            came = (file.modified_ns, file.path)
            first[file.filename] = min(first.get(file.filename, came), came)
        for file in self._bucket.walk([]):
            if first.get(file.filename, (0, file.path))[1] != file.path:
                skip(file.path, f"another upload of its name came first: {first[file.filename][1]}")
                continue
            try:
                dist = distfile.parse_filename(file.filename)
            except InvalidFilename as error:
                skip(file.path, str(error))
                continue
            yield self._item(file, dist)

    def _item(self, file: BucketFile, dist: distfile.DistFile) -> Item:
        def beside() -> dict[str, bytes]:
            wanted = [suffix for suffix in (*KEPT, METADATA) if suffix in file.siblings]
            found = {suffix: self._bucket.read_beside(file.path, suffix) for suffix in wanted}
            return {suffix: data for suffix, data in found.items() if data is not None}

        return Item(
            path=file.path,
            place=file.filename,
            dist=dist,
            size=file.size,
            uploaded_ns=self._bucket.uploaded_ns(file),
            sha256=file.sha256,
            beside=beside,
            open=lambda: self._bucket.open(0, file.path)[0],
        )

    def statuses(self) -> Mapping[str, str]:
        """The text of every ``status/<project>``."""
        return self._bucket.statuses()

    # -- as a destination ----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """List what is there: one listing costs less than to ask for each file."""
        self._paths = {file.filename: file.path for file in self._bucket.walk([])}

    def is_there(self, item: Item) -> bool:
        """Whether a file of the name is there, with these bytes as its key says."""
        path = self._paths.get(item.dist.filename)
        if path is None:
            return False
        if sha256_of(path) != (item.sha256 or _sha256(item.open())):
            raise Conflict(
                f"{item.dist.filename} is in {self._bucket.roots[0]} with other bytes; it was left as it is."
            )
        return True

    def store(self, item: Item) -> None:
        """Read the file to the local disk, put it into the bucket, and read it back from there."""
        spooled = self._bucket.stage()
        try:
            sha256 = take(item, spooled.write)
            path = path_of(sha256, item.dist.filename)
            beside = {**item.beside(), UPLOADED: format_time(item.uploaded_ns)}
            with spooled.reader() as stream:
                raw = metadata.read_metadata(stream, item.dist)
            beside |= {} if raw is None else {METADATA: raw}
            with spooled.reader() as stream:
                self._bucket.put(path, stream, beside)
        finally:
            spooled.discard()
        if _sha256(self._bucket.open(0, path)[0]) != sha256:
            raise Unavailable(f"{item.dist.filename} came back from {self._bucket.roots[0]} with other bytes.")

    def set_status(self, project: str, text: str) -> None:
        """Put ``status/<project>``, unless it is there."""
        if self._bucket.objects.head(STATUSES + project) is None:
            self._bucket.objects.put(STATUSES + project, text.encode())


def _sha256(stream: BinaryIO) -> str:
    sha256 = hashlib.sha256()
    with stream:
        while block := stream.read(BLOCK):
            sha256.update(block)
    return sha256.hexdigest()
