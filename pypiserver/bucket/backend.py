"""What stands in for folders, sync and watch where packages are in a bucket; imported only there."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass

from ..backend.writing import CatalogAccess
from ..catalog.postgres.leader_lock import Lease
from ..catalog.sqlite.leader_lock import ScanLock
from .catalog import ExclusiveCatalog
from .digester import BucketDigester
from .indexer import BucketWatch, Unwatched
from .object_store import require
from .ownership import SoleUse
from .scanner import Reindexer
from .storage import Bucket
from .writer import BucketWriter


@dataclass(frozen=True, slots=True)
class BucketParts:
    """A bucket and its catalog, with what keeps the one like the other."""

    bucket: Bucket
    catalog: ExclusiveCatalog
    digester: BucketDigester
    reindexer: Reindexer
    watch: BucketWatch | Unwatched

    def writer(self, access: CatalogAccess) -> BucketWriter:
        """Who changes bucket and catalog together."""
        return BucketWriter(access, self.catalog, self.bucket)


def build_parts(
    bucket: Bucket,
    catalog: ExclusiveCatalog,
    lock: ScanLock | Lease,
    *,
    hash_algo: str | None,
    overwrite: bool,
    is_serving: bool,
) -> BucketParts:
    """The parts for a bucket; starts nothing, and asks nothing of it. Raises ConfigError."""
    require()
    digester = BucketDigester(bucket, catalog, hash_algo=hash_algo)
    reindexer = Reindexer(bucket, catalog, digester, overwrite=overwrite)
    watch = (
        BucketWatch(reindexer, digester, catalog, lock=lock, sole_use=_sole_use(bucket, catalog, lock))
        if is_serving
        else Unwatched()
    )
    return BucketParts(bucket, catalog, digester, reindexer, watch)


def _sole_use(bucket: Bucket, catalog: ExclusiveCatalog, lock: ScanLock | Lease) -> SoleUse:
    """The claim of this catalog to the bucket: a file's is one of many, a database's is everybody's."""
    if isinstance(lock, Lease):
        return SoleUse(bucket.objects, "servers with a catalog in PostgreSQL", gives_way=False)
    place = hashlib.sha256((catalog.connections.place() or "").encode("utf-8", "surrogateescape")).hexdigest()
    return SoleUse(bucket.objects, f"{socket.gethostname()} (catalog {place[:8]})")
