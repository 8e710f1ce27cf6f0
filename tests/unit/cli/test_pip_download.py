"""The pip command of an update: what it is told, and that no one's names turn into options or commands."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from pypiserver.cli import parser
from pypiserver.cli.commands.update import Update
from pypiserver.cli.pip_download import Download, as_shell_line, environment, shown_command
from pypiserver.distributions.filename import normalize
from tests.fake_index import FakeIndex

from .test_update import FOLDER, index, plain_environment, raven

__all__ = ["index", "plain_environment"]


def test_pip_gets_what_leads_to_the_index_and_nothing_that_leads_elsewhere() -> None:
    given = {"PIP_EXTRA_INDEX_URL": "x", "PIP_FIND_LINKS": "x", "PIP_PRE": "1", "PIP_CERT": "ca", "HTTPS_PROXY": "p"}
    download = Download(normalize("raven"), Version("1"), FOLDER, "https://me:secret@pypi.example/simple/")
    assert environment(download, given) == {
        "PIP_CERT": "ca",
        "HTTPS_PROXY": "p",
        "PIP_INDEX_URL": "https://me:secret@pypi.example/simple/",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    assert "secret" not in as_shell_line(shown_command(download))


HOSTILE_NAMES = (
    "--index-url-1.0.tar.gz",
    "-r-1.0.tar.gz",
    "--config-settings=x-1.0-py3-none-any.whl",
    "raven;touch pwned-1.0.tar.gz",
    "$(touch pwned)-1.0.tar.gz",
    "`touch pwned`-1.0.zip",
    "evil'\"-1.0.zip",
    "git+https:evil-1.0.zip",
    "raven-1.0;touch pwned.zip",
    "raven-1.0$(touch pwned).tar.gz",
    "raven-1.0\n--extra-index-url.tar.gz",
    "raven-1.0\x1b[2J.tar.gz",
)
HOSTILE_ROWS: tuple[Any, ...] = (
    None,
    7,
    [],
    {"filename": None},
    {"filename": ["raven-9.tar.gz"]},
    {"filename": "raven-9;touch pwned.tar.gz"},
    {"filename": "raven-9\n.tar.gz"},
    {"filename": "../raven-9.tar.gz"},
    {"filename": "other-9-py3-none-any.whl"},
    {"filename": "raven-9-py3.6.egg"},
    {"filename": f"raven-{'9' * 5000}.tar.gz"},
    {"filename": "raven-9-py3-none-any.whl", "requires-python": ">=99", "yanked": {}},
    {"filename": raven("1.1"), "url": raven("1.1"), "requires-python": {"a": "b"}, "yanked": False},
)


@pytest.mark.skipif(os.name != "posix", reason="such names are possible on POSIX only, and so is sh")
@pytest.mark.parametrize(
    "folder", ["a; touch pwned", "$(touch pwned)", "it's", "-r", "line\nbreak \\ '\x1b[2J' ü \udcff"]
)
def test_a_hostile_folder_and_index_make_no_option_and_no_command(
    index: FakeIndex, tmp_path: Path, folder: str
) -> None:
    root = tmp_path / folder
    try:
        root.mkdir()
    except (OSError, UnicodeError):
        pytest.skip("this file system does not take such a name")
    for name in (*HOSTILE_NAMES, "raven-1.0.tar.gz"):
        (root / name).touch()
    index.rows["raven"] = list(HOSTILE_ROWS)
    out, err = io.StringIO(), io.StringIO()
    command = parser.parse(["update", "--index-url", index.url, f"{tmp_path}/{folder}"], {})
    assert isinstance(command, Update)
    assert command.run(out, err) == 1
    assert {path for path, _ in index.seen} <= {"/simple/raven/", "/simple/index-url/", "/simple/r/"}
    lines = out.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    # The real test of quoting is a shell, and a pip that says what it was told.
    shell = shutil.which("bash") or "sh"
    (tmp_path / "pip").write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    (tmp_path / "pip").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    told = subprocess.run(
        [shell, "-c", "#" + out.getvalue().partition("\n#")[2]],
        capture_output=True,
        cwd=tmp_path,
        env=environ,
        check=True,
    )
    words = [os.fsdecode(word) for word in told.stdout.split(b"\0")[:-1]]
    assert words[-4:] == ["-d", str(root), "--", "raven==1.1"]
    assert words[:-4] == shlex.split(
        f"-q download --no-deps --only-binary :all: --index-url {index.url} --trusted-host 127.0.0.1:{index.port}"
    )
    assert not (tmp_path / "pwned").exists()
