"""The logins of netrc: which file counts, and from when a change of it does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pypiserver.upstream.netrc_file import SETTLED_SECONDS, NetrcFile

ENTRY = "machine pypi.example login ada password {}\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "netrc", ENTRY.format("lovelace"))


def later(seconds: float = 10.0) -> float:
    return time.time() + seconds


def test_the_entry_of_the_host_counts(path: Path) -> None:
    netrc = NetrcFile({"NETRC": str(path)})
    assert netrc.login("pypi.example") == ("ada", "lovelace")
    assert netrc.login("other.example") is None


def test_an_unchanged_file_is_not_parsed_again(path: Path) -> None:
    netrc = NetrcFile({"NETRC": str(path)}, now=later)
    entries = netrc._entries(str(path))
    assert entries is not None
    assert netrc._entries(str(path)) is entries


def test_a_change_counts_at_once(path: Path) -> None:
    netrc = NetrcFile({"NETRC": str(path)}, now=later)
    assert netrc.login("pypi.example") == ("ada", "lovelace")
    write(path, ENTRY.format("babbage's engine"))
    assert netrc.login("pypi.example") is None
    write(path, ENTRY.format("babbage"))
    assert netrc.login("pypi.example") == ("ada", "babbage")
    path.unlink()
    assert netrc.login("pypi.example") is None


def test_a_file_that_changed_a_moment_ago_is_read_again_although_it_looks_the_same(path: Path) -> None:
    netrc = NetrcFile({"NETRC": str(path)}, now=lambda: os.stat(path).st_ctime + SETTLED_SECONDS / 2)
    first = netrc._entries(str(path))
    assert first is not None
    assert netrc._entries(str(path)) is not first


def test_an_unreadable_file_counts_as_missing(tmp_path: Path) -> None:
    assert NetrcFile({"NETRC": str(tmp_path)}).login("pypi.example") is None
    assert NetrcFile({"NETRC": str(write(tmp_path / "x", "machine\n"))}).login("pypi.example") is None
    assert NetrcFile({"NETRC": "\0"}).login("pypi.example") is None
