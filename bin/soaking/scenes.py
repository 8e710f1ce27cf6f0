"""What a fault of the catalog is, and the scene it happens in: a server whose catalog is alone in a folder."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.live_server import LiveServer
from tests.reliability.disks import Disk

Undo = Callable[[], object]
SIDE_FILES = ("-wal", "-shm", ".signal", ".lock", ".opening")


@dataclass
class Scene:
    """A server, and the folder that has nothing but its catalog in it."""

    live: LiveServer
    state: Path
    packages: Path
    chance: random.Random
    disk: Disk | None = None
    workers: list[int] = field(default_factory=list)

    def databases(self) -> list[Path]:
        """The databases, whatever they are called."""
        return [path for path in self.all() if not path.name.endswith(SIDE_FILES)]

    def all(self) -> list[Path]:
        return sorted(path for path in self.state.iterdir() if path.is_file())

    def of(self, kind: str) -> list[Path]:
        """The files of a kind: ``db`` or the end of a name."""
        return self.databases() if kind == "db" else [path for path in self.all() if path.name.endswith(kind)]


@dataclass(frozen=True)
class Fault:
    """Something that happens to a catalog, for how many seconds, and whether the log has to tell of it.

    ``kills`` is how many of the processes that are there at its begin may be gone at its end; ``needs_supervisor`` says
    that the one that serves ends, which waitress survives only under a service manager.
    """

    name: str
    make: Callable[[Scene], Undo | None]
    seconds: float = 2.0
    told: bool = True
    needs_disk: bool = False
    needs_workers: bool = False
    needs_supervisor: bool = False
    kills: int = 0
