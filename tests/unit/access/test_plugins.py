"""What ``--auth`` finds, and what it says where that cannot be used."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

import pypiserver
from pypiserver.access.plugins import load_check
from pypiserver.cli.config_check import mistakes_in
from pypiserver.errors import ConfigError
from pypiserver.settings.config import Config, make_config

from ..wsgi import Client
from .credentials import basic

Install = Callable[..., None]
_NUMBERS = itertools.count()
# Words of the plug-in's own that its check is made of.
CODE = """
from pypiserver import Principal

def check_for(argument):
    {before}
    return lambda user, password: Principal(user.title(), frozenset([argument])) if password == "sesame" else False
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package with a plug-in; every module has a name of its own, as it stays imported."""

    def install(name: str, *, package: str = "acme-login", before: str = "", code: str = CODE, value: str = "") -> None:
        module = f"plug_in_{next(_NUMBERS)}"
        folder = tmp_path / module
        folder.mkdir()
        (folder / f"{module}.py").write_text(code.format(before=before or "pass"))
        information = folder / f"{package.replace('-', '_')}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        target = value or f"{module}:check_for"
        (information / "entry_points.txt").write_text(f"[pypiserver.auth]\n{name} = {target}\n")
        monkeypatch.syspath_prepend(folder)

    return install


@pytest.mark.parametrize(
    ("auth", "argument"), [("acme", ""), ("acme:", ""), ("acme:staff", "staff"), ("acme:ldap://a:1/b", "ldap://a:1/b")]
)
def test_a_plug_in_is_made_for_its_argument(install: Install, auth: str, argument: str) -> None:
    install("acme")
    check = load_check(auth)
    assert check("joe", "sesame") == pypiserver.Principal("Joe", frozenset([argument]))
    assert check("joe", "wrong") is False


def mistake(auth: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_check(auth)
    assert (raised.value.setting, raised.value.value) == ("auth", auth)
    return str(raised.value)


def test_a_plug_in_that_is_not_installed_is_named_with_those_that_are(install: Install) -> None:
    assert "none is installed" in mistake("acme:x")
    install("ldap")
    install("pam", package="other-login")
    assert "ldap (acme-login 1.0), pam (other-login 1.0)" in mistake("acme")


def test_two_packages_with_one_plug_in_are_no_choice(install: Install) -> None:
    install("acme")
    install("acme", package="other-login")
    assert "acme-login 1.0" in mistake("acme") and "other-login 1.0" in mistake("acme")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"code": "import no_such_module"}, "No module named 'no_such_module'"),
        ({"code": "raise SystemError('broken')"}, "SystemError: broken"),
        ({"value": "no_such_module:check_for"}, "no_such_module"),
        ({"value": "os:no_such_function"}, "no_such_function"),
        ({"before": "raise ValueError('No file /etc/acme.ini.')"}, "cannot be used: No file /etc/acme.ini."),
        ({"before": "{}['host']"}, "KeyError: 'host'"),
        ({"before": "return True"}, "returned True"),
    ],
)
def test_a_plug_in_that_cannot_be_used_says_why(install: Install, options: dict[str, str], reason: str) -> None:
    install("acme", **options)
    said = mistake("acme")
    assert reason in said and "acme-login 1.0" in said and said.startswith("--auth acme: ")


def test_the_check_of_the_settings_finds_it(root: Path, install: Install) -> None:
    install("acme", before="raise ValueError('the file is missing')")
    for auth in ("acme", "none"):
        (found,) = mistakes_in(make_config(root=root, auth=auth, port=0))
        assert (found.setting, found.value) == ("auth", auth)


def test_who_logs_in_by_a_plug_in(serve: Callable[..., Client], install: Install, tmp_path: Path) -> None:
    install("acme")
    passwords = tmp_path / "htpasswd"
    passwords.write_text("ci:local\n")
    passwords.chmod(0o600)
    client = serve(auth="acme:staff", password_file=passwords, authenticate="list")
    for text, status in (("joe:sesame", 200), ("joe:x", 401), ("ci:local", 200), ("ci:sesame", 401), ("joe:", 401)):
        assert client.get("/simple/", HTTP_AUTHORIZATION=basic(text)).status == status, text


@pytest.mark.parametrize("written", ["", ":x", "a b", "-x", "a/b:c", "x-"])
def test_what_is_no_name_of_a_plug_in(written: str) -> None:
    if written:
        with pytest.raises(ConfigError):
            make_config(auth=written)
    else:
        assert make_config(auth=written).auth is None


def test_settings_that_contradict_a_plug_in() -> None:
    for settings in ({"auther": lambda user, password: True}, {"authenticate": ".", "password_file": "."}):
        with pytest.raises(ConfigError):
            make_config(auth="acme", **settings)
    assert make_config(auth="acme", password_file=".").refused_to_everyone == frozenset()
    assert isinstance(make_config(auth="acme"), Config)
