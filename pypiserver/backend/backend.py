"""The seam: one value with everything that depends on whether packages are in folders or in a bucket.

``folder.backend`` and ``bucket.backend`` have a constructor each; :mod:`pypiserver.factory.backends` chooses one of
them.

**Invariants:** constructing one starts no thread, opens no file and sends no query; no part of it is replaced
afterwards; code that uses a backend never asks which of the two it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..catalog import Catalog
from ..catalog.recovery import RecoveringCatalog
from ..model import File
from .claims import Claims
from .digester import Digester
from .on_demand import DigestsOnDemand
from .protocols import FileRefresher, Indexer, Presence, Storage
from .upkeep import Checker, GarbageCollector, Inventory, Reindexer, Trash
from .writing import Writer

# A path, a lifetime in seconds, and its start (seconds since the epoch): gives a URL that works without credentials.
Sign = Callable[[str, int, int], str]
# Gives the path of a file on this disk.
LocalPath = Callable[[File], str]


@dataclass(frozen=True, slots=True)
class Offload:
    """How a proxy or the object store sends the bytes of a file in place of this server.

    ``sign`` gives a signed URL of the file in the store, ``local_path`` its path on this disk; each is None where the
    backend has none.
    """

    sign: Sign | None = None
    local_path: LocalPath | None = None


@dataclass(frozen=True, slots=True)
class Backend:
    """Packages in folders or in a bucket (``kind``), their catalog, and the parts that read and change the two.

    For requests: ``storage`` has the bytes, ``catalog`` what is known about them; ``queries`` asks the catalog while
    ``indexer`` keeps it current; ``refresher`` compares single files with it; ``presence`` sees names before the
    catalog does (None where the catalog alone decides about names). ``digester`` reads files, ``digests`` those that a
    request needs; ``writer`` carries out changes; ``claims`` says which names of deleted projects stay ours;
    ``offload`` says what else can send files.

    For a start: ``storage_fault`` says why storage does not answer now, '' when it does, or raises ConfigError for a
    fault that will not heal; ``reads_before_fork`` says whether files may be read before a server forks its workers.

    For commands: ``inventory``, ``trash``, ``checker``, ``reindexer`` and ``garbage`` (see :mod:`upkeep`).
    """

    kind: str
    storage: Storage
    catalog: Catalog
    queries: RecoveringCatalog
    indexer: Indexer
    refresher: FileRefresher
    presence: Presence | None
    digester: Digester
    digests: DigestsOnDemand
    writer: Writer
    claims: Claims
    offload: Offload
    storage_fault: Callable[[], str]
    reads_before_fork: bool
    inventory: Inventory
    trash: Trash
    checker: Checker
    reindexer: Reindexer
    garbage: GarbageCollector

    def close(self) -> None:
        """Stop what this process started, and close the catalog."""
        self.indexer.close()
        self.catalog.close()
