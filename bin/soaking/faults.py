"""What can happen to the files of a SQLite catalog while servers use them; each fault can be taken back, or heals."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from .neighbors import command, holds_a_lock, killed, odd_names, other_server, overwritten_slowly
from .processes import tree
from .scenes import SIDE_FILES, Fault, Scene, Undo

# Longer than a writer waits.
LOCKED_SECONDS = 12.0
# In which some files are uploaded.
OLDER_SECONDS = 1.0


def _database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as connection:
        for statement in statements:
            connection.execute(statement)


def _written_back(scene: Scene, kind: str) -> list[Path]:
    """The files of a kind; of a database everything that was in its -wal is in it now, half of the time."""
    if kind == "db" and scene.chance.random() < 0.5:
        for path in scene.databases():
            _database(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    return scene.of(kind)


def _cut(kind: str) -> Callable[[Scene], None]:
    def make(scene: Scene) -> None:
        for path in _written_back(scene, kind):
            length = path.stat().st_size
            os.truncate(path, scene.chance.choice((length // 2, max(0, length - 1), length // 3 | 1)))

    return make


def _emptied(kind: str) -> Callable[[Scene], None]:
    def make(scene: Scene) -> None:
        for path in _written_back(scene, kind):
            os.truncate(path, 0)

    return make


def _overwritten(kind: str) -> Callable[[Scene], None]:
    def make(scene: Scene) -> None:
        for path in _written_back(scene, kind):
            with path.open("r+b") as file:
                file.write(scene.chance.randbytes(min(path.stat().st_size, 1 << 20)))

    return make


def _deleted(kind: str) -> Callable[[Scene], None]:
    def make(scene: Scene) -> None:
        for path in scene.all() if kind == "all" else scene.of(kind):
            path.unlink(missing_ok=True)

    return make


def _moved_and_back(kind: str) -> Callable[[Scene], Undo]:
    """Renamed; it comes back over what may have been made instead."""

    def make(scene: Scene) -> Undo:
        moved = []
        for path in scene.of(kind):
            with suppress(FileNotFoundError):
                moved.append((path, path.rename(path.with_name(f"{path.name}.moved"))))
        return lambda: [target.replace(path) for path, target in moved]

    return make


def _folder_moved_and_back(scene: Scene) -> Undo:
    moved = scene.state.with_name("moved")
    scene.state.rename(moved)

    def undo() -> None:
        # Servers write into the folder that they made again, and make it once more when it is gone.
        for number in range(1000):
            made = scene.state.with_name(f"made-{number}")
            with suppress(FileNotFoundError):
                shutil.rmtree(scene.state.rename(made), ignore_errors=True)
            with suppress(OSError):
                moved.rename(scene.state)
                return
        raise AssertionError(f"{moved} could not be moved back to {scene.state}")

    return undo


def _folder_replaced(scene: Scene) -> None:
    scene.state.rename(scene.state.with_name(f"old-{scene.chance.random()}"))
    # A server may have made it.
    scene.state.mkdir(exist_ok=True)


def _replaced_by(statements: Callable[[Path], tuple[str, ...]]) -> Callable[[Scene], None]:
    """A whole database with other contents takes the name of each."""

    def make(scene: Scene) -> None:
        # In a folder of its own: one that is left when it cannot be made is no database of the server's.
        new = scene.state / ".making" / "new"
        new.parent.mkdir(exist_ok=True)
        for path in scene.databases():
            new.unlink(missing_ok=True)
            if tables := statements(path):
                with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(new)) as copy:
                    old.backup(copy)
                _database(new, *tables)
            else:
                _database(new, "CREATE TABLE x (y)", "DROP TABLE x")
            new.replace(path)

    return make


def _replaced_by_older(kind: str, *, in_place: bool = False) -> Callable[[Scene], None]:
    """A copy of some time before takes the name, or is written over it as ``cp`` does."""

    def make(scene: Scene) -> None:
        making = scene.state / ".making"
        making.mkdir(exist_ok=True)
        for path in scene.of(kind):
            shutil.copyfile(path, making / path.name)
        time.sleep(OLDER_SECONDS)
        for path in scene.of(kind):
            if in_place:
                shutil.copyfile(making / path.name, path)
            else:
                (making / path.name).replace(path)

    return make


def _in_place(*statements: str) -> Callable[[Scene], None]:
    """Done to the database by another process, in one transaction, as another version would."""

    def make(scene: Scene) -> None:
        for path in scene.databases():
            _database(path, "BEGIN IMMEDIATE", *statements, "COMMIT")

    return make


TABLES = ("file", "project", "folder", "metadata", "claim", "meta", "serial")
DROPPED = tuple(f"DROP TABLE IF EXISTS {table}" for table in TABLES)
OTHER_SCHEMA = "UPDATE meta SET value = '0' WHERE name IN ('schema', 'version', 'schema_version')"
EMPTY_ROWS = tuple(f"DELETE FROM {table}" for table in ("file", "project", "folder"))


def _permissions(mode: int, folder_mode: int) -> Callable[[Scene], Undo]:
    def make(scene: Scene) -> Undo:
        before = {}
        for path in scene.all():
            # Each is changed back, though another one went meanwhile.
            with suppress(FileNotFoundError):
                before[path] = path.stat().st_mode & 0o777
                path.chmod(mode)
        scene.state.chmod(folder_mode)

        def undo() -> None:
            scene.state.chmod(0o755)
            for path, old in before.items():
                with suppress(FileNotFoundError):
                    path.chmod(old)

        return undo

    return make


def _bounded_files(scene: Scene) -> Undo:
    """No file may become larger than 8 KiB: every write behind that is an I/O error."""
    before = {}
    for pid in tree(scene.live.process.pid):
        # A process that ends meanwhile leaves no other one without its old limit.
        with suppress(ProcessLookupError):
            before[pid] = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (8192, before[pid][1]))

    def undo() -> None:
        for pid in tree(scene.live.process.pid):
            soft, hard = before.get(pid, next(iter(before.values())))
            with suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    return undo


def _full(*, also_deleted: bool = False) -> Callable[[Scene], Undo]:
    def make(scene: Scene) -> Undo:
        assert scene.disk is not None
        scene.disk.fill()
        if also_deleted:
            for path in scene.all():
                if not path.name.startswith("."):
                    path.unlink(missing_ok=True)
        return scene.disk.free

    return make


def _mounted_over(scene: Scene) -> Undo:
    disk = scene.disk
    assert disk is not None
    disk.run("mount", "-t", "tmpfs", "tmpfs", disk.folder)
    return lambda: disk.run("umount", "-l", disk.folder)


def _fatal(kind: str) -> dict[str, Any]:
    """SQLite maps this file, and the kernel ends a process that reads behind its end: workers are replaced then."""
    return {"kills": 99, "needs_supervisor": True} if kind == "-shm" else {}


FAULTS: tuple[Fault, ...] = (
    *(Fault(f"{kind} cut", _cut(kind), told=False, **_fatal(kind)) for kind in ("db", *SIDE_FILES)),
    *(Fault(f"{kind} emptied", _emptied(kind), told=False, **_fatal(kind)) for kind in ("db", *SIDE_FILES)),
    *(Fault(f"{kind} overwritten", _overwritten(kind), told=False) for kind in ("db", *SIDE_FILES)),
    *(Fault(f"{kind} deleted", _deleted(kind), told=kind in ("db", "all")) for kind in ("db", *SIDE_FILES, "all")),
    *(Fault(f"older {kind}", _replaced_by_older(kind), told=False) for kind in ("db", "-wal", "-shm", ".signal")),
    Fault("older -wal in place", _replaced_by_older("-wal", in_place=True), told=False),
    Fault("db moved and back", _moved_and_back("db")),
    Fault("folder moved and back", _folder_moved_and_back),
    Fault("folder replaced", _folder_replaced),
    Fault("replaced by an empty db", _replaced_by(lambda path: ())),
    Fault("replaced by another schema", _replaced_by(lambda path: (OTHER_SCHEMA,))),
    Fault("replaced by one without rows", _replaced_by(lambda path: EMPTY_ROWS)),
    Fault("another schema in place", _in_place(OTHER_SCHEMA), told=False),
    Fault("tables dropped in place", _in_place(*DROPPED)),
    Fault("check with another hash", command("check", "--hash-algo", "md5", "{packages}"), told=False),
    Fault("check of another folder", command("check", "{other}"), told=False),
    Fault("check of the same folder", command("check", "{packages}"), told=False),
    Fault("server with another hash", other_server("-P", ".", "-a", ".", "--hash-algo", "md5"), 4.0, told=False),
    # Only a request that writes meanwhile meets this and a full disk; what one of them then says, the log must say too.
    Fault("locked", holds_a_lock, LOCKED_SECONDS, told=False),
    Fault("forbidden", _permissions(0o000, 0o000), 3.0),
    Fault("read-only", _permissions(0o444, 0o555), 3.0, told=False),
    Fault("I/O errors", _bounded_files, 3.0),
    Fault("a file overwritten meanwhile", overwritten_slowly),
    Fault("odd names in the folder", odd_names, told=False),
    Fault("worker killed", killed(1), needs_workers=True, kills=1),
    Fault("two workers killed", killed(2), needs_workers=True, kills=1),
    Fault("disk full", _full(), 3.0, needs_disk=True, told=False),
    Fault("disk full, all deleted", _full(also_deleted=True), 3.0, needs_disk=True),
    Fault("mounted over", _mounted_over, 3.0, needs_disk=True),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
