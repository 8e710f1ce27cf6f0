"""Databases that are down, and files of every setting: one sentence, and no traceback."""

from __future__ import annotations

import io
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pypiserver.__main__ import main
from pypiserver.cli.commands import CLASSIC, COMMANDS
from pypiserver.cli.subcommand import Subcommand
from pypiserver.settings import address_parsers, path_parsers
from pypiserver.settings.setting import Setting
from tests.unit.cli import test_sentences as unit
from tests.unit.cli.test_sentences import AWAY
from tests.unit.commandline import Outcome, logging_as_before, pypi_server

pytestmark = pytest.mark.live
shelf = unit.shelf
Values = Callable[[Path], Sequence[str]]
NO_SETTINGS = {"help", "version", "update", "port"}


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
    path_parsers.path: odd_paths,
    path_parsers.paths: odd_paths,
    path_parsers.catalog_place: odd_catalogs,
    path_parsers.place: odd_places,
    address_parsers.bucket_address: odd_buckets,
    address_parsers.address: odd_addresses,
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


def assert_said(done: Outcome, words: Sequence[str]) -> None:
    # What pytest-xdist hands on must be UTF-8.
    argv = [word.encode("utf-8", "backslashreplace").decode() for word in words]
    assert "Traceback" not in done.err + done.out, (argv, done)
    # What a database's library says is its own.
    assert "[Errno" not in done.err or "postgresql://" in str(argv), (argv, done)
    assert done.status in (0, 1, 2), (argv, done)
    if done.status == 2:
        said = re.search(r"^pypi-server: (.{20,})", done.err, re.MULTILINE | re.DOTALL)
        assert said, (argv, done)
    # The command line of a recipe is the one that was given.
    if argv[0] not in ("systemd", "nginx", "compose"):
        assert "secretword" not in done.err + done.out, (argv, done)


def shell(monkeypatch: pytest.MonkeyPatch, *argv: object) -> Outcome:
    """Run it with streams as those of a terminal: they refuse what cannot be encoded."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict", write_through=True) for _ in "oe")
    with monkeypatch.context() as patched, logging_as_before():
        patched.setattr(sys, "stdin", io.StringIO("word\n"))
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err)
        status = main([str(word) for word in argv])
    said = [stream.buffer.getvalue().decode("utf-8", "backslashreplace") for stream in (out, err)]  # type: ignore[attr-defined]
    return Outcome(status, *said)


def test_a_database_that_is_down_is_a_sentence_everywhere(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("psycopg")
    address = f"postgresql://secretuser:secretword@{AWAY}/name"
    bucket = ("--storage", f"file://{shelf.parent / 'bucket'}")
    for argv in (
        ("-p", "0", shelf), ("check", shelf), ("reindex", *bucket), ("gc", *bucket), ("check", *bucket),
        ("yank", bucket[1], "foo", "1.0"), ("-p", "0", *bucket),
    ):  # fmt: skip
        done = pypi_server(capsys, *argv, "--catalog", address)
        assert done.status == 2 and AWAY.split(":")[0] in done.err and "Connection refused" in done.err, (argv, done)
        assert_said(done, [str(word) for word in argv])


@pytest.mark.parametrize(("name", "setting"), [pytest.param(*each, id=f"{each[0]} {each[1].name}") for each in tried()])
def test_whatever_a_setting_is_given(
    name: str,
    setting: Setting,
    shelf: Path,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = COMMANDS.get(name, CLASSIC)
    for value in values_of(setting)(shelf.parent / "odd"):
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
        assert_said(shell(monkeypatch, *argv), argv)
