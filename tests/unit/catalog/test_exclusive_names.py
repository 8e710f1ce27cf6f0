"""Where names are exclusive the catalog decides, for every process, which upload of a name came first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypiserver.catalog import Catalog, Digest, Fingerprint, MissingFile, NameOwner, SeenFile
from pypiserver.distributions.filename import parse_filename

from ..catalogs import PLACES, place

ONE, TWO = "11" * 32, "22" * 32


def upload(sha256: str, filename: str = "foo-1.0.zip", *, root: int = 0) -> tuple[SeenFile, Digest]:
    """A file as an object store has it: under a path that its bytes give it."""
    row = Fingerprint(10, 1, 1, "")
    return SeenFile(root, f"{sha256}/{filename}", row, parse_filename(filename)), Digest(
        sha256, metadata=b"Name: foo\n"
    )


@pytest.fixture(params=PLACES)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(place(request.param, request, tmp_path), "roots")
    yield catalog
    catalog.connections.close()


def listed(catalog: Catalog) -> list[str]:
    return [file.path for file in catalog.files()]


def test_the_first_upload_of_a_name_keeps_it(catalog: Catalog) -> None:
    assert catalog.add(*upload(ONE), exclusive=True) is None
    serial = catalog.serial()
    assert catalog.add(*upload(TWO), exclusive=True) == NameOwner(0, f"{ONE}/foo-1.0.zip", ONE)
    assert catalog.add(*upload(TWO, root=1), exclusive=True) == NameOwner(0, f"{ONE}/foo-1.0.zip", ONE)
    assert (listed(catalog), len(catalog.rows_of("foo")), catalog.serial()) == ([f"{ONE}/foo-1.0.zip"], 1, serial)


def test_the_same_bytes_again_are_known_by_their_digest(catalog: Catalog) -> None:
    catalog.add(*upload(ONE), exclusive=True)
    standing = catalog.add(*upload(ONE), exclusive=True)
    assert standing is not None and standing.sha256 == ONE


def test_names_are_not_exclusive_in_folders(catalog: Catalog) -> None:
    assert [catalog.add(*upload(sha256)) for sha256 in (ONE, TWO)] == [None, None]
    assert len(catalog.rows_of("foo")) == 2
    assert catalog.add(*upload(TWO), exclusive=True) is None


def test_replacing_gives_what_had_the_name(catalog: Catalog) -> None:
    assert catalog.replace(*upload(ONE)) is None
    (old,) = catalog.files()
    assert catalog.replace(*upload(TWO)) == NameOwner(0, f"{ONE}/foo-1.0.zip", ONE)
    assert catalog.replace(*upload(TWO)) is None
    assert (listed(catalog), len(catalog.rows_of("foo"))) == ([f"{TWO}/foo-1.0.zip"], 1)
    assert (catalog.metadata(old), catalog.metadata(*catalog.files())) == (None, b"Name: foo\n")
    standing = catalog.add(*upload(ONE), exclusive=True)
    assert standing is not None and standing.sha256 == TWO


def test_a_removed_file_gives_its_name_back(catalog: Catalog) -> None:
    catalog.add(*upload(ONE), exclusive=True)
    catalog.apply([], [MissingFile(0, f"{ONE}/foo-1.0.zip", Fingerprint(11, 1, 1, ""))])
    assert catalog.add(*upload(TWO), exclusive=True) is not None, "it is another file than the one that was seen to go"
    catalog.apply([], [MissingFile(0, f"{ONE}/foo-1.0.zip", Fingerprint(10, 1, 1, ""))])
    assert catalog.add(*upload(TWO), exclusive=True) is None
    assert listed(catalog) == [f"{TWO}/foo-1.0.zip"]


def test_of_racing_uploads_exactly_one_wins(tmp_path: Path) -> None:
    path, names = tmp_path / "catalog.sqlite", [f"foo-{number}.0.zip" for number in range(5)]
    begin = threading.Barrier(8)
    stored: list[tuple[str, str]] = []
    refused: list[tuple[str, str]] = []

    def race(number: int) -> None:
        catalog = Catalog(path, "roots")
        sha256 = f"{number:064x}"
        begin.wait()
        for name in names:
            standing = catalog.add(*upload(sha256, name), exclusive=True)
            (refused if standing else stored).append((name, standing.sha256 if standing else sha256))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for name, _ in stored) == names
    assert set(refused) == set(stored) and len(refused) == 7 * len(names)
    assert sorted((file.filename, file.sha256) for file in Catalog(path, "roots").files()) == sorted(stored)
