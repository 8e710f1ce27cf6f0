"""The constructor of a backend over folders."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from packaging.utils import NormalizedName

from ..backend.backend import Backend, Offload
from ..backend.digester import Digester
from ..backend.on_demand import DigestsOnDemand
from ..backend.protocols import Indexer, Tell
from ..backend.unindexed import Unindexed
from ..backend.upkeep import Orphan, ReindexReport
from ..bounded_cache import OnceLog
from ..catalog import Catalog
from ..catalog.recovery import RecoveringCatalog
from ..errors import ConfigError
from ..model import File
from ..native_names import native
from .checker import FolderChecker
from .claims import FolderClaims, is_claimed
from .indexer import FolderIndexer
from .inventory import FolderInventory, FolderTrash
from .presence import Presence
from .scanner import FolderScanner
from .storage import Folders
from .writer import FolderWriter

_LOG = logging.getLogger(__name__)
# Projects with a line of their own when many vanish at once.
MOST_SAID = 20
ONLY_BUCKETS = "This is for a bucket; name it with --storage URL. A folder is looked at by its server."


def make_backend(
    folders: Folders,
    catalog: Catalog,
    *,
    hash_algo: str | None,
    is_serving: bool = True,
    events: bool = True,
    private: Callable[[str], bool] | None = None,
) -> Backend:
    """The backend over ``folders``; without ``is_serving`` a command changes storage and queries no catalog.

    ``events`` says whether to watch for file system events. ``private`` says of a name that no other index
    is asked for it; None if none is ever asked.
    """
    lock = catalog.leader_lock()
    presence = Presence(folders, catalog)
    vanished = None if private is None else _Vanished(folders, private)
    sync = FolderScanner(folders, catalog, presence=presence, vanished=vanished)
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
        claims=FolderClaims(folders, queries, catalog, is_serving=is_serving),
        offload=Offload(local_path=_LocalPath(folders)),
        storage_fault=lambda: "",
        reads_before_fork=True,
        inventory=FolderInventory(folders),
        trash=FolderTrash(folders),
        checker=FolderChecker(folders, catalog),
        reindexer=_NoReindexer(),
        garbage=_NoGarbage(),
    )


class _Vanished:
    """Says once for each project that its last file was removed by hand, as other indexes may be asked for it now."""

    def __init__(self, folders: Folders, private: Callable[[str], bool]) -> None:
        self._folders = folders
        self._private = private
        self._said = OnceLog()

    def __call__(self, projects: Sequence[str]) -> None:
        names = [each for each in projects if not self._private(each)]
        names = [each for each in names if not is_claimed(self._folders, NormalizedName(each))]
        names = [each for each in names if self._said.is_new(each)]
        for name in names[:MOST_SAID]:
            _LOG.warning(
                "The last file of %s is gone, so other indexes may be asked for it. If the name is yours, keep it: "
                "--private %s",
                name, name,
            )  # fmt: skip
        if len(names) > MOST_SAID:
            _LOG.warning("The last files of %d more projects are gone.", len(names) - MOST_SAID)


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
