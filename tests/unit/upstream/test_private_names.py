"""Private names: which projects they mean, and that no one else hears of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypiserver.__main__ import main
from pypiserver.errors import ConfigError
from pypiserver.upstream.private_names import PrivateNames, read_private_names
from tests.fake_index import FakeIndex, serving
from tests.make_archives import make_wheel
from tests.raising import raises


@pytest.mark.parametrize(
    ("pattern", "name", "is_private"),
    [
        ("acme-*", "acme-secret", True),
        ("acme-*", "acme", False),
        ("ACME_*", "acme-secret", True),
        ("acme.core", "acme-core", True),
        ("acme", "acme-core", False),
        ("*", "anything", True),
        ("team[12]", "team2", True),
        ("team[1-3]", "team2", True),
        ("team[!1-3]", "team4", True),
        ("team[!1-3]", "team2", False),
    ],
)
def test_which_names_a_pattern_means(pattern: str, name: str, is_private: bool) -> None:
    assert (name in PrivateNames([pattern])) is is_private


def test_patterns_of_a_file_join_those_given(tmp_path: Path) -> None:
    file = tmp_path / "private.txt"
    file.write_text("# ours\n\n  other-*\n")
    names = read_private_names(["acme-*"], file)
    assert ["acme-x" in names, "other-x" in names, "ours" in names] == [True, True, False]


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with raises(ConfigError, kind="unreadable", setting="private_file", value=tmp_path / "missing"):
        read_private_names([], tmp_path / "missing")


def test_an_update_asks_no_one_about_a_private_project(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("acme_secret", "known"):
        filename, data = make_wheel(name, "1.0")
        (root / filename).write_bytes(data)
    with serving(FakeIndex()) as index:
        index.add("known", "known-1.0-py3-none-any.whl")
        index.add("acme-secret", "acme_secret-9.0-py3-none-any.whl")
        assert main(["update", "--index-url", index.url, "--private", "acme-*", str(root)]) == 0
        assert [path for path, _ in index.seen] == ["/simple/known/"]
    assert "checking 1 package " in capsys.readouterr().out
