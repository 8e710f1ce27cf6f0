"""The other indexes in their order, their names and their credentials, which are in no value that is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pypiserver.errors import ConfigError
from pypiserver.factory.upstreams import logins_of, upstreams_of
from pypiserver.settings.config import Config, default_fallback_url, make_config
from pypiserver.upstream.values import Upstream

URL = "https://pypi.example/simple/"


def made(**keywords: Any) -> Config:
    return make_config(roots="p", fallback_mode="cache", **keywords)


@pytest.fixture(autouse=True)
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "netrc"
    file.write_text("")
    monkeypatch.setenv("NETRC", str(file))
    return file


def test_the_public_index_is_called_pypi() -> None:
    assert upstreams_of(made()) == (Upstream("pypi", default_fallback_url()),)
    assert upstreams_of(made(fallback_url=default_fallback_url().rstrip("/"))) == upstreams_of(made())


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (URL, "pypi-example"),
        ("http://127.0.0.1:8081/simple/", "127-0-0-1-8081"),
        ("http://[::1]:8081/simple", "1-8081"),
        ("https://ada:geheim@Nexus.Example/repository/pypi/simple", "nexus-example"),
        (f"https://{'a' * 60}.example/", "a" * 40),
    ],
)
def test_another_index_is_called_as_its_host(url: str, name: str) -> None:
    assert [each.name for each in upstreams_of(made(fallback_url=url))] == [name]


def test_tables_come_first_and_an_index_is_not_asked_twice() -> None:
    tables = [{"name": "a", "url": "https://a.example/simple", "projects": ["b*", "!bc"]}, {"name": "c", "url": URL}]
    found = upstreams_of(made(upstream=tables, fallback_url=URL))
    assert [(each.name, each.url) for each in found] == [("a", "https://a.example/simple/"), ("c", URL)]
    assert [found[0].projects.matches(name) for name in ("bd", "bc", "x")] == [True, False, False]  # type: ignore[arg-type]
    # It is asked for the other projects, too.
    tables[1]["projects"] = ["x"]
    assert [each.name for each in upstreams_of(made(upstream=tables, fallback_url=URL))] == ["a", "c", "pypi-example"]
    tables[0]["name"] = "pypi-example"
    assert upstreams_of(made(upstream=tables, fallback_url=URL))[2].name == "pypi-example-2"


def test_every_key_of_a_table_arrives() -> None:
    table = {
        "name": "a", "url": URL, "projects": ["x"], "missing": [403], "hosts": ["http://f:1"], "min_age": "1d",
        "unknown_age": "first-seen", "formats": ["wheel"], "platforms": ["any"], "pythons": ["py3"],
        "max_file_size": "1M",
    }  # fmt: skip
    found = upstreams_of(made(upstream=[table]))[0]
    assert (found.missing, found.hosts, found.min_age) == ({403}, {"http://f:1"}, 86_400)
    assert (found.unknown_age, found.formats, found.platforms) == ("first-seen", ("wheel",), ("any",))
    assert (found.pythons, found.max_file_size) == (("py3",), 1 << 20)


def logins(environ: dict[str, str], **keywords: Any) -> dict[str, tuple[str, str]]:
    config = made(**keywords)
    return logins_of(config, upstreams_of(config), environ)


def test_credentials_come_from_variables_then_the_url_then_netrc(netrc: Path, tmp_path: Path) -> None:
    netrc.write_text("machine pypi.example login n password nn\n")
    secret = tmp_path / "secret"
    secret.write_text("ff\n")
    url = "https://u:u%40u@pypi.example/simple/"
    user = {"PYPISERVER_UPSTREAM_PYPI_EXAMPLE_USER": "v"}
    assert logins({}, fallback_url=URL) == {"pypi-example": ("n", "nn")}
    assert logins({}, fallback_url=url) == {"pypi-example": ("u", "u@u")}
    both = {**user, "PYPISERVER_UPSTREAM_PYPI_EXAMPLE_PASSWORD": "vv"}
    assert logins(both, fallback_url=url) == {"pypi-example": ("v", "vv")}
    file = {**user, "PYPISERVER_UPSTREAM_PYPI_EXAMPLE_PASSWORD_FILE": str(secret)}
    assert logins(file, fallback_url=url) == {"pypi-example": ("v", "ff")}
    assert logins({}, fallback_url="https://other.example/") == {}


def test_each_index_has_its_own() -> None:
    tables = [{"name": "a", "url": "https://x:1@a.example/"}, {"name": "b", "url": "https://b.example/"}]
    assert logins({}, upstream=tables, fallback_url="https://y:2@c.example/") == {
        "a": ("x", "1"),
        "c-example": ("y", "2"),
    }


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({"USER": "a"}, "missing"),
        ({"PASSWORD": "a"}, "missing"),
        ({"USER": "a", "PASSWORD": "b", "PASSWORD_FILE": "c"}, "missing"),
        ({"USER": "a", "PASSWORD_FILE": "/no/such/file"}, "unreadable"),
    ],
)
def test_half_a_login_is_a_mistake(environ: dict[str, str], kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        logins({f"PYPISERVER_UPSTREAM_PYPI_EXAMPLE_{name}": value for name, value in environ.items()}, fallback_url=URL)
    assert caught.value.kind == kind


def test_credentials_of_no_index_are_a_mistake() -> None:
    with pytest.raises(ConfigError) as caught:
        logins({"PYPISERVER_UPSTREAM_PIPY_USER": "a"}, fallback_url=URL)
    assert caught.value.kind == "unknown"


def test_no_value_has_a_password() -> None:
    tables = [{"name": "a", "url": "https://ada:geheim@a.example/simple/"}]
    config = made(upstream=tables, fallback_url="https://bob:geheim@b.example/simple/")
    assert "geheim" not in repr(upstreams_of(config))
