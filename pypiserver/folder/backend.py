"""The constructor of a backend over folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..backend.backend import Backend, Offload
from ..backend.digester import Digester
from ..backend.on_demand import DigestsOnDemand
from ..backend.protocols import Indexer, Tell
from ..backend.unindexed import Unindexed
from ..backend.upkeep import Orphan, ReindexReport
from ..catalog import Catalog
from ..catalog.recovery import RecoveringCatalog
from ..errors import ConfigError
from ..model import File
from ..native_names import native
from .checker import FolderChecker
from .indexer import FolderIndexer
from .inventory import FolderInventory, FolderTrash
from .presence import Presence
from .scanner import FolderScanner
from .storage import Folders
from .writer import FolderWriter

ONLY_BUCKETS = "This is for a bucket; name it with --storage URL. A folder is looked at by its server."


def make_backend(
    folders: Folders,
    catalog: Catalog,
    *,
    hash_algo: str | None,
    is_serving: bool = True,
    events: bool = True,
) -> Backend:
    """The backend over ``folders``; without ``is_serving`` a command changes storage and queries no catalog.

    ``events`` says whether to watch for file system events.
    """
    lock = catalog.leader_lock()
    presence = Presence(folders, catalog)
    sync = FolderScanner(folders, catalog, presence=presence)
    digester = Digester(folders, catalog, hash_algo=hash_algo)
    indexer: Indexer = FolderIndexer(sync, digester, catalog, lock=lock, events=events) if is_serving else Unindexed()
    queries = RecoveringCatalog(catalog, indexer)
    digests = DigestsOnDemand(catalog, digester, sync)
    return Backend(
        kind="folder",
        storage=folders,
        catalog=catalog,
        queries=queries,
        indexer=indexer,
        refresher=sync,
        presence=presence,
        digester=digester,
        digests=digests,
        writer=FolderWriter(queries, catalog, digests, folders, sync),
        offload=Offload(local_path=_LocalPath(folders)),
        storage_fault=lambda: "",
        reads_before_fork=True,
        inventory=FolderInventory(folders),
        trash=FolderTrash(folders),
        checker=FolderChecker(folders, catalog),
        reindexer=_NoReindexer(),
        garbage=_NoGarbage(),
    )


class _LocalPath:
    """The path of a file on our disk."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def __call__(self, file: File) -> str:
        return f"{self._folders.roots[file.root]}/{native(file.path)}"


class _NoReindexer:
    """Refuses to reindex: the server scans its folders."""

    def run(self, *, listed: Tell, read: Tell) -> ReindexReport:
        raise ConfigError(ONLY_BUCKETS, kind="missing", setting="storage")


class _NoGarbage:
    """Refuses to look for garbage: a scan finds every file of a folder."""

    def find(self, older_than: float) -> Iterator[Orphan]:
        raise ConfigError(ONLY_BUCKETS, kind="missing", setting="storage")

    def delete(self, orphans: Iterable[Orphan]) -> Iterator[Orphan]:
        raise ConfigError(ONLY_BUCKETS, kind="missing", setting="storage")
