"""What the installed scripts call."""

from __future__ import annotations

import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pytest

from pypiserver import __version__, console


def test_the_version_needs_nothing_of_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # An import of it fails.
    monkeypatch.setitem(sys.modules, "pypiserver.__main__", None)
    monkeypatch.setattr(sys, "argv", ["pypi-server", "--version"])
    assert console.main() == 0
    assert capsys.readouterr().out == f"pypi-server {__version__}\n"


@pytest.mark.parametrize("argv", [["completion", "bash"], ["--version", "check"], ["no such command"]])
def test_every_other_command_line_is_for_the_whole_program(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pypiserver.__main__ import main

    monkeypatch.setattr(sys, "argv", ["pypi-server", *argv])
    expected = (main(argv), capsys.readouterr())
    assert (console.main(), capsys.readouterr()) == expected


def test_a_closed_output_is_for_the_whole_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypiserver.__main__", None)
    monkeypatch.setattr(sys, "argv", ["pypi-server", "--version"])
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(ImportError):
        console.main()


class Interrupted(MetaPathFinder):
    """Ctrl-C in the middle of an import."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == self.name:
            raise KeyboardInterrupt


def as_script() -> int:
    return console.main()


def as_module() -> int:
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("pypiserver", run_name="__main__")
    return int(str(ended.value.code))


@pytest.mark.parametrize(
    ("start", "name"),
    [(as_script, "pypiserver.__main__"), (as_module, "pypiserver.cli"), (as_module, "pypiserver.errors")],
)
def test_an_interrupt_before_everything_is_imported_is_no_failure(
    start: Callable[[], int], name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pypi-server", "completion", "bash"])
    for imported in ("pypiserver.__main__", name):
        monkeypatch.delitem(sys.modules, imported, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(name), *sys.meta_path])
    assert start() == 130
    assert capsys.readouterr() == ("", "")


SCRIPT = ("-c", "import sys; from pypiserver.console import main; sys.exit(main())")


@pytest.mark.live
@pytest.mark.parametrize("start", [SCRIPT, ("-m", "pypiserver")], ids=["script", "module"])
@pytest.mark.parametrize("imported", ["pypiserver.errors", "pypiserver.settings.setting", "pypiserver.cli.help"])
def test_an_interrupted_start_is_130_without_a_traceback(start: tuple[str, ...], imported: str, tmp_path: Path) -> None:
    # It says what it has imported; then it would wait for a password.
    command = [sys.executable, "-X", "importtime", *start, "passwd", str(tmp_path / "users"), "ada"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if line.split()[-1] == imported)
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
    assert (process.returncode, "Traceback" in said) == (130, False)
