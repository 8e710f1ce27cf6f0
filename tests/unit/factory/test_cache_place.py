"""The cache: where it is, and that what one index offered is never another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypiserver.errors import ConfigError
from pypiserver.factory.cache_place import cache_folder_of, claim_folders, refuse_overlap
from pypiserver.settings.config import make_config
from pypiserver.upstream.values import Upstream

FIRST = Upstream("pypi", "https://pypi.example/simple/")


def test_the_default_is_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_folder_of(make_config(roots="p")) == tmp_path / "pypiserver" / "indexes"
    assert cache_folder_of(make_config(roots="p", cache_folder=tmp_path / "x")) == tmp_path / "x"


@pytest.mark.parametrize("cache", ["packages", "packages/cache", "."])
def test_a_cache_among_packages_is_a_mistake(tmp_path: Path, cache: str) -> None:
    config = make_config(roots=tmp_path / "packages", cache_folder=tmp_path / cache)
    with pytest.raises(ConfigError) as caught:
        refuse_overlap(config, cache_folder_of(config))
    assert (caught.value.kind, caught.value.setting) == ("contradiction", "cache_folder")


def test_a_cache_beside_packages_is_right(tmp_path: Path) -> None:
    config = make_config(roots=tmp_path / "packages", cache_folder=tmp_path / "packages2")
    refuse_overlap(config, cache_folder_of(config))


def test_an_index_of_another_address_does_not_use_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    claim_folders(folder, [FIRST], makes=False)
    assert not folder.exists()
    claim_folders(folder, [FIRST])
    claim_folders(folder, [FIRST])
    with pytest.raises(ConfigError) as caught:
        claim_folders(folder, [Upstream("pypi", "https://other.example/simple/")])
    assert caught.value.kind == "contradiction"
    claim_folders(folder, [Upstream("other", "https://other.example/simple/")])


def test_a_cache_that_cannot_be_made_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        claim_folders(tmp_path / "file", [FIRST])
    assert caught.value.kind == "unusable"
