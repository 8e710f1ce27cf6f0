"""Settings by keyword, environment and paste file."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import ipaddress
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bottle
import pytest

from pypiserver.errors import ConfigError, Mistake
from pypiserver.settings import config, server_settings
from pypiserver.settings.config import SETTINGS, SOURCES, Config, build, default_config, from_paste, make_config
from pypiserver.settings.path_parsers import Content
from pypiserver.settings.sources import Given

OPEN = {"authenticate": ".", "password_file": "."}


def from_sources(flags: Mapping[str, Given], environ: Mapping[str, str]) -> Config:
    """The settings of these flags over those of the environment, as the command line has them."""
    faults: list[Mistake] = []
    return build(SOURCES.gather(flags, environ, {}, faults), faults)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def allow(user: str, password: str) -> bool:
    return user == password


def faults_of(**keywords: object) -> list[tuple[str, str]]:
    """(kind, setting) of each mistake in these keywords."""
    with pytest.raises(ConfigError) as caught:
        make_config(**keywords)
    return [(each.kind, each.setting) for each in caught.value.mistakes]


def mistakes_of(environ: dict[str, str]) -> list[Mistake]:
    with pytest.raises(ConfigError) as caught:
        from_sources({}, environ)
    return [dataclasses.replace(each, sentence="") for each in caught.value.mistakes]


def test_defaults(home: Path) -> None:
    made = make_config()
    assert {name: getattr(made, name) for name in SETTINGS} == {
        "roots": (home / "packages",), "storage": None, "overwrite": False, "max_upload_size": 4 * 1024**3,
        "catalog": None, "stale_for": 300, "backend": "auto", "host": "0.0.0.0", "port": 8080, "server": "auto",
        "workers": 1, "threads": None, "certificate": None, "key": None, "server_base_url": None,
        "trusted_proxy": (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
        "forwarded_headers": ("proto", "for"),
        "health_endpoint": "/health", "metrics": False, "metrics_address": None, "allow_origin": (),
        "authenticate": frozenset({"update"}), "password_file": None, "rights": None, "auth": None, "auther": None,
        "fallback": True, "fallback_url": None, "fallback_mode": "redirect", "cache_folder": None,
        "cache_size": 50 * 1024**3, "cache_fresh": 600, "offline": False, "merge": (), "known_names": False,
        "max_fetches": 32, "min_age": None, "not_after": None, "allow": None, "allow_projects": None,
        "deny_projects": None, "upstream": (), "private": (), "private_file": None, "hash_algo": "sha256",
        "max_form_size": 16 * 1024**2, "max_connections": 1500, "max_uploads": 80, "max_header_size": 65536,
        "max_search_size": 1024**2, "stall_timeout": 60, "drain_seconds": 0, "pid_file": None, "max_logins": None,
        "tokens": None,
        "welcome": None, "title": None, "cache_control": None, "accel": "off", "accel_location": "/protected",
        "downloads": "auto", "signed_url_ttl": 3600, "public_storage_endpoint": None,
        "verbosity": 0, "log_conf": None, "log_file": None,
        "log_stream": "stderr", "log_frmt": "%(asctime)s|%(name)s|%(levelname)s|%(thread)d|%(message)s",
        "log_format": "text", "access_log": True, "audit_log": None, "stats": None,
        "log_req_frmt": "%(bottle.request)s", "log_res_frmt": "%(status)s",
        "log_err_frmt": "%(body)s: %(exception)s \n%(traceback)s",
    }  # fmt: skip
    assert made.roots_are_default


@pytest.mark.parametrize(
    ("keyword", "value", "name", "expected"),
    [
        ("roots", "a b", "roots", (Path("a b"),)),
        ("roots", Path("a"), "roots", (Path("a"),)),
        ("roots", ["a", Path("b"), "a"], "roots", (Path("a"), Path("b"))),
        ("root", "a", "roots", (Path("a"),)),
        ("passwords", "f", "password_file", Path("f")),
        ("authenticated", ["Update", "list"], "authenticate", {"update", "list"}),
        ("authenticate", "update, download", "authenticate", {"update", "download"}),
        ("authenticate", frozenset({"list"}), "authenticate", {"list"}),
        ("authenticate", None, "authenticate", {"update"}),
        ("redirect_to_fallback", False, "fallback", False),
        ("disable_fallback", True, "fallback", False),
        ("disable_fallback", "no", "fallback", True),
        ("welcome_file", "w.html", "welcome", Path("w.html")),
        ("interface", "[::1]", "host", "::1"),
        ("server_method", "WAITRESS", "server", "waitress"),
        ("verbose", 2, "verbosity", 2),
        ("port", "0", "port", 0),
        ("auther", allow, "auther", allow),
        ("cache_control", 0, "cache_control", 0),
        ("threads", "auto", "threads", None),
        ("threads", 8, "threads", 8),
        ("max_upload_size", "500M", "max_upload_size", 500 * 1024**2),
        ("max_upload_size", "1.5GiB", "max_upload_size", 1536 * 1024**2),
        ("max_upload_size", 10, "max_upload_size", 10),
        ("hash_algo", None, "hash_algo", None),
        ("hash_algo", False, "hash_algo", None),
        ("hash_algo", "0", "hash_algo", None),
        ("hash_algo", "OFF", "hash_algo", None),
        ("hash_algo", "MD5", "hash_algo", "md5"),
        ("trusted_proxy", "none", "trusted_proxy", ()),
        ("trusted_proxy", ["10.0.0.5, 10.1.2.3/16"], "trusted_proxy",
            (ipaddress.ip_network("10.0.0.5/32"), ipaddress.ip_network("10.1.0.0/16"))),
        ("private", ["acme-*", "b,c"], "private", ("acme-*", "b", "c")),
        ("log_req_frmt", "", "log_req_frmt", ""),
        ("hash_algo", "", "hash_algo", None),
        ("welcome_file", "", "welcome", None),
        ("welcome_file", None, "welcome", None),
        ("welcome_msg", "", "welcome", None),
        ("backend_arg", "simple-dir", "backend", "simple-dir"),
        ("log_stream", sys.stdout, "log_stream", "stdout"),
        ("log_stream", sys.stderr, "log_stream", "stderr"),
        ("log_file", "", "log_file", None),
        ("cache_control", "", "cache_control", None),
        ("overwrite", "", "overwrite", False),
        ("fallback_url", "", "fallback_url", None),
        ("redirect_to_fallback", "", "fallback", True),
        ("password_file", "", "password_file", None),
        ("host", "", "host", "0.0.0.0"),
        ("server", "", "server", "auto"),
        ("trusted_proxy", "", "trusted_proxy", ()),
        ("server_base_url", "/", "server_base_url", None),
        ("server_base_url", "a/b", "server_base_url", "/a/b/"),
        ("server_base_url", " //a//b ", "server_base_url", "/a/b/"),
        ("server_base_url", "https://pypi.example/a", "server_base_url", "https://pypi.example/a"),
        ("catalog", "postgresql://me:a%40b@db.example/pypi?sslmode=require", "catalog",
            "postgresql://me:a%40b@db.example/pypi?sslmode=require"),
        ("catalog", "postgres:///pypi", "catalog", "postgres:///pypi"),
        ("storage", " s3://bucket/a/b// ", "storage", "s3://bucket/a/b"),
        ("store_url", "gs://bucket", "storage", "gs://bucket"),
        ("storage", "memory:///", "storage", "memory://"),
    ],
)  # fmt: skip
def test_keywords_of_this_and_earlier_versions(keyword: str, value: object, name: str, expected: object) -> None:
    assert getattr(make_config(**{keyword: value}), name) == expected


def test_the_page_itself_can_be_given_in_place_of_a_file() -> None:
    made = make_config(welcome_msg="<p>hi")
    assert (made.welcome, isinstance(made.welcome, Content)) == ("<p>hi", True)
    assert make_config(**default_config(welcome_msg="<p>hi")) == made


def test_what_older_versions_pass_along_for_nothing_is_ignored() -> None:
    assert make_config(VERSION="1.4.2", port=1) == make_config(port=1)
    assert default_config(VERSION="1.4.2") == default_config()


OLD_NAMES = {
    "root": "/srv/packages",
    "authenticated": ["list"],
    "passwords": "f",
    "redirect_to_fallback": False,
    "disable_fallback": True,
    "welcome_file": "w.html",
    "welcome_msg": "hi",
    "backend_arg": "simple-dir",
    "server_method": "waitress",
    "interface": "127.0.0.1",
    "verbose": 2,
}


@pytest.mark.parametrize(("name", "value"), OLD_NAMES.items())
def test_an_old_name_can_be_set_in_the_defaults(name: str, value: object) -> None:
    conf = default_config()
    conf[name] = value
    assert make_config(**conf) == make_config(**{name: value})
    # What was set by today's name, and again by yesterday's, is another matter.
    today = SOURCES.declared(name).name if name != "welcome_msg" else "welcome"
    conf[today] = {"roots": "/x", "authenticate": "download", "host": "::1", "verbosity": 3, "server": "granian",
                   "backend": "cached-dir"}.get(today, "other")  # fmt: skip
    if today != "fallback":
        assert faults_of(**conf) == [("twice", today)]


def test_a_bucket_can_be_set_in_the_defaults() -> None:
    for name in ("storage", "store_url"):
        conf = default_config()
        conf[name] = "s3://bucket"
        assert make_config(**conf) == make_config(storage="s3://bucket")


def test_every_old_name_is_tried() -> None:
    known = {name for each in SETTINGS.values() for name in (*each.aliases, *each.opposites)}
    assert known - set(OLD_NAMES) == {"trusted_proxies", "store_url"}


def test_home_is_expanded_by_us(home: Path) -> None:
    made = make_config(roots=["~/a"], password_file="~/f", welcome="~/w", log_file="~/l", catalog="~/c")
    assert (made.roots, made.password_file, made.welcome, made.log_file, made.catalog) == (
        (home / "a",), home / "f", home / "w", home / "l", home / "c",
    )  # fmt: skip
    assert not made.roots_are_default


@pytest.mark.parametrize(
    ("keywords", "kind", "name"),
    [
        ({"root": "a", "roots": "b"}, "twice", "roots"),
        ({"welcome_file": "a", "welcome_msg": "b"}, "twice", "welcome"),
        ({"log_stream": io.StringIO()}, "value", "log_stream"),
        ({"port": 65536}, "value", "port"),
        ({"port": "80a"}, "value", "port"),
        ({"port": 80.5}, "value", "port"),
        ({"port": True}, "value", "port"),
        ({"workers": 0}, "value", "workers"),
        ({"threads": "0"}, "value", "threads"),
        ({"private": ["acme-*", ""]}, "value", "private"),
        ({"metrics_address": "text"}, "value", "metrics_address"),
        ({"cache_control": -1}, "value", "cache_control"),
        ({"overwrite": "maybe"}, "value", "overwrite"),
        ({"roots": ""}, "value", "roots"),
        ({"roots": []}, "value", "roots"),
        ({"storage": "/srv/packages"}, "value", "storage"),
        ({"storage": "s3:///a"}, "value", "storage"),
        ({"storage": "s3://b", "roots": "a"}, "contradiction", "storage"),
        ({"storage": "s3://b", "accel": "nginx"}, "contradiction", "accel"),
        ({"downloads": "stream"}, "contradiction", "downloads"),
        ({"public_storage_endpoint": "https://s3.example"}, "contradiction", "public_storage_endpoint"),
        ({"public_storage_endpoint": "https://s3.example", "storage": "gs://b"},
            "contradiction", "public_storage_endpoint"),
        ({"public_storage_endpoint": "https://s3.example", "storage": "s3://b", "downloads": "accel"},
            "contradiction", "public_storage_endpoint"),
        ({"public_storage_endpoint": "s3.example", "storage": "s3://b"}, "value", "public_storage_endpoint"),
        ({"roots": 3}, "value", "roots"),
        ({"roots": [3]}, "value", "roots"),
        ({"catalog": "mysql://me:secret@db/pypi"}, "value", "catalog"),
        ({"catalog": "postgresql://me:sec@ret@db/pypi"}, "value", "catalog"),
        ({"catalog": "postgresql://me:sec ret@db/pypi"}, "value", "catalog"),
        ({"welcome": "a\0b"}, "value", "welcome"),
        ({"title": "\n"}, "value", "title"),
        ({"title": "a" * 81}, "value", "title"),
        ({"max_upload_size": "big"}, "value", "max_upload_size"),
        ({"authenticate": "update,lst"}, "value", "authenticate"),
        ({"authenticate": ""}, "value", "authenticate"),
        ({"authenticate": "., list"}, "value", "authenticate"),
        ({"trusted_proxy": "proxy"}, "value", "trusted_proxy"),
        ({"health_endpoint": "health"}, "value", "health_endpoint"),
        ({"fallback_url": "ftp://x/"}, "value", "fallback_url"),
        ({"server_base_url": "http://a b/"}, "value", "server_base_url"),
        ({"server_base_url": "pypi.example/a"}, "value", "server_base_url"),
        ({"server_base_url": "/a b/"}, "value", "server_base_url"),
        ({"server_base_url": "/a/../b/"}, "value", "server_base_url"),
        ({"host": "a b"}, "value", "host"),
        ({"private": "a/b"}, "value", "private"),
        ({"backend": "cached"}, "value", "backend"),
        ({"hash_algo": "sha-256"}, "value", "hash_algo"),
        ({"auther": "pam"}, "value", "auther"),
        ({"certificate": "c.pem"}, "contradiction", "certificate"),
        ({"catalog": "a.sqlite", "stats": "b/../a.sqlite"}, "contradiction", "stats"),
        ({"rights": "r", "authenticate": "list"}, "contradiction", "authenticate"),
        ({"rights": "r", "authenticate": "."}, "contradiction", "authenticate"),
        ({"rights": "r", "overwrite": True}, "contradiction", "overwrite"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_once_of_the_setting_that_must_change(keywords: dict[str, Any], kind: str, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(**keywords)
    (mistake,) = caught.value.mistakes
    assert (mistake.kind, mistake.setting, mistake.sentence[-1:]) == (kind, name, ".")
    if kind == "value":
        assert (mistake.value, mistake.source) == (keywords[name], f"{name}=")


@pytest.mark.parametrize(
    ("keywords", "lines"),
    [
        ({"authenticate": "list,update"}, ["authenticated list,upload,delete,yank *", "everyone download *"]),
        ({"authenticate": "list,download,update"}, ["authenticated list,download,upload,delete,yank *"]),
        ({"overwrite": True}, ["authenticated overwrite *"]),
    ],
)
def test_what_a_rights_file_replaces_says_what_to_write_there(keywords: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(rights="r", **keywords)
    assert re.findall(r"'([^']*)'", str(caught.value)) == lines


def test_the_default_of_authenticate_is_refused_next_to_a_rights_file_where_it_is_written() -> None:
    for given in ({"authenticate": Given("-a", "update")}, {}):
        environ = {"PYPISERVER_RIGHTS": "r", **({} if given else {"PYPISERVER_AUTHENTICATE": "update"})}
        with pytest.raises(ConfigError) as caught:
            from_sources(given, environ)
        assert caught.value.setting == "authenticate"
    # The defaults contain it too.
    assert make_config(**default_config(rights="r")) == make_config(rights="r")


@pytest.mark.parametrize(("name", "suggestion"), [("prot", "port"), ("zzzzzz", ""), ("rot", "root")])
def test_an_unknown_name_suggests_the_one_that_was_meant(name: str, suggestion: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(**{name: 1})
    (mistake,) = caught.value.mistakes
    assert mistake == Mistake(mistake.sentence, "unknown", name, 1, f"{name}=", suggestion)


@pytest.mark.parametrize(
    ("keywords", "word"),
    [
        ({"authenticate": "lst"}, "'list'"),
        ({"backend": "cached"}, "'cached-dir'"),
        ({"hash_algo": "sha-256"}, "'sha256'"),
        ({"server": "granain"}, "'granian'"),
    ],
)
def test_what_is_misspelled_is_spelled_right_in_the_sentence(keywords: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        make_config(**keywords)


def test_faults_are_reported_together() -> None:
    assert faults_of(prot=1, port="x", roots="") == [("unknown", "prot"), ("value", "port"), ("value", "roots")]


@pytest.mark.parametrize("name", ["shake_128", "shake_256", "nonsense"])
def test_a_hash_without_fixed_length_is_refused(name: str) -> None:
    assert faults_of(hash_algo=name) == [("value", "hash_algo")]


def test_every_guaranteed_hash_of_fixed_length_is_accepted() -> None:
    for name in hashlib.algorithms_guaranteed - {"shake_128", "shake_256"}:
        assert make_config(hash_algo=name).hash_algo == name


def test_server_names_are_ours_and_those_of_bottle() -> None:
    assert set(server_settings.SERVER_NAMES) == {"granian", *bottle.server_names}


def test_opening_everything_is_said_twice() -> None:
    made = make_config(**OPEN)
    assert (made.authenticate, made.htpasswd, made.refused_to_everyone) == (frozenset(), None, frozenset())


@pytest.mark.parametrize("nothing", [".", [], (), frozenset(), ["."]])
def test_protecting_nothing_without_saying_so_is_refused(nothing: object) -> None:
    assert faults_of(authenticate=nothing) == [("contradiction", "authenticate")]
    assert faults_of(authenticate=nothing, password_file="f") == [("contradiction", "authenticate")]
    assert make_config(authenticate=nothing, auther=allow).authenticate == frozenset()


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, {"update"}),
        ({"password_file": "."}, {"update"}),
        ({"authenticate": "list,update"}, {"list", "update"}),
        ({"password_file": "f"}, set()),
        ({"auther": allow}, set()),
        ({"auther": allow, "password_file": "."}, set()),
    ],
)
def test_what_is_refused_to_everyone(keywords: dict[str, Any], expected: set[str]) -> None:
    assert make_config(**keywords).refused_to_everyone == expected


def test_the_fallback_is_the_index_of_pip() -> None:
    from pip._internal.models.index import PyPI

    assert config.default_fallback_url() == PyPI.simple_url + "/"
    assert make_config().fallback_address == config.default_fallback_url()
    assert make_config(fallback_url="https://pypi.example/simple/").fallback_address == "https://pypi.example/simple/"
    assert make_config(fallback=False, fallback_url="https://pypi.example/").fallback_address is None


@pytest.mark.parametrize(
    "overrides",
    [{}, OPEN, {"root": "~/x", "hash_algo": "off", "trusted_proxy": "10.0.0.0/8", "private": "a,b", "threads": 3},
        {"auther": allow, "certificate": "c", "key": "k", "max_upload_size": "3M", "disable_fallback": True}],
)  # fmt: skip
def test_default_config_can_be_given_to_app(overrides: dict[str, Any]) -> None:
    mapping = default_config(**overrides)
    assert type(mapping) is dict
    assert list(mapping) == list(SETTINGS)
    assert make_config(**mapping) == make_config(**overrides)


def test_environment_names_are_the_upper_case_keywords() -> None:
    values = {
        "roots": ["/a", "/b"], "host": "::1", "port": 9, "overwrite": True, "authenticate": {"list", "update"},
        "fallback": False, "private": ("x-*", "y"), "hash_algo": None, "verbosity": 2, "max_upload_size": 1024,
        "trusted_proxy": ipaddress.ip_network("10.0.0.0/8"), "log_stream": "none",
    }  # fmt: skip
    written = {
        "ROOTS": "/a\n/b", "HOST": "::1", "PORT": "9", "OVERWRITE": "Yes", "AUTHENTICATE": "list update",
        "FALLBACK": "off", "PRIVATE": "x-*, y", "HASH_ALGO": "off", "VERBOSITY": "2", "MAX_UPLOAD_SIZE": "1K",
        "TRUSTED_PROXY": "10.0.0.0/8", "LOG_STREAM": "none",
    }  # fmt: skip
    expected = make_config(**{**values, "trusted_proxy": [values["trusted_proxy"]]})
    assert from_sources({}, {f"PYPISERVER_{name}": value for name, value in written.items()}) == expected


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in SETTINGS
        if name not in {"certificate", "key", "auther", "downloads", "public_storage_endpoint", "upstream"}
    ],
)
def test_every_setting_can_come_from_the_environment(name: str) -> None:
    texts = {
        "roots": "/a", "authenticate": "list", "fallback": "0", "overwrite": "1", "trusted_proxy": "10.0.0.1",
        "backend": "simple-dir", "server": "wsgiref", "log_stream": "stdout", "hash_algo": "md5",
        "health_endpoint": "/h", "fallback_url": "http://h/", "server_base_url": "http://h/", "log_frmt": "%(message)s",
        "log_req_frmt": "%s", "log_res_frmt": "%s", "log_err_frmt": "%s", "accel": "nginx", "accel_location": "/x/",
        "max_header_size": "8K", "log_format": "json", "access_log": "off", "metrics": "yes",
        "storage": "s3://bucket", "signed_url_ttl": "60", "forwarded_headers": "proto",
        "allow_origin": "*", "fallback_mode": "cache", "offline": "on", "merge": "a-*", "known_names": "1",
        "not_after": "2026-11-28",
    }  # fmt: skip
    needs = {"PYPISERVER_FALLBACK_MODE": "cache", **({"PYPISERVER_MIN_AGE": "6"} if name == "allow" else {})}
    variables = {
        **(needs if SETTINGS[name].group == "Fallback" else {}),
        f"PYPISERVER_{name.upper()}": texts.get(name, "5"),
    }
    made = from_sources({}, variables)
    assert getattr(made, name) != getattr(make_config(), name)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PYPISERVER_PORT", ""),
        ("PYPISERVER_PORT", "tcp://10.3.2.1:8080"),  # Kubernetes, for a service called pypiserver
        ("PYPISERVER_PORT_8080_TCP_ADDR", "10.3.2.1"),
        ("PYPISERVER_SERVICE_HOST", "10.3.2.1"),
        ("PYPISERVER_SERVICE_PORT_HTTP", "8080"),
        ("PYPISERVER_IMAGE", "x"),
        ("PORT", "9"),
        ("pypiserver_port", "9"),
    ],
)
def test_variables_that_are_no_settings_are_left_alone(variable: str, value: str) -> None:
    assert from_sources({}, {variable: value}) == make_config()


def test_a_misspelled_variable_is_an_error() -> None:
    environ = {"PYPISERVER_AUTHENTICAT": "list", "PYPISERVER_PORT": "x", "PYPISERVER_ROOT": "/a"}
    assert mistakes_of(environ) == [
        Mistake("", "unknown", "authenticat", "list", "PYPISERVER_AUTHENTICAT", "AUTHENTICATE"),
        Mistake("", "value", "port", "x", "PYPISERVER_PORT"),
    ]


def test_an_old_and_a_new_variable_together_are_an_error() -> None:
    assert mistakes_of({"PYPISERVER_ROOT": "/a", "PYPISERVER_ROOTS": "/b"}) == [
        Mistake("", "twice", "roots", "/b", "PYPISERVER_ROOTS")
    ]


def test_flags_win_over_variables() -> None:
    environ = {"PYPISERVER_PORT": "x", "PYPISERVER_HOST": "::1", "PYPISERVER_FALLBACK": "yes"}
    made = from_sources({"port": Given("-p", "7"), "fallback": Given("--disable-fallback", False)}, environ)
    assert made == make_config(port=7, host="::1", fallback=False)


def test_folders_in_a_variable_are_divided_as_in_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.pathsep", ":")
    made = from_sources({}, {"PYPISERVER_ROOTS": "/a b:/c"})
    assert made.roots == (Path("/a b"), Path("/c"))
    assert not made.roots_are_default


def test_paste_sections(home: Path) -> None:
    section = {"root": "~/stable\n   ~/unstable", "authenticated": "update list", "overwrite": "on", "fallback": "no"}
    assert from_paste(section) == make_config(
        roots=[home / "stable", home / "unstable"], authenticate=["update", "list"], overwrite=True, fallback=False
    )
    with pytest.raises(ConfigError) as caught:
        from_paste({"rot": "x"})
    assert caught.value.mistakes == (Mistake(str(caught.value), "unknown", "rot", "x", "rot", "root"),)


def test_folders_of_a_paste_section_are_divided_at_line_ends_alone(home: Path) -> None:
    for root in ("/srv/my packages", "\n  /srv/my packages  \n"):
        assert from_paste({"root": root}).roots == (Path("/srv/my packages"),)
    assert from_paste({"root": "~/a b\r\n\t~/c"}).roots == (home / "a b", home / "c")


def test_what_is_left_empty_in_a_paste_section_is_the_default() -> None:
    names = ("overwrite", "welcome_file", "welcome_msg", "log_file", "cache_control", "fallback_url", "password_file")
    assert from_paste({"root": "/a", **dict.fromkeys(names, "")}) == make_config(root="/a")
    assert from_paste({"root": "/a", "hash_algo": "", "welcome_msg": "hi", "VERSION": "1"}) == make_config(
        root="/a", hash_algo=None, welcome_msg="hi"
    )
    for name, kind in (("root", "value"), ("authenticated", "contradiction")):
        with pytest.raises(ConfigError) as caught:
            from_paste({"root": "/a", name: ""})
        assert (caught.value.kind, len(caught.value.mistakes)) == (kind, 1)


def test_without_a_home_a_folder_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_: Path) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "expanduser", lost)
    assert faults_of() == [("missing", "roots")]
    assert faults_of(roots="~/a") == [("value", "roots")]


def test_a_bucket_needs_no_folder_and_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_: Path) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "expanduser", lost)
    made = make_config(**default_config(storage="s3://bucket", downloads="accel"))
    assert (made.roots, made.storage, made.downloads) == ((), "s3://bucket", "accel")
    assert from_sources({}, {"PYPISERVER_STORE_URL": "s3://bucket"}) == make_config(storage="s3://bucket")


def test_every_setting_is_declared_completely() -> None:
    fields = {each.name for each in dataclasses.fields(Config)} - {"roots_are_default"}
    assert set(SETTINGS) == fields
    flags = [flag for each in SETTINGS.values() for flag in each.flags]
    assert len(flags) == len(set(flags))
    for each in SETTINGS.values():
        assert each.help.endswith("."), each.name
        assert each.group in config.GROUPS, each.name
        assert bool(each.metavar) == (each.takes_value and bool(each.flags)), each.name
        assert each.flags or each.name in ("auther", "upstream"), each.name


def test_parsing_is_repeatable() -> None:
    made = make_config(private="a", trusted_proxy="10.0.0.1", roots="x", max_upload_size="1G")
    for name, setting in SETTINGS.items():
        value = getattr(made, name)
        assert value is None or setting.parse(value) == value, name


def test_a_variable_may_name_a_file_with_the_value(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("update, list\n")
    expected = make_config(authenticate="update,list")
    assert from_sources({}, {"PYPISERVER_AUTHENTICATE_FILE": str(secret)}) == expected
    # These are settings of their own, which name files that are not read here.
    assert from_sources({}, {"PYPISERVER_LOG_FILE": str(secret)}).log_file == secret


def test_a_file_with_a_value_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    missing, garbled = tmp_path / "missing", tmp_path / "garbled"
    garbled.write_bytes(b"\xff\xfe")
    environ = {
        "PYPISERVER_AUTHENTICATE_FILE": str(missing),
        "PYPISERVER_WELCOME_FILE": str(garbled),
        "PYPISERVER_PORT_FILE": str(garbled),
        "PYPISERVER_HOST_FILE": str(missing),
        "PYPISERVER_HOST": "::1",
    }
    assert mistakes_of(environ) == [
        Mistake("", "unreadable", "authenticate", str(missing), "PYPISERVER_AUTHENTICATE_FILE"),
        Mistake("", "unreadable", "port", str(garbled), "PYPISERVER_PORT_FILE"),
        Mistake("", "twice", "host", str(missing), "PYPISERVER_HOST_FILE"),
    ]
