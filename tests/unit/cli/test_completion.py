"""The scripts do in a real shell what they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pypiserver.cli.commands import CLASSIC, COMMANDS, SHELLS
from pypiserver.cli.completion import completion_script
from pypiserver.errors import ConfigError
from tests.raising import raises

BASH = shutil.which("bash")


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


@pytest.mark.live
@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_can_read_its_script(shell: str, place: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    (place / "script").write_text(completion_script(shell), "utf-8")
    assert run(program, "-n", "script", cwd=place) == ""


@pytest.mark.live
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pypi-server --overw", {"--overwrite"}),
        ("pypi-server unya", {"unyank"}),
        ("pypi-server --server wait", {"waitress"}),
        ("pypi-server run --allow-s", set()),
        ("pypi-server update --allow-s", {"--allow-sdist"}),
        ("pypi-server completion ", set(SHELLS)),
        ("pypi-server pack", {"packages/"}),
    ],
)
def test_fish_offers_what_fits(line: str, expected: set[str], place: Path) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("no fish here")
    (place / "script").write_text(completion_script("fish"), "utf-8")
    offered = run(fish, "-c", f"source script; complete -C '{line}'", cwd=place)
    assert {row.split("\t")[0] for row in offered.splitlines()} == expected


def typed(shell: str, line: str, awaited: str, cwd: Path) -> str:
    """What an interactive zsh shows after ``line`` and a tab, until ``awaited`` shows or two seconds are over."""
    pty, select = pytest.importorskip("pty"), pytest.importorskip("select")
    controller, terminal = pty.openpty()
    environ = {"HOME": str(cwd), "PATH": "/usr/bin:/bin", "TERM": "dumb"}
    command = [shell, "-f", "-i"]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=cwd, env=environ) as process:
        os.close(terminal)

        def read(until: str, seconds: float) -> str:
            shown, deadline = "", time.monotonic() + seconds
            while until not in shown and time.monotonic() < deadline:
                if select.select([controller], [], [], 0.1)[0]:
                    shown += os.read(controller, 65536).decode(errors="replace").replace("\a", "")
            return shown

        os.write(controller, b"autoload -Uz compinit; compinit -u -D; source ./script; echo rea''dy\n")
        assert "ready\r" in read("ready\r", 20)
        os.write(controller, line.encode() + b"\t")
        shown = read(awaited, 2 if awaited == NOTHING else 20)
        process.kill()
    os.close(controller)
    return shown


NOTHING = "nothing is awaited"


@pytest.mark.live
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pypi-server --overw", "--overwrite "),
        ("pypi-server unya", "unyank "),
        ("pypi-server --server wait", "waitress "),
        ("pypi-server run --allow-s", NOTHING),
        ("pypi-server update --allow-s", "--allow-sdist "),
        ("pypi-server completion fi", "fish "),
        ("pypi-server -P passw", "passwords.txt "),
        ("pypi-server pack", "packages/"),
    ],
)
def test_zsh_completes_what_is_typed(line: str, expected: str, place: Path) -> None:
    zsh = shutil.which("zsh")
    if zsh is None:
        pytest.skip("no zsh here")
    (place / "script").write_text(completion_script("zsh"), "utf-8")
    shown = typed(zsh, line, expected, place)
    assert expected in shown if expected != NOTHING else line in shown and "--allow-sdist" not in shown


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
