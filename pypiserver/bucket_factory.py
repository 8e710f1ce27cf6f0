"""What stands in for folders, sync and watch where packages are in a bucket; imported only there."""

from __future__ import annotations

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
    watch = BucketWatch(reindexer, digester, catalog, lock=lock)
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
