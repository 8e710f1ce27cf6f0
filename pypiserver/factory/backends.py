"""The backend that settings name, and the ends of a copy.

**Invariants:** this module alone knows both folders and buckets; what a bucket needs is imported only for a bucket.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from ..backend.backend import Backend
from ..backend.cache_store import CacheStore
from ..backend.copy_endpoint import Endpoint
from ..catalog import Catalog
from ..catalog.sqlite.places import catalog_identity, catalog_path, usable_place
from ..errors import ConfigError
from ..folder.backend import make_backend as make_folder_backend
from ..folder.copy_endpoint import FolderEndpoint
from ..folder.storage import Folders
from ..settings.config import Config
from ..upstream.private_names import read_private_names
from ..upstream.values import Upstream
from .access import some_overwrite
from .cache_place import cache_folder_of, claim_folders, shared_cache_of


def build_backend(config: Config, *, is_serving: bool = True) -> Backend:
    """The backend over the folders of ``config``, or its bucket; starts nothing.

    Without ``is_serving`` it is for a command that changes packages: it has no catalog of folders, and uses the catalog
    of a bucket as it is.
    """
    return (
        _over_folders(config, is_serving)
        if config.storage is None
        else _over_bucket(config, config.storage, is_serving)
    )


def _over_folders(config: Config, is_serving: bool) -> Backend:
    folders = Folders(config.roots)
    identity = catalog_identity(folders.roots, config.hash_algo)
    place = (usable_place(config.catalog) or catalog_path(identity)) if is_serving else None
    catalog = Catalog(place, identity)
    asks = is_serving and config.mode != "off"
    private = read_private_names(config.private, config.private_file).__contains__ if asks else None
    return make_folder_backend(folders, catalog, hash_algo=config.hash_algo, is_serving=is_serving, private=private)


def _over_bucket(config: Config, url: str, is_serving: bool) -> Backend:
    from ..bucket.backend import make_backend
    from ..bucket.catalog import BucketCatalog
    from ..bucket.object_store import ObjectStoreClient
    from ..bucket.storage import Bucket

    identity = catalog_identity([url], config.hash_algo)
    place = usable_place(config.catalog) or catalog_path(identity)
    if place is None:
        raise ConfigError(
            "There is no place for the catalog, which a bucket needs; name a file with --catalog.",
            kind="missing",
            setting="catalog",
        )
    return make_backend(
        Bucket(ObjectStoreClient(url, public_endpoint=config.public_storage_endpoint)),
        BucketCatalog(place, identity),
        hash_algo=config.hash_algo,
        overwrite=some_overwrite(config),
        is_serving=is_serving,
    )


def build_cache_store(config: Config, indexes: Iterable[Upstream] = (), *, is_serving: bool = True) -> CacheStore:
    """Where files and pages of other indexes are kept, ready for the process that asks them.

    Without ``is_serving`` no folder is made or cleaned, for those that only look. Raises ConfigError if it has what one
    of these indexes offered under another address.
    """
    shared = shared_cache_of(config)
    if shared is not None:
        from ..bucket.cache_store import BucketCache
        from ..bucket.object_store import ObjectStoreClient

        bucket, database = shared
        objects = ObjectStoreClient(bucket, public_endpoint=config.public_storage_endpoint)
        in_bucket = BucketCache(objects, database)
        in_bucket.claim({each.name: each.url for each in indexes})
        return in_bucket
    from ..folder.cache_store import FolderCache

    folder = cache_folder_of(config)
    claim_folders(folder, indexes, makes=is_serving)
    store = FolderCache(folder)
    if is_serving:
        store.prepare(time.time())
    return store


def build_endpoint(place: Path | str) -> Endpoint:
    """The source or destination of a copy: a folder, or the bucket at an address."""
    if isinstance(place, Path):
        return FolderEndpoint(place.absolute())
    from ..bucket.copy_endpoint import BucketEndpoint
    from ..bucket.object_store import ObjectStoreClient, require
    from ..bucket.storage import Bucket

    require()
    return BucketEndpoint(Bucket(ObjectStoreClient(place)))
