"""Reading many files once: kill -9 loses nothing that was read, and who asks for a page need not wait for the rest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from pypiserver.backend.backend import Backend
from pypiserver.backend.stored_file import StoredFile
from pypiserver.catalog import Catalog
from pypiserver.folder.backend import make_backend
from pypiserver.folder.storage import Folders
from pypiserver.index.read import Repository
from tests.live_server import pypi_server, running
from tests.make_archives import make_wheel

pytestmark = pytest.mark.live

Put = Callable[..., Path]
MANY = 3000
MARK = "ab" * 32


def known(catalog: Path) -> dict[str, str]:
    """The file names that were read, and their sha256, as a process next to the server sees them."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(catalog, timeout=10)) as connection:
        return dict(connection.execute("SELECT path, sha256 FROM file WHERE sha256 <> ''"))
    return {}


def wait_until(question: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < until
        time.sleep(0.002)


def known_when_killed(command: list[str], environ: dict[str, str], catalog: Path) -> dict[str, str]:
    """What the catalog has of a server that was killed in the middle; on a busy machine it may be late for that."""
    for _ in range(5):
        with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: catalog.exists() and bool(known(catalog)))
            process.kill()
        done = known(catalog)
        if 0 < len(done) < MANY:
            return done
        for path in catalog.parent.glob(f"{catalog.name}*"):
            path.unlink()
    raise AssertionError("it had read everything before it could be killed, five times")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows kills by another way")
def test_after_kill_9_only_the_rest_is_read(put: Put, root: Path, tmp_path: Path) -> None:
    wheels = [make_wheel(f"project-{number}", "1.0") for number in range(MANY)]
    for name, data in wheels:
        put(name, data)
    catalog = tmp_path / "catalog.sqlite"
    # waitress serves in the process that is started; no other one continues after it was killed.
    command = [*map(str, pypi_server("--server", "waitress", "--catalog", catalog, root))]
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = known_when_killed(command, environ, catalog)
    # A digest that is none of theirs stays only with files that are not read again.
    with contextlib.closing(sqlite3.connect(catalog, timeout=10)) as connection, connection:
        connection.executemany("UPDATE file SET sha256 = ? WHERE path = ?", [(MARK, name) for name in done])
    expected = {name: MARK if name in done else hashlib.sha256(data).hexdigest() for name, data in wheels}
    with running(command, environ=environ, cwd=tmp_path):
        wait_until(lambda: len(known(catalog)) == MANY)
        wait_until(lambda: known(catalog) == expected, 1)


class SlowFolders(Folders):
    """Folders with a project whose files are read by no one before ``go`` is set."""

    def __init__(self, roots: list[Path]) -> None:
        super().__init__(roots)
        self.begun, self.go = threading.Event(), threading.Event()

    def open(self, root: int, path: str) -> tuple[BinaryIO, StoredFile]:
        if path.startswith("slow"):
            self.begun.set()
            assert self.go.wait(60)
        return super().open(root, path)


@pytest.fixture
def slow(root: Path, tmp_path: Path) -> Iterator[Backend]:
    folders, catalog = SlowFolders([root]), Catalog(tmp_path / "catalog.sqlite", "")
    backend = make_backend(folders, catalog, hash_algo="sha256", events=False)
    yield backend
    folders.go.set()
    backend.close()


def test_a_page_that_is_asked_for_is_completed_first(slow: Backend, put: Put) -> None:
    """The background is in the middle of something long, and behind it in the queue is all the rest."""
    for number in range(50):
        put(*make_wheel("slow", f"1.{number}"))
    wheel, data = make_wheel("wanted", "1.0", requires_python=">=3.8")
    put(wheel, data)
    repository = Repository(slow)
    repository.serial()
    folders = slow.storage
    assert isinstance(folders, SlowFolders) and folders.begun.wait(60)
    (file,) = repository.project("wanted").files
    assert (file.sha256, file.requires_python) == (hashlib.sha256(data).hexdigest(), ">=3.8")
    with repository.open(wheel)[1] as stream:
        assert stream.read() == data
    assert not folders.go.is_set() and slow.catalog.pending_count() == 50
    folders.go.set()
    assert len(repository.project("slow").files) == 50
