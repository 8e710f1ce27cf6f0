"""What ``config check`` finds in the lists about other indexes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypiserver.cli.list_check import warnings_about_lists
from pypiserver.errors import ConfigError
from pypiserver.proxy.policy import Policy, PolicySettings
from tests.raising import raises
from tests.unit.proxy.remote import NOW, project

from ..commandline import pypi_server


def policy(tmp_path: Path, allow: str = "", allowed: str = "", denied: str = "") -> Policy:
    paths = [tmp_path / name for name in ("allow", "allowed", "denied")]
    for path, text in zip(paths, (allow, allowed, denied), strict=True):
        path.write_text(text)
    return Policy(PolicySettings(1.0, None, *paths))


def lines_in(sentences: list[str]) -> list[str]:
    return [sentence.split(" of the list")[0] for sentence in sentences]


def test_exceptions_that_ended_are_named(tmp_path: Path) -> None:
    lists = policy(tmp_path, "a until 2026-11-29 # over\nb until 2026-11-30 # not yet\nc always # never\n")
    found = list(warnings_about_lists(lists, known=None, now=NOW))
    assert lines_in(found) == ["Line 1"]
    assert str(tmp_path / "allow") in found[0]


def test_lines_that_cover_nothing_known_are_named(tmp_path: Path) -> None:
    lists = policy(tmp_path, "a always # x\nb* always # x\n", "requests\nacme-*\nnone\n", "evil\n")
    known = [project("a"), project("acme-sdk"), project("requests")]
    assert lines_in(list(warnings_about_lists(lists, known=known, now=NOW))) == ["Line 2", "Line 3"]
    assert list(warnings_about_lists(lists, known=None, now=NOW)) == []


def test_many_lines_are_counted(tmp_path: Path) -> None:
    lists = policy(tmp_path, "a until 2020-01-01 # over\n" * 25)
    found = list(warnings_about_lists(lists, known=None, now=NOW))
    assert (len(found), found[-1].split()[0]) == (11, "15")


def test_lines_that_cannot_be_used_are_mistakes(tmp_path: Path) -> None:
    with raises(ConfigError, settings=("allow", "allow")):
        list(warnings_about_lists(policy(tmp_path, "a # x\nb always\n"), known=None, now=NOW))


def test_config_check_names_them_and_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = tmp_path / "cache" / "pypi" / ".pages"
    pages.mkdir(parents=True)
    (pages / "requests.json").write_text("{}")
    (tmp_path / "packages").mkdir()
    (tmp_path / "allow").write_text("a until 2020-01-01 # over\nrequests always # kept\nnone always # unknown\n")
    words = ("config", "check", "--fallback-mode", "cache", "--cache-folder", tmp_path / "cache", "--min-age", "7d")
    words = (*words, "--allow", tmp_path / "allow")
    monkeypatch.setenv("PYPISERVER_ROOTS", str(tmp_path / "packages"))
    outcome = pypi_server(capsys, *words)
    said = outcome.out + outcome.err
    assert (outcome.status, "Line 1 of" in said, "Line 2 of" in said, "Line 3 of" in said) == (0, True, False, True)
    (tmp_path / "allow").write_text("a always\n")
    assert pypi_server(capsys, *words).status != 0
    # Nothing was made.
    assert sorted(path.name for path in (tmp_path / "cache").rglob("*")) == [".pages", "pypi", "requests.json"]
