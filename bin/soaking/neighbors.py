"""What others on the machine do to a server: commands on its catalog, locks, kills, and odd files in its folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from tests.live_server import REPOSITORY

from .processes import is_alive, tree
from .scenes import Scene, Undo

ODD_NAMES = (
    b"caf\xe9-1.0.tar.gz",
    b"\xff\xfe",
    b"a\nb-1.0.zip",
    b"a" * 251 + b".whl",
    b"\xed\xa0\x80-1.0.whl",
    b"%00-1.0.zip",
)


def command(*arguments: str) -> Callable[[Scene], None]:
    """Another command of ours on the same --catalog, as an operator runs it next to the server."""

    def make(scene: Scene) -> None:
        catalog = scene.state / "catalog.sqlite"
        words = [each.format(packages=scene.packages, other=scene.packages.parent / "other") for each in arguments]
        (scene.packages.parent / "other").mkdir(exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "pypiserver", *words, "--catalog", str(catalog)],
            capture_output=True, check=False, timeout=120, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip

    return make


def other_server(*arguments: str) -> Callable[[Scene], Undo]:
    """Another server with other settings on the same --catalog."""

    def make(scene: Scene) -> Undo:
        command = [sys.executable, "-m", "pypiserver", "-i", "127.0.0.1", "-p", "0", *arguments]
        process = subprocess.Popen(
            [*command, "--catalog", str(scene.state / "catalog.sqlite"), str(scene.packages)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip

        def undo() -> None:
            process.terminate()
            process.wait(30)

        return undo

    return make


_HOLD = """
import sqlite3, sys, time
held = [sqlite3.connect(path, isolation_level=None, timeout=20) for path in sys.argv[1:]]
for connection in held: connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(600)
"""


def holds_a_lock(scene: Scene) -> Undo:
    """Another program writes and does not end, as a backup or a shell of SQLite may."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, *map(str, scene.databases())], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()

    def undo() -> None:
        holder.kill()
        holder.wait()
        holder.stdout.close()  # type: ignore[union-attr]

    return undo


def killed(times: int) -> Callable[[Scene], None]:
    """A worker is killed, and then the one that took its place."""

    def make(scene: Scene) -> None:
        victims = scene.workers
        for _ in range(times):
            before = tree(scene.live.process.pid)
            if not (living := [pid for pid in victims if is_alive(pid)]):
                raise ProcessLookupError(f"none of {victims} is left to be killed")
            os.kill(scene.chance.choice(living), signal.SIGKILL)
            deadline = time.monotonic() + 10
            while not (victims := [pid for pid in tree(scene.live.process.pid) if pid not in before]):
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)
            # It has begun to serve.
            time.sleep(1)

    return make


def overwritten_slowly(scene: Scene) -> Undo:
    """A package is written again in place, as ``cp`` and ``rsync --inplace`` do, and the catalog goes meanwhile."""
    path = scene.chance.choice(sorted(scene.packages.glob("here*.whl")))
    data, is_cut, pause = path.read_bytes(), scene.chance.random() < 0.5, scene.chance.choice((0.05, 0.3, 1.3))
    has_begun = threading.Event()

    def write() -> None:
        with path.open("r+b", buffering=0) as file:
            if is_cut:
                file.truncate(0)
            for at in range(0, len(data), len(data) // 4 + 1):
                file.write(data[at : at + len(data) // 4 + 1])
                has_begun.set()
                time.sleep(pause)

    writing = threading.Thread(target=write)
    writing.start()
    has_begun.wait(10)
    for database in scene.all() if scene.chance.random() < 0.5 else scene.databases():
        database.unlink(missing_ok=True)
    return writing.join


def odd_names(scene: Scene) -> Undo:
    """Not of the catalog, but of those who fill it: names that are no UTF-8, a pipe, a link to itself."""
    paths = [scene.packages / os.fsdecode(name) for name in ODD_NAMES]
    for path in paths:
        path.touch()
    pipe, loop = scene.packages / "pipe-1.0.tar.gz", scene.packages / "loop-1.0.tar.gz"
    os.mkfifo(pipe)
    loop.symlink_to(loop.name)
    return lambda: [path.unlink() for path in (*paths, pipe, loop)]
