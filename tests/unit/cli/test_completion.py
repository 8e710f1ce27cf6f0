"""The scripts do in a real shell what they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pypiserver.cli.commands import CLASSIC, COMMANDS, ROWS
from pypiserver.cli.commands.completion import SHELLS
from pypiserver.cli.completion import completion_script as script_for
from pypiserver.errors import ConfigError
from tests.raising import raises

BASH = shutil.which("bash")


def completion_script(shell: str) -> str:
    return script_for(shell, ROWS)


def run(shell: str, *arguments: str, cwd: Path, text: str = "") -> str:
    done = subprocess.run(
        [shell, *arguments],
        input=text,
        cwd=cwd,
        env={**os.environ, "HOME": str(cwd)},
        capture_output=True,
        encoding="utf-8",
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "packages").mkdir()
    (tmp_path / "other folder").mkdir()
    (tmp_path / "passwords.txt").touch()
    return tmp_path


@pytest.mark.skipif(BASH is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["pypi-server", "comp"], {"completion", "compose"}, id="a command as the first word"),
        pytest.param(["pypi-server", "-v", "comp"], set(), id="no command after a flag"),
        pytest.param(["pypi-server", "--over"], {"--overwrite"}, id="a long flag"),
        pytest.param(["pypi-server", "--server", "wait"], {"waitress"}, id="one of the choices"),
        pytest.param(["pypi-server", "--server", "=", "wait"], {"waitress"}, id="a choice after ="),
        pytest.param(["pypi-server", "--server", "="], None, id="all choices after ="),
        pytest.param(["pypi-server", "-p", ""], set(), id="nothing for a number"),
        pytest.param(["pypi-server", "-P", "pass"], {"passwords.txt"}, id="a file"),
        pytest.param(["pypi-server", "pa"], {"packages", "passwd"}, id="a folder or a command"),
        pytest.param(["pypi-server", "-v", "o"], {"other folder"}, id="a folder with a blank"),
        pytest.param(["pypi-server", "update", "--al"], {"--allow-unstable", "--allow-sdist"}, id="flags of a command"),
        pytest.param(["pypi-server", "yank", "--po"], set(), id="no flags of another command"),
        pytest.param(["pypi-server", "completion", ""], set(SHELLS), id="an operand with choices"),
        pytest.param(["pypi-server", "passwd", "pass"], {"passwords.txt"}, id="a file as operand"),
    ],
)
def test_bash_offers_what_fits(words: list[str], expected: set[str] | None, place: Path) -> None:
    listed = " ".join(f"'{word}'" for word in words)
    text = (
        f"{completion_script('bash')}\nCOMP_WORDS=({listed}) COMP_CWORD={len(words) - 1}\n"
        "_pypi_server\n((${#COMPREPLY[@]})) && printf '%s\\n' \"${COMPREPLY[@]}\"; true\n"
    )
    offered = set(run(BASH or "", "--norc", cwd=place, text=text).splitlines())
    assert offered == (set(CLASSIC_SERVERS) if expected is None else expected)


CLASSIC_SERVERS = next(option.choices for option in CLASSIC.options if option.name == "server")


@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_bash_completes_the_program(place: Path) -> None:
    text = completion_script("bash") + "complete -p pypi-server\n"
    assert run(BASH or "", "--norc", cwd=place, text=text) == "complete -o filenames -F _pypi_server pypi-server\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_flag_and_command_is_in_every_script(shell: str) -> None:
    script = completion_script(shell)
    flags = {flag for row in (CLASSIC, *COMMANDS.values()) for option in row.options for flag in option.flags}
    if shell == "fish":
        flags = {f"-l {flag[2:]} " if flag.startswith("--") else f"-s {flag[1:]} " for flag in flags}
    assert [word for word in sorted({*flags, *COMMANDS}) if word not in script] == []


def test_an_unknown_shell_is_refused() -> None:
    with raises(ConfigError, kind="unknown", setting="shell", value="tcsh"):
        completion_script("tcsh")
