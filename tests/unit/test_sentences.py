"""No command and no setting ends in a traceback, whatever it is given: every mistake is a sentence.

Made from the tables of commands and settings, so what is added there is tried here.
"""

from __future__ import annotations

import io
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pypiserver import settings_types as types
from pypiserver.commands import CLASSIC, COMMANDS, Subcommand
from pypiserver.setting import Setting
from tests.make_archives import make_wheel

from .commandline import Outcome, pypi_server

Values = Callable[[Path], Sequence[str]]
WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")
# What no port is listening at, so that it is refused at once.
AWAY = "127.0.0.1:9"
NO_SETTINGS = {"help", "version", "update"}


def odd_paths(folder: Path) -> list[str]:
    """Paths of what is missing, of the wrong kind, unreadable, or no path at all."""
    noise = folder / "noise"
    noise.write_bytes(bytes(range(256)) * 20)
    (folder / "folder").mkdir(exist_ok=True)
    locked = folder / "locked"
    locked.write_text("x")
    locked.chmod(0)
    found = [
        str(folder / "missing"), str(folder / "missing" / "below"), str(folder / "folder"), str(noise),
        str(noise / "below"), str(locked), str(folder / ("long" * 100)), str(folder / "odd\udcff\n"),
    ]  # fmt: skip
    # Which even root can open, and not read.
    return [*found, "/proc/self/mem"] if sys.platform.startswith("linux") else found


def odd_catalogs(folder: Path) -> list[str]:
    return [
        *odd_paths(folder), f"postgresql://secretuser:secretword@{AWAY}/name", "postgresql://[/name",
        "postgresql://h:notaport/name", "postgresql:///name?sslmode=odd", "sqlite://x", "postgresql://",
    ]  # fmt: skip


def odd_places(folder: Path) -> list[str]:
    return [*odd_paths(folder), *odd_buckets(folder)]


def odd_buckets(folder: Path) -> list[str]:
    return ["file:///proc/none/of/this", f"file://{folder}/noise", "ftp://x", "s3://", "memory://"]


def odd_addresses(folder: Path) -> list[str]:
    return ["192.0.2.1:9090", "nowhere.invalid:80", ":99999", "::", "-1", "x"]


def odd_texts(folder: Path) -> list[str]:
    return ["", "-", "nowhere", "\udcff\n\0", "1" * 5000, "%", "[", "0", "off", "../..", "http://", "é"]


KINDS: dict[object, Values] = {
    types.path: odd_paths,
    types.paths: odd_paths,
    types.catalog_place: odd_catalogs,
    types.place: odd_places,
    types.bucket_address: odd_buckets,
    types.address: odd_addresses,
}


def values_of(setting: Setting) -> Values:
    return KINDS.get(setting.parse, odd_texts)


def tried() -> Iterator[tuple[str, Setting]]:
    """Each command with each flag and operand of it."""
    for name, command in {"": CLASSIC, **COMMANDS}.items():
        for setting in (*command.operands, *command.options):
            if (setting.takes_value or not setting.flags) and setting.name not in NO_SETTINGS and name != "run":
                yield name, setting


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package, a working directory without anything, and an environment in which nothing is far off."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / WHEEL).write_bytes(WHEEL_BYTES)
    (tmp_path / "bucket").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{AWAY}")
    return packages


@pytest.fixture
def port() -> Iterator[int]:
    """A port that is taken, so that a server which has found no other fault ends as well."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def usual(name: str, command: Subcommand, packages: Path, port: int) -> tuple[list[str], list[str]]:
    """Operands and flags with which the command works."""
    bucket = f"file://{packages.parent / 'bucket'}"
    operands = {
        "root": str(packages), "roots": str(packages), "name": "foo", "version": "1.0", "storage": bucket,
        "source": str(packages), "destination": str(packages.parent / "copied"), "task": "check", "shell": "bash",
        "file": str(packages.parent / "htpasswd"), "user": "ada",
    }  # fmt: skip
    words = [operands[each.name] for each in command.operands if each.name in operands]
    flags = ["-p", str(port), "-i", "127.0.0.1", "--disable-fallback"] if name == "" else []
    flags += ["--index-url", f"http://{AWAY}/simple/"] if name == "update" else []
    return words, flags


def assert_said(done: Outcome, argv: Sequence[str]) -> None:
    assert "Traceback" not in done.err + done.out, (argv, done)
    assert done.status in (0, 1, 2), (argv, done)
    if done.status == 2:
        assert done.err.startswith("pypi-server: ") and len(done.err) > 30, (argv, done)
    assert "secretword" not in done.err + done.out, (argv, done)


@pytest.mark.parametrize(("name", "setting"), [pytest.param(*each, id=f"{each[0]} {each[1].name}") for each in tried()])
def test_whatever_a_setting_is_given(
    name: str,
    setting: Setting,
    shelf: Path,
    port: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = COMMANDS.get(name, CLASSIC)
    for value in values_of(setting)(shelf.parent / "odd"):
        monkeypatch.setattr(sys, "stdin", io.StringIO("word\n"))
        words, flags = usual(name, command, shelf, port)
        if setting.flags:
            given = [*flags, f"{setting.flags[-1]}={value}" if setting.flags[-1].startswith("--") else ""]
            given = given if given[-1] else [*flags, setting.flags[-1], value]
            if setting.name in ("certificate", "key"):
                given += [f"--{other}={value}" for other in ("certificate", "key") if other != setting.name]
        else:
            at = [each.name for each in command.operands].index(setting.name)
            given, words = flags, [*words[:at], value, *words[at + 1 :]]
        argv = [*([name] if name else []), *given, "--", *words]
        assert_said(pypi_server(capsys, *argv), argv)
