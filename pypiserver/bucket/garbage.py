"""``pypi-server gc``: delete the objects of a bucket that no row of its catalog refers to.

Such orphans are left by uploads that lost a race or were killed, and by files that were replaced or removed while the
store did not answer.

**Invariants:** a young object may be an upload that has no row yet; an old one is deleted only while no process can
give it a row; a catalog that is not complete says nothing about objects without a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from ..backend.upkeep import Orphan
from ..batches import batches
from ..errors import Unavailable
from .catalog import BucketCatalog
from .object_store import StoredObject
from .storage import FILES, SIBLINGS, Bucket, BucketFile, is_path

BATCH = 1000
# Every writer waits while these are deleted: one request to the store.
AT_ONCE = 100


class Garbage:
    """The orphans of a bucket. ``clock`` returns seconds since the epoch."""

    def __init__(self, bucket: Bucket, catalog: BucketCatalog, *, clock: Callable[[], float] = time.time) -> None:
        self._bucket = bucket
        self._catalog = catalog
        self._clock = clock

    def find(self, older_than: float) -> Iterator[Orphan]:
        """Orphans older than ``older_than`` seconds; raises Unavailable if the catalog is not complete."""
        if not self._catalog.is_complete():
            raise Unavailable(
                f"The catalog {self._catalog.connections.place()} was never complete, so it does not say what is "
                "garbage. Name the catalog of the server with --catalog, or run pypi-server reindex first."
            )
        before = (self._clock() - older_than) * 1e9
        strange: list[StoredObject] = []
        orphans = (_orphan(file) for file in self._bucket.walk(strange))
        yield from self._without_row(each for each in orphans if each.modified_ns < before)
        stray = (_stray(each) for each in strange)
        yield from self._without_row(each for each in stray if each is not None and each.modified_ns < before)

    def delete(self, orphans: Iterable[Orphan]) -> Iterator[Orphan]:
        """Delete orphans, and yield those that were deleted: an object that has a row by now stays."""
        for batch in batches(orphans, AT_ONCE):
            gone = set(self._catalog.sweep([each.path for each in batch], self._bucket.remove))
            yield from (each for each in batch if each.path in gone)

    def _without_row(self, candidates: Iterable[Orphan]) -> Iterator[Orphan]:
        for batch in batches(candidates, BATCH):
            known = self._catalog.known([each.path for each in batch])
            yield from (each for each in batch if each.path not in known)


def _orphan(file: BucketFile) -> Orphan:
    sidecars = file.siblings.values()
    latest = max([file.modified_ns, *(each.modified_ns for each in sidecars)])
    return Orphan(file.path, file.size + sum(each.size for each in sidecars), latest)


def _stray(sidecar: StoredObject) -> Orphan | None:
    """The orphan for a sidecar without a file; None for an object that pypiserver did not write."""
    base, _, suffix = sidecar.key.removeprefix(FILES).rpartition(".")
    return Orphan(base, sidecar.size, sidecar.modified_ns) if f".{suffix}" in SIBLINGS and is_path(base) else None
