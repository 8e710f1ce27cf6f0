"""The constructor of the backend over a bucket; imported only when the packages are in one."""

from __future__ import annotations

import hashlib
import socket

from ..backend.backend import Backend, Offload
from ..backend.on_demand import DigestsOnDemand
from ..backend.protocols import Indexer
from ..backend.unindexed import Unindexed
from ..catalog.leader_lock import LeaderLock
from ..catalog.recovery import RecoveringCatalog
from ..errors import ConfigError
from .catalog import BucketCatalog
from .checker import BucketChecker
from .claims import BucketClaims
from .digester import BucketDigester
from .garbage import Garbage
from .indexer import BucketIndexer
from .inventory import BucketInventory, NoTrash
from .object_store import require
from .ownership import BucketOwnership
from .probe import probe
from .scanner import Reindexer
from .storage import Bucket
from .writer import BucketWriter


def make_backend(
    bucket: Bucket,
    catalog: BucketCatalog,
    *,
    hash_algo: str | None,
    overwrite: bool,
    is_serving: bool = True,
) -> Backend:
    """The backend over ``bucket``; without ``is_serving``, for a command, it uses the catalog as it is.

    Raises ConfigError if the library is missing.
    """
    require()
    lock = catalog.leader_lock()
    digester = BucketDigester(bucket, catalog, hash_algo=hash_algo)
    reindexer = Reindexer(bucket, catalog, digester, overwrite=overwrite)
    indexer: Indexer = (
        BucketIndexer(reindexer, digester, catalog, lock=lock, sole_use=_sole_use(bucket, catalog, lock))
        if is_serving
        else Unindexed()
    )
    queries = RecoveringCatalog(catalog, indexer)
    digests = DigestsOnDemand(catalog, digester, reindexer)
    return Backend(
        kind="bucket",
        storage=bucket,
        catalog=catalog,
        queries=queries,
        indexer=indexer,
        refresher=reindexer,
        presence=None,
        digester=digester,
        digests=digests,
        writer=BucketWriter(queries, catalog, digests, bucket),
        claims=BucketClaims(bucket, queries, catalog),
        offload=Offload(sign=bucket.sign if bucket.objects.can_sign else None),
        storage_fault=lambda: _fault(bucket),
        reads_before_fork=False,
        inventory=BucketInventory(bucket, catalog),
        trash=NoTrash(),
        checker=BucketChecker(bucket, catalog),
        reindexer=reindexer,
        garbage=Garbage(bucket, catalog),
    )


def _fault(bucket: Bucket) -> str:
    """Why the bucket does not answer now, '' if it does; raises ConfigError for what waiting does not mend."""
    fault = probe(bucket)
    if fault is not None and fault.is_final:
        raise ConfigError(fault.message, kind="refused", setting="storage", value=bucket.objects.url)
    return fault.message if fault is not None else ""


def _sole_use(bucket: Bucket, catalog: BucketCatalog, lock: LeaderLock) -> BucketOwnership:
    """The claim of this catalog to the bucket: a file is one catalog of many, a database is shared by all servers."""
    if lock.spans_machines:
        return BucketOwnership(bucket.objects, "servers with a catalog in PostgreSQL", gives_way=False)
    place = hashlib.sha256((catalog.connections.place() or "").encode("utf-8", "surrogateescape")).hexdigest()
    return BucketOwnership(bucket.objects, f"{socket.gethostname()} (catalog {place[:8]})")
