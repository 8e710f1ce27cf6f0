"""A root, or a mount below it, that went or became another, empty folder is an outage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypiserver.backend.stored_file import ScanResult, StoredFile
from pypiserver.errors import Unavailable
from pypiserver.folder.root_guard import RootGuard
from pypiserver.folder.storage import Folders
from tests.make_archives import make_wheel
from tests.raising import raises

from .scanned_folders import WHEEL, WHEEL_BYTES, World

NAME, BYTES = make_wheel("foo", "1.0")


def test_a_mount_below_a_root_that_became_an_empty_folder_is_an_outage(root: Path) -> None:
    (root / "disk").mkdir()
    folders = Folders([root])
    roots, mounted = RootGuard(folders), {(0, "disk"): (77, 1)}
    roots.refuse_unmounted(mounted, lambda *_: True)
    assert roots.have_changed()
    for _ in range(2):
        with raises(Unavailable, kind="unmounted"):
            roots.refuse_unmounted({}, lambda *_: True)
    with raises(Unavailable, kind="replaced"):
        roots.refuse_others({(0, "disk/foo-1.0.zip")}, {})
    roots.refuse_others({(0, "disk-2/foo-1.0.zip")}, {})
    roots.refuse_unmounted(mounted, lambda *_: True)
    # It had no files, or there are others now.
    roots.refuse_unmounted({}, lambda *_: False)
    roots.refuse_unmounted(mounted, lambda *_: True)
    (root / "disk" / NAME).write_bytes(BYTES)
    roots.refuse_unmounted({}, lambda *_: True)
    assert not roots.have_changed()


def test_a_missing_root_is_an_outage_and_leaves_the_catalog_alone(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.roots[1].rmdir()
    with pytest.raises(Unavailable, match="two"):
        world.sync.scan()
    assert world.listed() == [WHEEL]


def test_a_root_that_became_another_empty_folder_is_an_outage(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.roots[0].rename(world.roots[0].with_name("unmounted"))
    world.roots[0].mkdir()
    with raises(Unavailable, kind="lost"):
        world.sync.scan()
    world.roots[0].rmdir()
    world.roots[0].with_name("unmounted").rename(world.roots[0])
    world.sync.scan()
    assert world.listed() == [WHEEL]


def test_a_root_that_is_emptied_is_empty(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES).unlink()
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    (world.roots[0] / WHEEL).unlink()
    world.sync.scan()
    assert world.listed() == []


def test_a_root_that_goes_and_comes_back_removes_nothing(world: World) -> None:
    """Between a look at a file and a look at its root the root may be back: then the file would seem to be gone."""
    root, away = world.roots[0], world.roots[0].with_name("away")

    class Returning(Folders):
        def check(self) -> None:
            away.rename(root)
            super().check()

    world.put(f"deep/{WHEEL}", WHEEL_BYTES)
    world.sync.scan()
    root.rename(away)
    world.sync.folders = Returning(world.roots)
    with pytest.raises(Unavailable):
        world.sync.refresh([(0, f"deep/{WHEEL}")])
    assert world.listed() == [f"deep/{WHEEL}"]


def test_a_root_that_is_unmounted_while_it_is_read_is_an_outage_then_and_afterwards(world: World) -> None:
    """The files were still seen, and the empty folder behind them must not become the one that is known."""
    root, away = world.roots[0], world.roots[0].with_name("away")

    class Unmounting(Folders):
        def walk(self, scan: ScanResult, **options: Any) -> Iterator[StoredFile]:
            yield from super().walk(scan, **options)
            if not away.exists():
                root.rename(away)
                root.mkdir()

    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.sync.folders = Unmounting(world.roots)
    for kind in ("replaced", "lost"):
        with raises(Unavailable, kind=kind):
            world.sync.scan()
        assert world.listed() == [WHEEL]
