"""Single files and their rows: growing, replaced, missing; a clock of our own, no sleeping."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from pypiserver.catalog import ANY_ROW, Digest, SeenFile
from pypiserver.distributions.filename import parse_filename
from pypiserver.errors import Unavailable
from pypiserver.folder.partial_files import HOLD_SECONDS
from tests.raising import raises

from .scanned_folders import NOW, OLD, SDIST, SDIST_BYTES, WHEEL, WHEEL_BYTES, World


@pytest.mark.parametrize("is_large", [False, True])
def test_the_last_row_of_a_project_goes_when_no_folder_has_another_file_of_it(
    world: World, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file came into a folder that was looked at before."""
    monkeypatch.setattr("pypiserver.folder.presence.MOST_NAMES", 0 if is_large else 1000)
    old = world.put(SDIST, SDIST_BYTES)
    world.sync.scan()
    old.unlink()
    for may_delete in (True, False, True):
        world.sync.refresh([(0, SDIST)], may_delete=may_delete)
        assert [file.path for file in world.catalog.rows_of("foo")] == [SDIST]
    world.put(f"new/{WHEEL}", WHEEL_BYTES)
    world.now += HOLD_SECONDS
    world.sync.refresh([(0, SDIST)])
    assert [file.path for file in world.catalog.rows_of("foo")] == [SDIST]
    world.sync.refresh([(0, SDIST)], may_delete=True)
    assert [file.path for file in world.catalog.rows_of("foo")] == [f"new/{WHEEL}"]


def test_a_file_that_was_back_for_a_moment_is_missing_from_then_on(world: World) -> None:
    """A look of another process found it back, and the next one found it missing again."""
    path = world.put(SDIST, SDIST_BYTES)
    world.sync.scan()
    path.unlink()
    world.sync.refresh([(0, SDIST)], may_delete=True)
    world.now += HOLD_SECONDS
    other = world.another_sync()
    world.put(SDIST, SDIST_BYTES)
    other.refresh([(0, SDIST)])
    path.unlink()
    other.refresh([(0, SDIST)])
    world.sync.refresh([(0, SDIST)], may_delete=True)
    assert [file.path for file in world.catalog.rows_of("foo")] == [SDIST]
    world.now += HOLD_SECONDS
    world.sync.refresh([(0, SDIST)], may_delete=True)
    assert world.catalog.rows_of("foo") == []


@pytest.mark.parametrize(
    ("name", "data", "listed"),
    [
        pytest.param(WHEEL, WHEEL_BYTES, True, id="whole wheel"),
        pytest.param(WHEEL, WHEEL_BYTES[:-30], False, id="half wheel"),
        pytest.param(SDIST, SDIST_BYTES, True, id="whole sdist"),
        pytest.param(SDIST, SDIST_BYTES[:-30], False, id="half sdist"),
        pytest.param("foo-1.0.win32.exe", b"MZ", False, id="installer, which does not tell"),
    ],
)
def test_a_file_that_may_be_growing_is_hidden_until_it_is_whole(
    world: World, name: str, data: bytes, listed: bool
) -> None:
    world.put(name, data, mtime=NOW)
    growing = world.sync.scan()
    assert (world.listed() == [name]) is listed
    assert growing == (set() if listed else {(0, name)})


INSTALLER = "foo-1.0.win32.exe"


def test_an_installer_is_listed_after_a_second_or_when_it_was_closed(world: World) -> None:
    world.put(INSTALLER, b"MZ", mtime=NOW)
    world.sync.scan()
    world.sync.growing.note_closed((0, INSTALLER))
    assert world.sync.refresh([(0, INSTALLER)]) == set()
    assert world.listed() == [INSTALLER]
    other = "foo-2.0.win32.exe"
    world.put(other, b"MZ", mtime=NOW)
    assert world.sync.scan() == {(0, other)}
    world.now += 1.1
    assert world.sync.scan() == set()
    assert world.listed() == [INSTALLER, other]


def test_a_file_from_the_future_is_listed_once_it_stays_as_it_is(world: World) -> None:
    world.put(INSTALLER, b"MZ", mtime=NOW + 3600)
    assert world.sync.scan() == {(0, INSTALLER)}
    world.now += 1.1
    assert world.sync.scan() == set()
    assert world.listed() == [INSTALLER]


def test_a_file_that_is_being_replaced_in_place_is_hidden(world: World) -> None:
    world.put(SDIST, SDIST_BYTES)
    world.sync.scan()
    world.put(SDIST, SDIST_BYTES[:20], mtime=NOW)
    world.sync.scan()
    assert world.listed() == []


def test_who_asks_for_a_file_does_not_take_it_for_gone_with_its_root(world: World) -> None:
    """Between an unmount and the next scan, a download that finds nothing must not empty the catalog."""
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.roots[0].rename(world.roots[0].with_name("unmounted"))
    world.roots[0].mkdir()
    with raises(Unavailable, kind="replaced"):
        world.sync.refresh([(0, WHEEL)])
    with raises(Unavailable, kind="lost"):
        world.sync.scan()
    assert world.listed() == [WHEEL]


def test_an_older_look_does_not_undo_what_an_upload_told(world: World) -> None:
    for look in (world.sync.scan, lambda: world.sync.refresh([(0, WHEEL)])):
        world.put(WHEEL, WHEEL_BYTES)
        real = world.sync._apply

        def late(found: list[SeenFile], *rest: Any, real: Callable[..., None] = real) -> None:
            world.sync._apply = real  # type: ignore[method-assign]
            world.put(WHEEL, WHEEL_BYTES + b"newer", mtime=OLD + 60)
            entry = world.folders.stat(0, WHEEL)
            assert entry is not None
            world.catalog.add(world.sync.found(entry, parse_filename(WHEEL)), Digest("5" * 64))
            real(found, *rest)

        world.sync._apply = late  # type: ignore[method-assign]
        look()
        (file,) = world.catalog.files_of("foo")
        assert (file.sha256, file.size) == ("5" * 64, len(WHEEL_BYTES) + 5)
        (world.roots[0] / WHEEL).unlink()
        world.sync.scan()


def test_a_look_that_came_too_late_is_taken_again(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    real = world.sync._apply

    def late(found: list[SeenFile], *rest: Any) -> None:
        world.sync._apply = real  # type: ignore[method-assign]
        stale = found[0]._replace(row=found[0].row._replace(sidecars="stale"), has_signature=False, before=ANY_ROW)
        world.catalog.apply([stale])
        real(found, *rest)

    world.sync._apply = late  # type: ignore[method-assign]
    world.put(f"{WHEEL}.asc", b"sig")
    world.sync.refresh([(0, WHEEL)])
    (file,) = world.catalog.files_of("foo")
    assert file.has_signature


def test_an_older_look_does_not_bring_back_what_was_removed(world: World) -> None:
    path = world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    real = world.sync._apply

    def late(found: list[SeenFile], *rest: Any) -> None:
        world.sync._apply = real  # type: ignore[method-assign]
        for each in (path, path.with_name(f"{WHEEL}.asc")):
            each.unlink()
        world.sync.refresh([(0, WHEEL)])
        real(found, *rest)
        assert world.listed() == []

    world.sync._apply = late  # type: ignore[method-assign]
    world.put(f"{WHEEL}.asc", b"sig")
    world.sync.refresh([(0, WHEEL)])
    assert world.listed() == []


@pytest.mark.parametrize("by", ["scan", "refresh"])
def test_a_project_whose_file_is_being_replaced_is_still_here(world: World, by: str) -> None:
    look = world.sync.scan if by == "scan" else lambda: world.sync.refresh([(0, WHEEL)])
    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    world.digester.digest_project("foo")
    serial = world.catalog.project_state("foo")[0]
    world.put(WHEEL, WHEEL_BYTES[:100], mtime=NOW)
    for _ in range(2):
        assert look() == {(0, WHEEL)}
        assert (world.listed(), len(world.catalog.rows_of("foo"))) == ([], 1)
    assert world.catalog.project_state("foo")[0] == serial + 1
    world.put(WHEEL, WHEEL_BYTES)  # what stood there before, with its time
    assert look() == set()
    world.digester.digest_project("foo")
    assert [bool(file.sha256) for file in world.catalog.files_of("foo")] == [True]


def test_while_a_file_is_replaced_the_same_one_in_another_folder_serves(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES)
    world.put(f"sub/{WHEEL}", WHEEL_BYTES, root=1)
    world.sync.scan()
    world.put(WHEEL, WHEEL_BYTES[:100], mtime=NOW)
    world.sync.scan()
    assert world.listed() == [f"sub/{WHEEL}"]
    (world.roots[0] / WHEEL).unlink()
    for _ in range(2):
        world.sync.scan()
        assert world.listed() == [f"sub/{WHEEL}"]
        world.now += HOLD_SECONDS
    assert len(world.catalog.rows_of("foo")) == 1


@pytest.mark.parametrize("by", ["scan", "refresh"])
def test_the_row_of_a_file_that_vanished_is_held_and_deleted_when_it_stays_missing(world: World, by: str) -> None:
    look = (
        world.sync.scan
        if by == "scan"
        else lambda: world.sync.refresh(world.sync.missing.due() or [(0, WHEEL)], may_delete=True)
    )
    world.put(WHEEL, WHEEL_BYTES)
    world.put(f"sub/{WHEEL}", WHEEL_BYTES, root=1)
    world.put(SDIST, SDIST_BYTES)
    world.sync.scan()
    serial = world.catalog.serial()
    (world.roots[0] / WHEEL).unlink()
    for _ in range(3):
        assert look() == set() and world.sync.missing.due() == set()
        # The same file in another folder is seen at once.
        assert (world.listed(), len(world.catalog.rows_of("foo"))) == ([SDIST, f"sub/{WHEEL}"], 3)
        assert world.catalog.serial() == serial + 1
    world.now += HOLD_SECONDS
    assert world.sync.missing.due() == {(0, WHEEL)}
    look()
    assert (len(world.catalog.rows_of("foo")), world.sync.missing.due(), bool(world.sync.missing)) == (2, set(), False)


def test_a_file_that_comes_back_in_time_was_never_gone(world: World) -> None:
    path = world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    for _ in range(2):
        path.unlink()
        world.sync.scan()
        world.now += HOLD_SECONDS - 0.1
        world.sync.scan()
        assert len(world.catalog.rows_of("foo")) == 1
        world.put(WHEEL, WHEEL_BYTES)
        world.sync.scan()
        assert world.listed() == [WHEEL] and not world.sync.missing


def test_a_row_held_by_a_process_that_died_is_deleted_by_the_next_one(world: World) -> None:
    world.put(WHEEL, WHEEL_BYTES).unlink()
    world.put(WHEEL, WHEEL_BYTES)
    os.utime(world.roots[0], (OLD, OLD))
    world.now = time.time() + 60
    world.sync.scan()
    (world.roots[0] / WHEEL).unlink()
    os.utime(world.roots[0], (OLD, OLD))
    world.sync.scan()
    world.sync = world.another_sync()
    # No one takes the catalog for finished meanwhile.
    assert not world.sync.is_current()
    world.sync.scan()
    world.now += HOLD_SECONDS
    world.sync.refresh(world.sync.missing.due(), may_delete=True)
    assert world.catalog.rows_of("foo") == []


def test_what_the_server_removes_is_deleted_at_once_whichever_transaction_holds_the_row(world: World) -> None:
    path = world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    real = world.sync._apply

    def late(*changes: Any) -> None:
        world.sync._apply = real  # type: ignore[method-assign]
        world.another_sync().scan()
        real(*changes)

    path.unlink()
    world.sync._apply = late  # type: ignore[method-assign]
    world.sync.refresh([(0, WHEEL)], hold=False)
    assert world.catalog.rows_of("foo") == []


def test_a_file_that_cannot_be_looked_at_is_not_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real_stat = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        if str(path).endswith(WHEEL):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real_stat(path, **options)

    world.put(WHEEL, WHEEL_BYTES)
    world.sync.scan()
    monkeypatch.setattr(os, "stat", stat)
    assert world.sync.refresh([(0, WHEEL)]) == set()
    assert world.listed() == [WHEEL]
