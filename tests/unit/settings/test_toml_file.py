"""``pypiserver.toml``: every setting, its place among flags and variables, and ``pypi-server config``."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pypiserver.__main__ import main
from pypiserver.cli import parser
from pypiserver.cli.commands.check import Check
from pypiserver.cli.commands.run import Run
from pypiserver.errors import ConfigError
from pypiserver.settings import config
from pypiserver.settings.config import SETTINGS, Config
from tests.raising import raises

Files = Path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def settings(*argv: str, **environ: str) -> Config:
    command = parser.parse(argv, environ)
    assert isinstance(command, Run)
    return command.config


def test_every_kind_of_value_can_be_written(here: Path) -> None:
    (here / "pypiserver.toml").write_text(
        """
        roots = ["packages", "/srv/more"]
        overwrite = true
        max_upload_size = "500M"
        port = 9000
        authenticate = ["update", "list"]
        password_file = "secret/htpasswd"
        fallback = false
        private = ["acme-*"]
        trusted_proxy = "10.0.0.0/8, 192.0.2.1"
        hash_algo = "off"
        verbosity = 2
        threads = "auto"
        """
    )
    made = settings()
    assert made == config.make_config(
        roots=[here / "packages", "/srv/more"], overwrite=True, max_upload_size=500 << 20, port=9000,
        authenticate="update,list", password_file=here / "secret" / "htpasswd", fallback=False, private="acme-*",
        trusted_proxy="10.0.0.0/8,192.0.2.1", hash_algo="off", verbosity=2,
    )  # fmt: skip
    assert not made.roots_are_default


def test_a_flag_wins_over_a_variable_and_that_over_the_file(here: Path) -> None:
    (here / "pypiserver.toml").write_text('port = 1\nworkers = 1\nthreads = 1\nredirect_to_fallback = true\nroot = "a"')
    made = settings("-p", "3", "b", PYPISERVER_PORT="2", PYPISERVER_WORKERS="2", PYPISERVER_DISABLE_FALLBACK="yes")
    assert (made.port, made.workers, made.threads, made.fallback, made.roots) == (3, 2, 1, False, (Path("b"),))


def test_the_file_can_be_named_by_flag_or_variable_or_left_out(here: Path, tmp_path: Path) -> None:
    (here / "pypiserver.toml").write_text("port = 1")
    other = tmp_path / "other.toml"
    other.write_text('port = 2\npassword_file = "."\nauthenticate = "."\nlog_file = "x.log"\nwelcome = "~/w.html"')
    assert settings().port == 1
    made = settings("--config", str(other))
    assert (made.port, made.log_file, made.htpasswd) == (2, tmp_path / "x.log", None)
    assert made.welcome == Path("~/w.html").expanduser()
    assert settings(PYPISERVER_CONFIG=str(other)).port == 2
    assert settings("--config", "none", PYPISERVER_CONFIG=str(other)).port == 8080
    command = parser.parse(["check", "--config", str(other)], {})
    assert isinstance(command, Check) and command.config.port == 2


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("prot = 1", [("unknown", "prot", 1)]),
        ("port = 'x'", [("value", "port", "x")]),
        ("port = true", [("value", "port", True)]),
        ("host = 1\nprot = 2", [("unknown", "prot", 2)]),
        ("[server]\nport = 1", [("section", "config", Path("pypiserver.toml"))]),
        ("port = ", [("value", "config", Path("pypiserver.toml"))]),
        ("roots = 5", [("value", "roots", 5)]),
        ("root = 'a'\nroots = '/b'", [("twice", "roots", "/b")]),
        ("auther = 'x'", [("value", "auther", "x")]),
        ("config_file = 'x'", [("unknown", "config_file", "x")]),
        ("log_file = ''", [("value", "log_file", "")]),
        ("port = 1\n" + "x = " + "[" * 5000, [("value", "config", Path("pypiserver.toml"))]),
    ],
)
def test_a_mistake_is_named_with_file_and_setting(
    here: Path, text: str, mistakes: list[tuple[str, str, object]]
) -> None:
    (here / "pypiserver.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        settings()
    assert [(each.kind, each.setting, each.value) for each in caught.value.mistakes] == mistakes
    assert all("pypiserver.toml" in each.sentence for each in caught.value.mistakes)


def test_a_file_that_cannot_be_read_is_named(here: Path) -> None:
    with raises(ConfigError, kind="unreadable", setting="config", value=Path("missing.toml")):
        settings("--config", "missing.toml")
    (here / "wheels").mkdir()
    with raises(ConfigError, kind="folder", setting="config", value=Path("wheels")):
        settings("--config", "wheels")
    (here / "binary.toml").write_bytes(b"\xff\xfe")
    with raises(ConfigError, kind="value", setting="config", value=Path("binary.toml")):
        settings("--config", "binary.toml")


def test_show_tells_values_and_sources_and_no_secret(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "pypiserver.toml").write_text('port = 9000\nfallback_url = "https://alice:sesame@pypi.example/simple/"')
    monkeypatch.setenv("PYPISERVER_WORKERS", "3")
    assert main(["config", "show", "-v", "-r", "packages"]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert "port = 9000  # pypiserver.toml" in lines
    assert "workers = 3  # PYPISERVER_WORKERS" in lines
    assert "verbosity = 1  # -v" in lines
    assert 'roots = ["packages"]  # -r' in lines
    assert "overwrite = false  # default" in lines
    assert "# catalog = ...  # a file in the user's cache folder" in lines
    assert "sesame" not in shown
    assert len(lines) == len(SETTINGS) - 1


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("postgresql://alice:sesame@db.example/pypi", "postgresql://***@db.example/pypi"),
        ("postgresql://db.example/pypi?password=sesame", "postgresql://db.example/pypi?password=***"),
    ],
)
def test_a_catalog_in_a_database_is_no_file_and_shows_no_password(
    here: Path, capsys: pytest.CaptureFixture[str], written: str, shown: str
) -> None:
    (here / "pypiserver.toml").write_text(f'catalog = "{written}"\nroots = ["packages"]')
    assert settings().catalog == written
    assert main(["config", "show"]) == 0
    assert f'catalog = "{shown}"  # pypiserver.toml' in capsys.readouterr().out


def test_what_show_prints_is_a_configuration_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["-P", ".", "-a", ".", "--hash-algo", "off", "--private", "a-*", "--max-upload-size", "1G", str(here)]
    assert main(["config", "show", *flags[:-1], "-r", flags[-1]]) == 0
    (here / "shown.toml").write_text(capsys.readouterr().out)
    again, first = settings("--config", "shown.toml"), settings(*flags)
    assert replace(again, roots_are_default=False) == first


def test_show_in_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pypiserver.toml").write_text("port = 9000")
    assert main(["config", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["file"], shown["faults"]) == ("pypiserver.toml", [])
    assert shown["settings"]["port"] == {"value": 9000, "source": "pypiserver.toml"}
    assert shown["settings"]["catalog"] == {"value": None, "source": "default"}
    assert list(shown["settings"]) == list(SETTINGS)


def test_check_names_every_mistake(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad.toml").write_text("prot = 1\nworkers = 0")
    assert main(["config", "check", "bad.toml"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [re.sub(r".*bad.toml: (\w+).*", r"\1", line) for line in err.splitlines()] == ["prot", "workers"]
    assert main(["config", "check", "bad.toml", "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["faults"]) == 2


def test_check_looks_at_the_files_that_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "good.toml").write_text('roots = "packages"\npassword_file = "htpasswd"')
    assert main(["config", "check", "good.toml"]) == 1
    err = capsys.readouterr().err
    assert f"The folder '{here / 'packages'}' does not exist" in err
    assert f"The password file {here / 'htpasswd'} cannot be read" in err
    (here / "packages").mkdir()
    (here / "htpasswd").write_text("")
    (here / "htpasswd").chmod(0o600)
    assert main(["config", "check", "good.toml"]) == 0
    assert capsys.readouterr().out == "good.toml: 2 settings given, no mistakes.\n"
    assert sorted(path.name for path in here.iterdir()) == ["good.toml", "htpasswd", "packages"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is newer")
def test_the_core_needs_tomli_only_where_python_has_none() -> None:
    assert "tomli" not in sys.modules or "pypiserver.settings.toml_file" in sys.modules
    from pypiserver.settings import toml_file

    assert toml_file.tomllib.__name__ == "tomllib"
