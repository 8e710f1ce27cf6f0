"""Catalogs in the cache folder: which are needed, and which can go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import pypiserver
from pypiserver.catalog.sqlite.cache_folder import CachedCatalog, cached_catalogs, delete
from pypiserver.catalog.sqlite.leader_lock import FileLeaderLock

from ...commandline import pypi_server
from ...wsgi import Client

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two folders that were served without --catalog."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = [tmp_path / "here", tmp_path / "gone"]
    for folder in folders:
        folder.mkdir()
        application = pypiserver.app(root=folder)
        assert Client(application).get("/simple/").status == 200
        application.close()
    return folders


def test_catalogs_are_listed_with_what_they_describe(served: list[Path], capsys: Capture) -> None:
    assert sorted(each.roots for each in cached_catalogs()) == sorted((str(folder),) for folder in served)
    shutil.rmtree(served[1])
    outcome = pypi_server(capsys, "cache")
    assert outcome.status == 0 and f"{served[1]}  (gone)\n" in outcome.out
    assert outcome.out.endswith("--yes to do it.\n")
    assert len(list(cached_catalogs())) == 2


def test_those_of_folders_that_are_gone_are_deleted_when_asked_for(served: list[Path], capsys: Capture) -> None:
    shutil.rmtree(served[1])
    rows = json.loads(pypi_server(capsys, "cache", "--yes", "--json").out)["catalogs"]
    assert sorted((row["roots"], row["deleted"]) for row in rows) == [
        ([str(served[1])], True),
        ([str(served[0])], False),
    ]
    assert [each.roots for each in cached_catalogs()] == [(str(served[0]),)]


def test_one_that_is_in_use_stays(served: list[Path], capsys: Capture) -> None:
    shutil.rmtree(served[1])
    (cached,) = (each for each in cached_catalogs() if each.is_gone)
    lock = FileLeaderLock(Path(f"{cached.folder / 'catalog.sqlite'}.lock"))
    assert lock.acquire()
    assert not delete(cached)
    assert "servers use them now" in pypi_server(capsys, "cache", "--yes").out
    lock.release()
    assert delete(cached) and not cached.folder.exists()


def test_a_file_that_is_no_catalog_is_of_another_version(served: list[Path]) -> None:
    (one, _) = cached_catalogs()
    for file in one.folder.iterdir():
        file.unlink()
    (one.folder / "catalog.sqlite").write_bytes(b"junk")
    assert [each.is_needless for each in cached_catalogs()] == [True, False]


def test_a_bucket_is_never_called_gone() -> None:
    assert not CachedCatalog(Path(), ("s3://bucket",), 0, 0, True).is_gone


def test_no_cache_folder_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    assert pypi_server(capsys, "cache") == (0, "There are no catalogs in the cache folder.\n", "")
