"""Completion in bash, zsh and fish themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pypiserver.cli.commands.completion import SHELLS
from tests.unit.cli import test_completion as unit
from tests.unit.cli.test_completion import completion_script, run

pytestmark = pytest.mark.live
place = unit.place


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_can_read_its_script(shell: str, place: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    (place / "script").write_text(completion_script(shell), "utf-8")
    assert run(program, "-n", "script", cwd=place) == ""


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
