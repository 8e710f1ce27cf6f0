"""A catalog's file is opened, or another one in its place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pypiserver.catalog import (
    Catalog,
    CatalogReplaced,
    Fingerprint,
    SeenFile,
)
from pypiserver.distributions.filename import parse_filename


def found(
    path: str, *, root: int = 0, size: int | None = 10, mtime_ns: int = 1, inode: int = 5, **facts: object
) -> SeenFile:
    dist = parse_filename(path.rpartition("/")[2])
    return SeenFile(root, path, Fingerprint(size, mtime_ns, inode, ""), dist, **facts)  # type: ignore[arg-type]


def test_a_catalog_of_another_identity_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    Catalog(path, "one").apply([found("foo-1.0.zip")])
    assert Catalog(path, "one").counts() == (1, 1)
    assert Catalog(path, "two").counts() == (0, 0)


def test_a_damaged_file_is_built_again(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    assert Catalog(path, "roots").counts() == (0, 0)


def test_a_catalog_made_again_at_once_starts_above_the_one_before(tmp_path: Path) -> None:
    serials = []
    for number in range(5):
        catalog = Catalog(tmp_path / f"{number}.sqlite", "roots")
        catalog.apply([found("foo-1.0.zip")])
        serials.append(catalog.serial())
        catalog.connections.close()
    # A page cached under one of them must not be taken for a page of the next catalog.
    assert sorted(set(serials)) == serials


def test_a_deleted_file_is_noticed(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite", "roots")
    catalog.apply([found("foo-1.0.zip")])
    assert not catalog.connections.is_deleted()
    (tmp_path / "catalog.sqlite").unlink()
    assert catalog.connections.is_deleted()


def test_a_thread_that_opens_a_deleted_file_continues_with_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    catalog = Catalog(path, "roots")
    catalog.apply([found("foo-1.0.zip")])
    for part in tmp_path.iterdir():
        part.unlink()
    with ThreadPoolExecutor(1) as pool:
        # It had no connection yet, and must not make a file where there is none.
        error = pool.submit(catalog.counts).exception()
        assert isinstance(error, CatalogReplaced)
        assert catalog.connections.is_lost(error)
        catalog.connections.recover(error)
        assert (catalog.connections.place(), pool.submit(catalog.counts).result()) == (str(path), (0, 0))
    assert catalog.counts() == (0, 0)
