"""What an operator's commands see of a bucket: the files in its catalog, and no trash."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from packaging.utils import NormalizedName

from ..distributions.filename import FilenameParts
from ..errors import ConfigError, Unavailable
from ..model import File
from .catalog import BucketCatalog
from .storage import Bucket


class BucketInventory:
    """The files of ``bucket`` that have a row in ``catalog``, which decides who owns a name."""

    def __init__(self, bucket: Bucket, catalog: BucketCatalog) -> None:
        self._bucket = bucket
        self._catalog = catalog

    def check(self) -> None:
        """Raise Unavailable unless the catalog is complete."""
        if not self._catalog.is_complete():
            raise Unavailable(
                f"The catalog {self._catalog.connections.place()} does not know {self._bucket.roots[0]} yet. Name the "
                "catalog of the server with --catalog, or run pypi-server reindex first."
            )

    def projects(self) -> list[NormalizedName]:
        """The projects that have a file."""
        return [name for name, _, _ in self._catalog.projects()]

    def files(self, project: NormalizedName) -> list[File]:
        """Every file of a project."""
        return self._catalog.rows_of(project)

    def label(self, file: File) -> str:
        """The file name: the path, which is made from the digest, tells an operator nothing."""
        return file.filename

    def open(self, file: File) -> BinaryIO:
        """The bytes of a file."""
        return self._bucket.open_as(file)

    def local_files(self) -> Iterable[tuple[FilenameParts, Path]]:
        """Raise ConfigError: no file of a bucket is on this disk."""
        raise ConfigError(
            "-U looks at folders; copy the bucket into one first: pypi-server copy URL DIR.",
            kind="contradiction",
            setting="storage",
        )


class NoTrash:
    """Takes the place of a trash, which a bucket does not have."""

    exists = False

    def ensure(self) -> None:
        """Raise ConfigError."""
        raise ConfigError(
            "A bucket has no trash: what is deleted is gone. Say --yes --purge if that is meant.",
            kind="contradiction",
            setting="purge",
        )

    def move(self, file: File) -> None:
        """Raise ConfigError."""
        self.ensure()

    def paths(self) -> list[tuple[int, str]]:
        """Raise ConfigError."""
        raise ConfigError(
            "A bucket has no trash. Upload the file again; or, where the store keeps versions of objects, bring the "
            "object back with the store's own tools and run pypi-server reindex.",
            kind="no-trash",
        )

    def open(self, root: int, path: str) -> BinaryIO:
        """Raise FileNotFoundError."""
        raise FileNotFoundError(path)

    def restore(self, root: int, path: str) -> None:
        """Raise ConfigError."""
        self.paths()
