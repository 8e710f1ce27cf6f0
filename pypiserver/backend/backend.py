"""The seam: one value with everything that depends on whether packages are in folders or in a bucket.

``folder.backend`` and ``bucket.backend`` have a constructor each, and :mod:`pypiserver.factory` chooses between the two
once. Invariants: making one starts, opens and asks nothing; nothing in it is replaced afterwards; who uses it never
asks which of the two it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..catalog import Catalog
from ..catalog.recovery import RecoveringCatalog
from ..model import File
from .digester import Digester
from .on_demand import DigestsOnDemand
from .protocols import FileRefresher, Indexer, Presence, Storage
from .upkeep import Checker, GarbageCollector, Inventory, Reindexer, Trash
from .writing import Writer

# A path, for how many seconds, and from when (seconds since the epoch): an address at which anybody gets the file.
Sign = Callable[[str, int, int], str]
# Where a file is on this disk.
LocalPath = Callable[[File], str]


@dataclass(frozen=True, slots=True)
class Offload:
    """How others may send the bytes of a file in our place.

    ``sign`` gives an address in the store at which clients get it, ``local_path`` where it is on our disk; each is None
    where there is no such thing.
    """

    sign: Sign | None = None
    local_path: LocalPath | None = None


@dataclass(frozen=True, slots=True)
class Backend:
    """Packages in folders or in a bucket (``kind``), their catalog, and who reads and changes the two.

    For requests: ``storage`` has the bytes, ``catalog`` what is known of them; ``queries`` asks it while ``indexer``
    keeps it current, ``refresher`` compares single files with it, ``presence`` sees names before it does (None where
    the catalog is the judge of names). ``digester`` reads files, ``digests`` those that are asked for; ``writer``
    carries out changes, ``offload`` says who else can send files.

    For a start: ``storage_fault`` says why storage does not answer now, '' when it does, or raises ConfigError for what
    will not heal; ``reads_before_fork`` whether files may be read before a server forks its workers.

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
    offload: Offload
    storage_fault: Callable[[], str]
    reads_before_fork: bool
    inventory: Inventory
    trash: Trash
    checker: Checker
    reindexer: Reindexer
    garbage: GarbageCollector

    def close(self) -> None:
        """End what this process started, and close the catalog."""
        self.indexer.close()
        self.catalog.close()
