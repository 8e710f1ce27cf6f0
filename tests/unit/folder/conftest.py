"""What tests of folders share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypiserver.folder.indexer import FolderIndexer

from .scanned_folders import World
from .watched_folders import BYTES, NAME, make_watch


@pytest.fixture(params=["memory", "postgresql"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
    world = World(roots, request.getfixturevalue("database") if request.param == "postgresql" else None)
    yield world
    world.catalog.connections.close()


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
    (roots[0] / NAME).write_bytes(BYTES)
    os.utime(roots[0] / NAME, (1_600_000_000, 1_600_000_000))
    return roots


@pytest.fixture
def watch(roots: list[Path], tmp_path: Path) -> Iterator[FolderIndexer]:
    watch = make_watch(roots, tmp_path)
    yield watch
    watch.close()
    watch.catalog.connections.close()
