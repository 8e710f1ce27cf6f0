"""What an operator's commands see of folders without a catalog: the files, and the trash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from packaging.utils import NormalizedName

from ..backend.stored_file import StoredFile
from ..distributions import filename, metadata
from ..distributions.filename import FilenameParts
from ..errors import InvalidFilename, PypiServerError
from ..model import File
from ..native_names import native
from .storage import Folders
from .trash import FOLDER


class FolderInventory:
    """Every distribution file in ``folders``, straight from storage."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def check(self) -> None:
        """Raise Unavailable unless every folder can be read."""
        self._folders.check()

    def projects(self) -> set[NormalizedName]:
        """The projects that have a file."""
        return {dist.project for _, dist in self._distributions()}

    def files(self, project: NormalizedName) -> list[File]:
        """Every file of a project, by root and path; the reason of a yank is not read."""
        entries = self._folders.scan().entries
        marks = {(entry.root, entry.path) for entry in entries if entry.path.endswith(".yanked")}
        return [
            _file(entry, dist, yanked="" if (entry.root, f"{entry.path}.yanked") in marks else None)
            for entry, dist in sorted(self._distributions(entries))
            if dist.project == project
        ]

    def label(self, file: File) -> str:
        """The path of a file below its root."""
        return file.path

    def open(self, file: File) -> BinaryIO:
        """The bytes of a file; raises NotFound and Unavailable."""
        return self._folders.open(file.root, file.path)[0]

    def local_files(self) -> Iterator[tuple[FilenameParts, Path]]:
        """Every file, with the folder it is in."""
        for entry, dist in self._distributions():
            yield dist, (self._folders.roots[entry.root] / native(entry.path)).parent

    def _distributions(self, entries: Iterable[StoredFile] | None = None) -> Iterator[tuple[StoredFile, FilenameParts]]:
        for entry in self._folders.scan().entries if entries is None else entries:
            if not entry.path.endswith(filename.SIDECARS):
                try:
                    dist = filename.parse_filename(entry.path.rpartition("/")[2])
                except InvalidFilename:
                    continue
                yield entry, self._decided(entry, dist) if dist.others else dist

    def _decided(self, entry: StoredFile, dist: FilenameParts) -> FilenameParts:
        """The parts of a filename as the file's metadata decides; as is usual when the metadata cannot be read."""
        try:
            with self._folders.open(entry.root, entry.path)[0] as stream:
                return metadata.decided(dist, metadata.read_metadata(stream, dist))
        except (PypiServerError, OSError):
            return dist


class FolderTrash:
    """The hidden folder ``.trash`` of each of ``folders``."""

    exists = True

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def ensure(self) -> None:
        """Return: every folder can have a trash."""

    def move(self, file: File) -> None:
        """Move a file and its sidecars here."""
        self._folders.trash(file.root, file.path)

    def paths(self) -> list[tuple[int, str]]:
        """Root and path of every file that is here; the path is the one it had below the root."""
        return self._folders.list_trash()

    def open(self, root: int, path: str) -> BinaryIO:
        """The bytes of a file that is here; raises OSError."""
        return (self._folders.roots[root] / FOLDER / path).open("rb")

    def restore(self, root: int, path: str) -> None:
        """Move a file and its sidecars back; raises Conflict where another file has its name."""
        self._folders.restore(root, path)


def _file(entry: StoredFile, dist: FilenameParts, *, yanked: str | None) -> File:
    return File(
        filename=dist.filename,
        project=dist.project,
        name=dist.name,
        version=dist.version,
        kind=dist.kind,
        path=entry.path,
        root=entry.root,
        size=entry.size,
        mtime_ns=entry.mtime_ns,
        inode=entry.inode,
        sha256="",
        yanked=yanked,
        ctime_ns=entry.ctime_ns,
    )
