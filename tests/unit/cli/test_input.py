"""What commands are given by hand, wrongly: one sentence, never a traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypiserver.observability import audit_log
from tests.clients.samples import add_wheel

from ..commandline import pypi_server

pwd = pytest.importorskip("pwd", reason="terminals and users of POSIX")
Made = Callable[[str], Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Something that is no folder for packages."""

    def made(kind: str) -> Path:
        path = tmp_path / kind
        if kind == "file":
            path.touch()
        elif kind == "loop":
            path.symlink_to(path)
        elif kind == "below a file":
            (tmp_path / "other").touch()
            path = tmp_path / "other" / "x"
        elif kind == "not to be made":
            path = Path("/proc/x")
        elif kind == "device":
            path = Path("/dev/null")
        return path

    return made


@pytest.mark.parametrize("kind", ["file", "loop", "below a file", "not to be made", "device"])
def test_copy_to_what_is_no_folder_is_a_sentence(
    kind: str, made: Made, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_wheel(root, "demo", "1.0")
    place = made(kind)
    status, out, err = pypi_server(capsys, "copy", root, place)
    assert (status, out) == (2, "")
    assert err.startswith("pypi-server: ") and str(place) in err and err.count("\n") == 1


COMMANDS = {
    "copy to": ["copy", "ROOT", "PLACE"],
    "copy from": ["copy", "PLACE", "ROOT"],
    "check": ["check", "PLACE"],
    "update": ["update", "--index-url", "http://127.0.0.1:1/", "PLACE"],
    "ignorelist": ["update", "--index-url", "http://127.0.0.1:1/", "--ignorelist-file", "PLACE", "ROOT"],
    "yank": ["yank", "PLACE", "demo", "1.0"],
    "unyank": ["unyank", "PLACE", "demo", "1.0"],
    "delete": ["delete", "PLACE", "demo", "1.0", "--yes"],
    "restore": ["restore", "PLACE"],
    "restore one": ["restore", "PLACE", "demo"],
    "passwd": ["passwd", "PLACE", "me"],
    "stats": ["stats", "--stats", "PLACE"],
    "configuration": ["config", "check", "PLACE"],
    "audit log": ["yank", "ROOT", "demo", "1.0", "--audit-log", "PLACE"],
    "bucket": ["reindex", "file://PLACE"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("kind", ["nothing", "file", "loop", "below a file", "not to be made", "device"])
def test_no_traceback_reaches_a_person(
    kind: str,
    command: list[str],
    made: Made,
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever a file or folder turns out to be, the command ends by itself, with 0, 1 or 2."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    add_wheel(root, "demo", "1.0")
    place = str(made(kind))
    words = [str(root) if word == "ROOT" else word.replace("PLACE", place) for word in command]
    assert pypi_server(capsys, *words).status in (0, 1, 2)


def test_a_time_that_cannot_be_set_is_named_and_the_rest_is_copied(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.0", "2.0"):
        add_wheel(root, "demo", version)
    there = tmp_path / "there"
    there.mkdir()
    wheel = add_wheel(there, "demo", "1.0")
    utime = os.utime

    def of_another_user(path: Path, **how: Any) -> None:
        if Path(path).name == wheel.name:
            raise PermissionError(1, "Operation not permitted")
        utime(path, **how)

    monkeypatch.setattr("pypiserver.folder.storage.os.utime", of_another_user)
    status, out, err = pypi_server(capsys, "copy", root, there)
    assert (status, len(list(there.iterdir()))) == (1, 2)
    assert "cannot be set (Operation not permitted): it belongs to another user" in out + err
    assert "1 file copied" in out


def test_a_user_without_a_name_is_its_number_in_the_audit_log(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert audit_log.local_user() == str(os.geteuid())
    add_wheel(root, "demo", "1.0")
    assert pypi_server(capsys, "yank", root, "demo", "1.0", "--audit-log", tmp_path / "audit").status == 0
    assert f'"user": "{os.geteuid()}"' in (tmp_path / "audit").read_text()
