"""What stands in for folders, sync and watch where packages are in a bucket; imported only there."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass

from .bucket_digests import BucketDigester
from .bucket_watch import BucketWatch, Unwatched
from .bucket_writer import BucketWriter
from .catalog.exclusive import ExclusiveCatalog
from .catalog.lease import Lease
from .downloads import Downloads
from .reindex import Reindexer
from .repository import Repository
from .scanlock import ScanLock
from .storage.bucket import Bucket
from .storage.objects import require
from .storage.sole_use import SoleUse

__all__ = ["BucketParts", "Unwatched", "build_parts"]


@dataclass(frozen=True, slots=True)
class BucketParts:
    """A repository over a bucket, with what only buckets have."""

    repository: Repository
    bucket: Bucket
    catalog: ExclusiveCatalog
    reindexer: Reindexer
    writer: BucketWriter


def build_parts(
    bucket: Bucket,
    catalog: ExclusiveCatalog,
    lock: ScanLock | Lease,
    *,
    hash_algo: str | None,
    overwrite: bool,
    stats: Downloads | None,
    stale_for: float,
) -> BucketParts:
    """The parts for a bucket; starts nothing, and asks nothing of it. Raises ConfigError."""
    require()
    digester = BucketDigester(bucket, catalog, hash_algo=hash_algo)
    reindexer = Reindexer(bucket, catalog, digester, overwrite=overwrite)
    watch = BucketWatch(reindexer, digester, catalog, lock=lock, sole_use=_sole_use(bucket, catalog, lock))
    repository = Repository(
        folders=bucket,
        catalog=catalog,
        sync=reindexer,
        digester=digester,
        watch=watch,
        stats=stats,
        stale_for=stale_for,
    )
    return BucketParts(repository, bucket, catalog, reindexer, BucketWriter(repository, catalog, bucket))


def _sole_use(bucket: Bucket, catalog: ExclusiveCatalog, lock: ScanLock | Lease) -> SoleUse:
    """The claim of this catalog to the bucket: a file's is one of many, a database's is everybody's."""
    if isinstance(lock, Lease):
        return SoleUse(bucket.objects, "servers with a catalog in PostgreSQL", gives_way=False)
    place = hashlib.sha256((catalog.connections.place() or "").encode("utf-8", "surrogateescape")).hexdigest()
    return SoleUse(bucket.objects, f"{socket.gethostname()} (catalog {place[:8]})")
