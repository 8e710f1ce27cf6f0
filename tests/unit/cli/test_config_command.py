"""config init, check and show, as typed into a shell."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from pypiserver.settings import toml_file
from pypiserver.settings.config import SETTINGS

from ..commandline import pypi_server

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "packages").mkdir()
    return tmp_path


def test_init_makes_a_file_with_what_is_given_and_the_rest_as_comments(here: Path, capsys: Capture) -> None:
    flags = ("-p", "81", "--root", "packages", "--disable-fallback", "--private", "acme-*", "-a", "update,list")
    outcome = pypi_server(capsys, "config", "init", *flags, "-P", "htpasswd")
    assert outcome == (0, "Made pypiserver.toml; serve with: pypi-server --config pypiserver.toml\n", "")
    written = (here / "pypiserver.toml").read_text()
    assert [name for name, each in SETTINGS.items() if each.flags and f"{name} = " not in written] == []
    given = {name: each.value for name, each in toml_file.read(Path("pypiserver.toml")).items()}
    assert given == {
        "roots": [str(here / "packages")], "port": 81, "fallback": False, "private": ["acme-*"],
        "authenticate": ["list", "update"], "password_file": str(here / "htpasswd"),
    }  # fmt: skip
    (here / "htpasswd").write_text("")
    assert pypi_server(capsys, "config", "check").out == "pypiserver.toml: 6 settings given, no mistakes.\n"


def test_init_replaces_no_file(here: Path, capsys: Capture) -> None:
    (here / "mine.toml").write_text("port = 82\n")
    outcome = pypi_server(capsys, "config", "init", "mine.toml", "-p", "81")
    assert outcome.status == 2 and "is there already" in outcome.err
    assert (here / "mine.toml").read_text() == "port = 82\n"
    assert "cannot be written" in pypi_server(capsys, "config", "init", "none/x.toml").err


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no mode there")
def test_check_finds_all_that_would_end_a_start(here: Path, capsys: Capture) -> None:
    (here / "log.conf").write_text("[loggers]\n")
    flags = ("--server", "diesel", "--log-file", "none/x.log", "--pid-file", "packages", "--catalog", "none/c.sqlite",
             "--log-conf", "log.conf", "-i", "192.0.2.77", "-P", "nobody", "--root", "missing")  # fmt: skip
    outcome = pypi_server(capsys, "config", "check", *flags, "--json")
    assert outcome.status == 1
    faults = "\n".join(json.loads(outcome.out)["faults"])
    for said in ("'missing' does not exist", "diesel", "none/x.log", "file packages cannot be written", "c.sqlite",
                 "log.conf", "no address 192.0.2.77", "password file nobody"):  # fmt: skip
        assert said in faults, said
    assert sorted(os.listdir(here)) == ["log.conf", "packages"]


def test_check_finds_a_file_that_is_no_catalog(here: Path, capsys: Capture) -> None:
    (here / "htpasswd").write_text("ada:x\n")
    sentence = "The file htpasswd of --catalog is no catalog of pypiserver; name another one."
    for argv, status in ((("config", "check"), 1), (("run",), 2)):
        outcome = pypi_server(capsys, *argv, "--root", "packages", "--catalog", "htpasswd")
        assert (outcome.status, sentence in outcome.err) == (status, True)
    assert (here / "htpasswd").read_text() == "ada:x\n"


def test_an_address_that_is_in_use_is_no_mistake(here: Path, capsys: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = pypi_server(capsys, "config", "check", "-i", "127.0.0.1", "-p", port, "--root", "packages")
    assert outcome.status == 0, outcome


def test_one_setting_is_counted_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    assert pypi_server(capsys, "config", "check", "--private", "acme-*").out.endswith(
        ": 1 setting given, no mistakes.\n"
    )
