"""config init, check and show, as typed into a shell."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from pypiserver.settings import toml_file
from pypiserver.settings.config import SETTINGS

from ...commandline import pypi_server

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


@pytest.mark.parametrize(
    ("server", "module"),
    [("cherrypy", "cheroot"), ("paste", "paste"), ("twisted", "twisted"), ("gevent", "gevent"), ("bjoern", "bjoern")],
)
def test_check_finds_a_server_that_is_not_installed(
    server: str, module: str, here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == module else real(name, *more))
    outcome = pypi_server(capsys, "config", "check", "--server", server, "--root", "packages")
    assert outcome.status == 1
    assert f"The server {server} cannot be used (No module named '{module}'); install it" in outcome.err


def test_check_warns_of_what_has_no_effect_or_will_not_work(here: Path, capsys: Capture) -> None:
    (here / "htpasswd").write_text("")
    flags = ("--server", "waitress", "--workers", "4", "-P", "htpasswd", "--root", "packages")
    outcome = pypi_server(capsys, "config", "check", *flags)
    assert outcome.status == 0 and outcome.out.endswith("no mistakes.\n")
    assert [line.partition(":")[0] for line in outcome.err.splitlines()] == ["warning", "warning"]
    assert "htpasswd" in outcome.err and "--workers 4 has no effect" in outcome.err
    report = json.loads(pypi_server(capsys, "config", "check", *flags, "--json").out)
    assert (report["faults"], len(report["warnings"])) == ([], 2)


@pytest.mark.parametrize("flag", ["--stats", "--audit-log", "--catalog", "--log-file", "--pid-file"])
def test_check_makes_no_file(flag: str, here: Path, capsys: Capture) -> None:
    assert pypi_server(capsys, "config", "check", flag, "new", "--root", "packages").status == 0
    outcome = pypi_server(capsys, "config", "check", flag, "none/new", "--root", "packages")
    assert outcome.status == 1 and "none/new" in outcome.err
    assert os.listdir(here) == ["packages"]


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


OTHERS = """
roots = ["packages"]
fallback_mode = "cache"
fallback_url = "https://pypi.example/simple/"
cache_folder = "cache"
min_age = "7d"
{more}
[[upstream]]
name = "pytorch"
url = "https://ada:geheim@download.example/whl/cu130/"
projects = ["torch*", "nvidia-*"]
missing = [403, 404]
"""


def test_check_looks_into_the_lists_about_other_indexes_and_makes_nothing(here: Path, capsys: Capture) -> None:
    (here / "pypiserver.toml").write_text(OTHERS.format(more=""))
    outcome = pypi_server(capsys, "config", "check")
    assert (outcome.status, outcome.err) == (0, "")
    (here / "bad").write_text("not a line of names !!\n")
    (here / "pypiserver.toml").write_text(OTHERS.format(more='deny_projects = "bad"\nallow = "missing"'))
    outcome = pypi_server(capsys, "config", "check")
    assert outcome.status == 1
    assert str(here / "bad") in outcome.err or str(here / "missing") in outcome.err
    (here / "pypiserver.toml").write_text(OTHERS.format(more="offlien = true"))
    assert "'offline'" in pypi_server(capsys, "config", "check").err
    assert not (here / "cache").exists()


def test_check_finds_a_cache_that_is_another_indexs(here: Path, capsys: Capture) -> None:
    (here / "pypiserver.toml").write_text(OTHERS.format(more=""))
    (here / "cache" / "pytorch").mkdir(parents=True)
    (here / "cache" / "pytorch" / ".index").write_text("https://other.example/\n")
    outcome = pypi_server(capsys, "config", "check")
    assert (outcome.status, "https://other.example/" in outcome.err) == (1, True)


def test_tables_are_shown_as_toml_without_passwords(here: Path, capsys: Capture) -> None:
    (here / "pypiserver.toml").write_text(OTHERS.format(more=""))
    shown = pypi_server(capsys, "config", "show").out
    assert "geheim" not in shown
    assert "geheim" not in pypi_server(capsys, "config", "show", "--json").out
    (here / "pypiserver.toml").write_text(shown)
    again = pypi_server(capsys, "config", "check")
    assert (again.status, again.err) == (0, "")
