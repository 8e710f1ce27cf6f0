"""What a watcher tells of changes below the roots, and what it keeps to itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypiserver.folder.fs_events import Watcher
from pypiserver.folder.storage import Folders

from ..waiting import eventually
from .watched_folders import NAME

PART = ".upload-" + "0123456789abcdef" * 2 + ".part"


@pytest.fixture
def watcher(roots: list[Path]) -> Iterator[Watcher]:
    watcher = Watcher(Folders(roots), threading.Event())
    watcher.start()
    if not watcher.is_running():
        pytest.skip("nothing can be watched here")
    yield watcher
    watcher.stop()


def test_the_hidden_files_of_uploads_wake_no_one(roots: list[Path], watcher: Watcher) -> None:
    (roots[0] / PART).write_bytes(b"half")
    assert eventually(lambda: watcher._changes.has_uploads)
    (roots[0] / PART).unlink()
    # Linux has a name even for files that have none.
    staged = watcher._folders.stage()
    staged.write(b"half")
    staged.discard()
    assert not watcher._wake.wait(0.1)
    (roots[0] / "bar-1.0.zip").write_bytes(b"")
    assert watcher._wake.wait(20)
    assert (0, "bar-1.0.zip") in watcher.take().files and not watcher.take().has_uploads


def test_the_end_of_a_download_is_a_change_of_the_file(roots: list[Path], watcher: Watcher) -> None:
    (roots[0] / f"{NAME}.aria2").write_bytes(b"pieces")
    assert eventually(lambda: (0, NAME) in watcher.take().files)
    (roots[0] / f"{NAME}.aria2").unlink()
    assert eventually(lambda: watcher.take().files == {(0, NAME)})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere closing a file is no event")
def test_a_file_that_is_copied_is_heard_of_when_it_comes_and_when_it_is_closed(
    roots: list[Path], watcher: Watcher
) -> None:
    with (roots[0] / "bar-1.0.zip").open("wb", buffering=0) as file:
        assert watcher._wake.wait(20)
        watcher.take()
        watcher._wake.clear()
        for _ in range(10):
            file.write(b"x")
        assert not watcher._wake.wait(0.2)
    assert watcher._wake.wait(20) and watcher.take().closed == {(0, "bar-1.0.zip")}


def test_a_folder_may_be_called_like_a_file_without_a_name(roots: list[Path], watcher: Watcher) -> None:
    (roots[0] / "#1").mkdir()
    assert watcher._wake.wait(20) and watcher.take_overflow()
