"""The serial of a catalog: every change raises it, and every thread and process hears of it."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypiserver.catalog import (
    Catalog,
    Fingerprint,
    SeenFile,
)
from pypiserver.catalog.sqlite.change_counter import ChangeCounter
from pypiserver.distributions.filename import parse_filename

from ..catalogs import PLACES, place


def found(
    path: str, *, root: int = 0, size: int | None = 10, mtime_ns: int = 1, inode: int = 5, **facts: object
) -> SeenFile:
    dist = parse_filename(path.rpartition("/")[2])
    return SeenFile(root, path, Fingerprint(size, mtime_ns, inode, ""), dist, **facts)  # type: ignore[arg-type]


@pytest.fixture(params=PLACES)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(place(request.param, request, tmp_path), "roots")
    yield catalog
    catalog.connections.close()


def test_every_change_raises_the_serial_and_stamps_only_its_projects(catalog: Catalog) -> None:
    catalog.apply([found("foo-1.0.zip"), found("bar-1.0.zip")])
    before, bar = catalog.serial(), catalog.project_state("bar")[0]
    catalog.apply([found("foo-1.1.zip")])
    assert catalog.serial() == before + 1
    assert catalog.project_state("foo")[0] == before + 1
    assert catalog.project_state("bar")[0] == bar


def test_a_write_of_another_thread_is_seen(catalog: Catalog) -> None:
    before = catalog.serial()
    thread = threading.Thread(target=lambda: catalog.apply([found("foo-1.0.zip")]))
    thread.start()
    thread.join()
    assert catalog.serial() == before + 1


def test_a_write_of_another_process_is_seen_at_once(tmp_path: Path) -> None:
    ours, theirs = (Catalog(tmp_path / "catalog.sqlite", "roots") for _ in range(2))
    before = ours.serial()
    theirs.apply([found("foo-1.0.zip")])
    assert ours.serial() == before + 1


def test_a_write_no_one_told_of_is_seen_after_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.catalog.state.SIGNAL_SECONDS", 0.0)
    catalog = Catalog(tmp_path / "catalog.sqlite", "roots")
    before = catalog.serial()
    with sqlite3.connect(tmp_path / "catalog.sqlite") as killed:
        killed.execute("UPDATE serial SET value = value + 1")
    killed.close()
    assert catalog.serial() == before + 1


def test_an_unchanged_catalog_is_not_asked(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite", "roots")
    catalog.apply([found("foo-1.0.zip")])
    asked: list[str] = []
    catalog.connections.get().set_trace_callback(asked.append)
    catalog.serial()
    catalog._seen = catalog._seen and catalog._seen._replace(until=float("inf"))
    assert catalog.serial() == catalog.serial()
    assert len(asked) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
def test_a_signal_whose_file_was_deleted_is_heard_of_by_all_from_the_next_change_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypiserver.catalog.sqlite.change_counter.AGAIN_SECONDS", 0.0)
    ours, theirs = (ChangeCounter(tmp_path / "catalog.signal") for _ in range(2))
    assert ours.value() == theirs.value()
    (tmp_path / "catalog.signal").unlink()
    ours.change()
    # Nothing is known, so that the catalog is asked, and then both look at the new file.
    assert theirs.value() is None
    for _ in range(3):
        before = theirs.value()
        ours.change()
        assert before is not None and theirs.value() == ours.value() != before
