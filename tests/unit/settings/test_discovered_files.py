"""Configuration that was found and not named is read only where no one else can have put it there."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from pypiserver.cli import banner, parser
from pypiserver.cli.commands.run import Run
from pypiserver.errors import ConfigError
from pypiserver.observability import logging_setup
from pypiserver.settings.config import make_config
from pypiserver.settings.discovered_files import objection
from tests.raising import raises

from ..observability.test_logging_setup import CONF

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
EVIL = CONF.replace("args = ('from-conf',)", "args = (__import__('pathlib').Path('ran-code').touch() or 'from-conf',)")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging_setup, "_warned", [])
    return tmp_path


def make_strange(file: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "open to all":
        file.chmod(0o666)
    else:
        # As for another user than its owner.
        user = os.getuid() + 1
        os.chown(file, user, -1) if os.getuid() == 0 else monkeypatch.setattr(os, "geteuid", lambda: user)


@pytest.mark.parametrize("how", ["open to all", "of another user", "served"])
def test_a_log_conf_that_others_can_have_put_there_runs_no_code(
    how: str, here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (here / "log.conf").write_text(EVIL, "utf-8")
    if how == "served":
        config = make_config(roots=[here.parent])
    else:
        make_strange(here / "log.conf", how, monkeypatch)
        config = make_config(roots=[here / "packages"])
    with caplog.at_level(logging.WARNING):
        logging_setup.configure(config)
        logging_setup.configure(config)
    assert not (here / "ran-code").exists()
    assert logging_setup.found_conf(config) is None
    said = [each.getMessage() for each in caplog.records if "log.conf" in each.getMessage()]
    assert len(said) == 1 and "--log-conf" in said[0]
    logging_setup.configure(make_config(roots=[here / "packages"], log_conf="log.conf"))
    assert (here / "ran-code").exists(), "what is named is meant"


@pytest.mark.parametrize("how", ["open to all", "of another user", "served"])
def test_settings_that_others_can_have_put_there_are_a_mistake(
    how: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = "." if how == "served" else "packages"
    (here / "pypiserver.toml").write_text(f'roots = ["{served}"]\nport = 81\n')
    if how != "served":
        make_strange(here / "pypiserver.toml", how, monkeypatch)
    with raises(ConfigError, kind="strange", setting="config", value=Path("pypiserver.toml")):
        parser.parse([], {})
    named = parser.parse(["--config", "pypiserver.toml"], {})
    assert isinstance(named, Run) and named.config.port == 81
    left_out = parser.parse(["--config", "none"], {})
    assert isinstance(left_out, Run) and left_out.config.port == 8080


def test_what_was_found_is_named_in_the_banner(here: Path) -> None:
    (here / "log.conf").write_text(CONF, "utf-8")
    (here / "pypiserver.toml").write_text('roots = ["packages"]\n')
    command = parser.parse([], {})
    assert isinstance(command, Run) and command.file is not None
    facts = banner.StartupInfo(
        "granian", 80, [], None, config_file=command.file.absolute(), log_conf=logging_setup.found_conf(command.config)
    )
    said = banner.render(command.config, facts)
    assert f"\n  settings:  {here / 'pypiserver.toml'}\n" in said
    assert f"\n  log conf:  {here / 'log.conf'}\n" in said


@pytest.mark.parametrize(
    ("flags", "index"),
    [
        (("--server-base-url", "https://pkgs.example/"), "https://pkgs.example/simple/ (listens on 127.0.0.1:43121)"),
        (("--server-base-url", "http://127.0.0.1:43121"), "http://127.0.0.1:43121/simple/"),
        ((), "http://127.0.0.1:43121/simple/"),
        (("--server-base-url", "/prefix/"), "http://127.0.0.1:43121/prefix/simple/"),
        (
            ("--server-base-url", "http://pkgs.example", "-i", "::"),
            "http://pkgs.example/simple/ (listens on [::]:43121, all interfaces)",
        ),
    ],
)
def test_the_banner_names_the_port_where_the_address_of_the_index_has_another(
    flags: tuple[str, ...], index: str, here: Path
) -> None:
    command = parser.parse(["-p", "0", "-i", "127.0.0.1", *flags, "packages"], {})
    assert isinstance(command, Run)
    assert f"\n  index:     {index}\n" in banner.render(command.config, banner.StartupInfo("granian", 43121, [], None))


def test_a_link_is_judged_by_what_it_leads_to(here: Path) -> None:
    (here / "served").mkdir()
    (here / "served" / "x").write_text("")
    (here / "log.conf").symlink_to(here / "served" / "x")
    assert objection(here / "log.conf", [here / "served"]) != ""
    assert objection(here / "log.conf", [here / "another"]) == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such rights")
@pytest.mark.parametrize(("mode", "is_objected"), [(0o755, False), (0o1777, False), (0o777, True)])
def test_a_folder_in_which_everyone_may_replace_it_is_an_objection(
    tmp_path: Path, mode: int, is_objected: bool
) -> None:
    (tmp_path / "log.conf").write_text("")
    tmp_path.chmod(mode)
    assert (objection(tmp_path / "log.conf") != "") is is_objected
