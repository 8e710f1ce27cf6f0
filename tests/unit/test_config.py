"""Settings by keyword, environment and paste file."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import ipaddress
import sys
from pathlib import Path
from typing import Any

import bottle
import pytest

from pypiserver.errors import ConfigError
from pypiserver.settings import config
from pypiserver.settings.config import SETTINGS, Config, Given, default_config, from_environ, from_paste, make_config
from pypiserver.settings.parsers import Content

OPEN = {"authenticate": ".", "password_file": "."}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def allow(user: str, password: str) -> bool:
    return user == password


def fault_of(**keywords: object) -> str:
    with pytest.raises(ConfigError) as caught:
        make_config(**keywords)
    return str(caught.value)


def test_defaults(home: Path) -> None:
    made = make_config()
    assert {name: getattr(made, name) for name in SETTINGS} == {
        "roots": (home / "packages",), "storage": None, "overwrite": False, "max_upload_size": 4 * 1024**3,
        "catalog": None, "stale_for": 300, "backend": "auto", "host": "0.0.0.0", "port": 8080, "server": "auto",
        "workers": 1, "threads": None, "certificate": None, "key": None, "server_base_url": None,
        "trusted_proxy": (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
        "forwarded_headers": ("proto", "for"),
        "health_endpoint": "/health", "metrics": False, "metrics_address": None, "allow_origin": (),
        "authenticate": frozenset({"update"}), "password_file": None, "auther": None,
        "fallback": True, "fallback_url": None, "private": (), "private_file": None, "hash_algo": "sha256",
        "max_form_size": 16 * 1024**2, "max_connections": 1500, "max_uploads": 80, "max_header_size": 65536,
        "max_search_size": 1024**2, "stall_timeout": 60, "drain_seconds": 0, "pid_file": None, "max_logins": None,
        "welcome": None, "cache_control": None, "accel": "off", "accel_location": "/protected",
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
def test_keywords_of_today_and_yesterday(keyword: str, value: object, name: str, expected: object) -> None:
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
    today = config._KEYWORDS[name].name if name != "welcome_msg" else "welcome"
    conf[today] = {"roots": "/x", "authenticate": "download", "host": "::1", "verbosity": 3, "server": "granian",
                   "backend": "cached-dir"}.get(today, "other")  # fmt: skip
    if today != "fallback":
        with pytest.raises(ConfigError, match="give only one of them"):
            make_config(**conf)


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
    ("keywords", "sentence"),
    [
        ({"prot": 1}, "prot=: there is no such setting; did you mean 'port'?"),
        ({"zzzzzz": 1}, "zzzzzz=: there is no such setting."),
        ({"root": "a", "roots": "b"}, "roots=: the same setting as root=; give only one of them."),
        ({"welcome_file": "a", "welcome_msg": "b"},
            "welcome_msg=: the same setting as welcome_file=; give only one of them."),
        ({"log_stream": io.StringIO()}, "log_stream=: a stream cannot be used, but sys.stdout and sys.stderr; "
            "give one of stderr, stdout, none."),
        ({"port": 65536}, "port=: 65536 cannot be used; give a whole number from 0 to 65535."),
        ({"port": "80a"}, "port=: '80a' cannot be used; give a whole number from 0 to 65535."),
        ({"port": 80.5}, "port=: 80.5 cannot be used; give a whole number from 0 to 65535."),
        ({"port": True}, "port=: True cannot be used; give a whole number from 0 to 65535."),
        ({"workers": 0}, "workers=: 0 cannot be used; give a whole number from 1 to 1024."),
        ({"cache_control": -1}, "cache_control=: -1 cannot be used; give a whole number of 0 or more."),
        ({"overwrite": "maybe"},
            "overwrite=: 'maybe' is neither yes nor no; give 1, true, yes, on or 0, false, no, off."),
        ({"roots": ""}, "roots=: '' is not a usable path; give the path of a file or folder."),
        ({"roots": []}, "roots=: no folder is given; give at least one."),
        ({"storage": "/srv/packages"},
            "storage=: '/srv/packages' is not the address of a bucket; give s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or "
            "az://ACCOUNT/CONTAINER; a folder is named without a flag."),
        ({"storage": "s3:///a"},
            "storage=: 's3:///a' is not the address of a bucket; give s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or "
            "az://ACCOUNT/CONTAINER; a folder is named without a flag."),
        ({"storage": "s3://b", "roots": "a"},
            "--storage: a bucket takes the place of folders; name no DIR, or leave --storage out."),
        ({"storage": "s3://b", "accel": "nginx"},
            "--accel belongs to folders; how files of a bucket are sent is said by --downloads."),
        ({"downloads": "stream"},
            "--downloads belongs to --storage; how files of folders are sent is said by --accel."),
        ({"public_storage_endpoint": "https://s3.example"},
            "--public-storage-endpoint belongs to a --storage of S3 (s3://BUCKET); leave it out."),
        ({"public_storage_endpoint": "https://s3.example", "storage": "gs://b"},
            "--public-storage-endpoint belongs to a --storage of S3 (s3://BUCKET); leave it out."),
        ({"public_storage_endpoint": "https://s3.example", "storage": "s3://b", "downloads": "accel"},
            "--public-storage-endpoint is where --downloads redirect sends clients; leave one of them out."),
        ({"public_storage_endpoint": "s3.example", "storage": "s3://b"},
            "public_storage_endpoint=: 's3.example' is not a web address; give for example "
            "https://pypi.example/simple/."),
        ({"roots": 3}, "roots=: 3 is neither text nor a list."),
        ({"roots": [3]}, "roots=: 3 is not a path."),
        ({"catalog": "mysql://me:secret@db/pypi"},
            "catalog=: it is no address of PostgreSQL; give a file, or postgresql://USER@HOST/DATABASE."),
        ({"catalog": "postgresql://me:sec@ret@db/pypi"},
            "catalog=: its user or password has a character that must be written as a code: @ is %40."),
        ({"catalog": "postgresql://me:sec ret@db/pypi"},
            "catalog=: its user or password has a character that must be written as a code: @ is %40."),
        ({"welcome": "a\0b"}, r"welcome=: 'a\x00b' is not a usable path; give the path of a file or folder."),
        ({"max_upload_size": "big"},
            "max_upload_size=: 'big' is not a size; give bytes, or a number with K, M, G or T such as 500M."),
        ({"authenticate": "update,lst"},
            "authenticate=: there is no action 'lst'; did you mean 'list'? Give any of update, download, list."),
        ({"authenticate": ""},
            "authenticate=: no action is given; give any of update, download, list, or '.' for none."),
        ({"authenticate": "., list"},
            "authenticate=: '.' means no action at all and cannot stand with others; give one or the other."),
        ({"trusted_proxy": "proxy"}, "trusted_proxy=: 'proxy' is not an IP address or network; "
            "give for example 10.0.0.5 or 10.0.0.0/8; 'none' trusts nobody."),
        ({"health_endpoint": "health"}, "health_endpoint=: 'health' is not a path below the server; "
            "give one that starts with '/', such as /health."),
        ({"fallback_url": "ftp://x/"}, "fallback_url=: 'ftp://x/' is not a web address; "
            "give for example https://pypi.example/simple/."),
        ({"server_base_url": "http://a b/"}, "server_base_url=: 'http://a b/' is not a web address; "
            "give for example https://pypi.example/simple/."),
        ({"server_base_url": "pypi.example/a"},
            "server_base_url=: 'pypi.example/a' is neither a web address nor a path; "
            "give https://HOST/, https://HOST/PREFIX/ or /PREFIX/."),
        ({"server_base_url": "/a b/"}, "server_base_url=: '/a b/' is neither a web address nor a path; "
            "give https://HOST/, https://HOST/PREFIX/ or /PREFIX/."),
        ({"server_base_url": "/a/../b/"}, "server_base_url=: '/a/../b/' has '.' or '..' in it, which clients take out; "
            "give the path that remains."),
        ({"host": "a b"}, "host=: 'a b' is not a host name or IP address; give for example 127.0.0.1, 0.0.0.0 or ::."),
        ({"private": "a/b"}, "private=: 'a/b' is not a pattern of project names; give for example 'acme-*'."),
        ({"backend": "cached"}, "backend=: there is no backend 'cached'; did you mean 'cached-dir'? "
            "Give one of auto, simple-dir, cached-dir."),
        ({"hash_algo": "sha-256"}, "hash_algo=: this Python cannot compute the hash 'sha-256'; "
            "did you mean 'sha256'? Give a fixed-length hash, or 'off'."),
        ({"auther": "pam"},
            "auther=: 'pam' cannot be called; give a function of user and password, from Python only."),
        ({"certificate": "c.pem"}, "--certificate and --key belong together; give both, or neither."),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(keywords: dict[str, Any], sentence: str) -> None:
    assert fault_of(**keywords) == sentence


def test_faults_are_reported_together() -> None:
    assert [line.partition(":")[0] for line in fault_of(prot=1, port="x", roots="").splitlines()] == [
        "prot=", "port=", "roots=",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["shake_128", "shake_256", "nonsense"])
def test_a_hash_without_fixed_length_is_refused(name: str) -> None:
    assert "cannot compute the hash" in fault_of(hash_algo=name)


def test_every_guaranteed_hash_of_fixed_length_is_accepted() -> None:
    for name in hashlib.algorithms_guaranteed - {"shake_128", "shake_256"}:
        assert make_config(hash_algo=name).hash_algo == name


def test_server_names_are_ours_and_those_of_bottle() -> None:
    assert set(config.SERVER_NAMES) == {"granian", *bottle.server_names}
    assert "did you mean 'granian'? Give one of auto, granian, waitress, " in fault_of(server="granain")


def test_opening_everything_is_said_twice() -> None:
    made = make_config(**OPEN)
    assert (made.authenticate, made.htpasswd, made.refused_to_everyone) == (frozenset(), None, frozenset())


@pytest.mark.parametrize("nothing", [".", [], (), frozenset(), ["."]])
def test_protecting_nothing_without_saying_so_is_refused(nothing: object) -> None:
    told = "To open everything to everybody: -P . -a . To protect uploads: -P FILE -a update"
    assert fault_of(authenticate=nothing) == (
        f"'-a .' protects no action; '-P .' must stand beside it, to say that this is meant. {told}"
    )
    assert fault_of(authenticate=nothing, password_file="f") == (
        f"'-a .' protects no action, so the password file 'f' would never be used. {told}"
    )
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
    assert from_environ({f"PYPISERVER_{name}": value for name, value in written.items()}) == expected


@pytest.mark.parametrize(
    "name",
    [name for name in SETTINGS if name not in {"certificate", "key", "auther", "downloads", "public_storage_endpoint"}],
)
def test_every_setting_can_come_from_the_environment(name: str) -> None:
    texts = {
        "roots": "/a", "authenticate": "list", "fallback": "0", "overwrite": "1", "trusted_proxy": "10.0.0.1",
        "backend": "simple-dir", "server": "wsgiref", "log_stream": "stdout", "hash_algo": "md5",
        "health_endpoint": "/h", "fallback_url": "http://h/", "server_base_url": "http://h/", "log_frmt": "%(message)s",
        "log_req_frmt": "%s", "log_res_frmt": "%s", "log_err_frmt": "%s", "accel": "nginx", "accel_location": "/x/",
        "max_header_size": "8K", "log_format": "json", "access_log": "off", "metrics": "yes",
        "storage": "s3://bucket", "signed_url_ttl": "60", "forwarded_headers": "proto",
        "allow_origin": "*",
    }  # fmt: skip
    made = from_environ({f"PYPISERVER_{name.upper()}": texts.get(name, "5")})
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
    assert from_environ({variable: value}) == make_config()


def test_a_misspelled_variable_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        from_environ({"PYPISERVER_AUTHENTICAT": "list", "PYPISERVER_PORT": "x", "PYPISERVER_ROOT": "/a"})
    assert str(caught.value).splitlines() == [
        "PYPISERVER_AUTHENTICAT: there is no such setting; did you mean 'AUTHENTICATE'?",
        "PYPISERVER_PORT: 'x' cannot be used; give a whole number from 0 to 65535.",
    ]


def test_an_old_and_a_new_variable_together_are_an_error() -> None:
    with pytest.raises(ConfigError, match="PYPISERVER_ROOTS: the same setting as PYPISERVER_ROOT; give only one"):
        from_environ({"PYPISERVER_ROOT": "/a", "PYPISERVER_ROOTS": "/b"})


def test_flags_win_over_variables() -> None:
    environ = {"PYPISERVER_PORT": "x", "PYPISERVER_HOST": "::1", "PYPISERVER_FALLBACK": "yes"}
    made = config.from_sources({"port": Given("-p", "7"), "fallback": Given("--disable-fallback", False)}, environ)
    assert made == make_config(port=7, host="::1", fallback=False)


def test_folders_in_a_variable_are_divided_as_in_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.pathsep", ":")
    made = from_environ({"PYPISERVER_ROOTS": "/a b:/c"})
    assert made.roots == (Path("/a b"), Path("/c"))
    assert not made.roots_are_default


def test_paste_sections(home: Path) -> None:
    section = {"root": "~/stable\n   ~/unstable", "authenticated": "update list", "overwrite": "on", "fallback": "no"}
    assert from_paste(section) == make_config(
        roots=[home / "stable", home / "unstable"], authenticate=["update", "list"], overwrite=True, fallback=False
    )
    with pytest.raises(ConfigError, match=r"^rot: there is no such setting; did you mean 'root'\?$"):
        from_paste({"rot": "x"})


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
    for name, sentence in (("root", "'' is not a usable path"), ("authenticated", "'-a .' protects no action")):
        with pytest.raises(ConfigError, match=sentence):
            from_paste({"root": "/a", name: ""})


def test_without_a_home_a_folder_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_: Path) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "expanduser", lost)
    with pytest.raises(ConfigError, match=r"^No folder was given, and the default '~/packages' cannot be used, the"):
        make_config()
    assert "roots=: '~/a' cannot be used, the home folder is not known; give a full path." in fault_of(roots="~/a")


def test_a_bucket_needs_no_folder_and_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_: Path) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "expanduser", lost)
    made = make_config(**default_config(storage="s3://bucket", downloads="accel"))
    assert (made.roots, made.storage, made.downloads) == ((), "s3://bucket", "accel")
    assert from_environ({"PYPISERVER_STORE_URL": "s3://bucket"}) == make_config(storage="s3://bucket")


def test_every_setting_is_declared_completely() -> None:
    fields = {each.name for each in dataclasses.fields(Config)} - {"roots_are_default"}
    assert set(SETTINGS) == fields
    flags = [flag for each in SETTINGS.values() for flag in each.flags]
    assert len(flags) == len(set(flags))
    for each in SETTINGS.values():
        assert each.help.endswith("."), each.name
        assert each.group in config.GROUPS, each.name
        assert bool(each.metavar) == (each.takes_value and bool(each.flags)), each.name
        assert each.flags or each.name == "auther", each.name


def test_parsing_is_repeatable() -> None:
    made = make_config(private="a", trusted_proxy="10.0.0.1", roots="x", max_upload_size="1G")
    for name, setting in SETTINGS.items():
        value = getattr(made, name)
        assert value is None or setting.parse(value) == value, name


def test_a_variable_may_name_a_file_with_the_value(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("update, list\n")
    expected = make_config(authenticate="update,list")
    assert from_environ({"PYPISERVER_AUTHENTICATE_FILE": str(secret)}) == expected
    # These are settings of their own, which name files that are not read here.
    assert from_environ({"PYPISERVER_LOG_FILE": str(secret)}).log_file == secret


def test_a_file_with_a_value_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    missing, garbled = tmp_path / "missing", tmp_path / "garbled"
    garbled.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as raised:
        from_environ(
            {
                "PYPISERVER_AUTHENTICATE_FILE": str(missing),
                "PYPISERVER_WELCOME_FILE": str(garbled),
                "PYPISERVER_PORT_FILE": str(garbled),
                "PYPISERVER_HOST_FILE": str(missing),
                "PYPISERVER_HOST": "::1",
            }
        )
    assert str(raised.value).splitlines() == [
        f"PYPISERVER_AUTHENTICATE_FILE: the file {missing} cannot be read (No such file or directory).",
        f"PYPISERVER_PORT_FILE: the file {garbled} cannot be read (it is no text).",
        "PYPISERVER_HOST_FILE: the same setting as PYPISERVER_HOST; give only one of them.",
    ]
