"""What the installed scripts call."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pytest

from pypiserver import __version__, console


def guarded_lines(path: Path) -> range:
    """The lines between the first ``try`` of a module and what it does with an interrupt."""
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    return range(lines.index("try:") + 2, lines.index("except KeyboardInterrupt:") + 1)


FRONT_DOOR = [Path(console.__file__), Path(console.__file__).with_name("__main__.py")]
GUARDED = {str(path): guarded_lines(path) for path in FRONT_DOOR}


def test_the_version_needs_nothing_of_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # An import of it fails.
    monkeypatch.setitem(sys.modules, "pypiserver.cli.program", None)
    monkeypatch.setattr(sys, "argv", ["pypi-server", "--version"])
    assert console.main() == 0
    assert capsys.readouterr().out == f"pypi-server {__version__}\n"


@pytest.mark.parametrize("argv", [["completion", "bash"], ["--version", "check"], ["no such command"]])
def test_every_other_command_line_is_for_the_whole_program(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pypiserver.cli.program import main

    monkeypatch.setattr(sys, "argv", ["pypi-server", *argv])
    expected = (main(argv), capsys.readouterr())
    assert (console.main(), capsys.readouterr()) == expected


def test_a_closed_output_is_for_the_whole_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypiserver.cli.program", None)
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
    [(as_script, "pypiserver.cli.program"), (as_module, "pypiserver.cli"), (as_module, "pypiserver.errors")],
)
def test_an_interrupt_before_everything_is_imported_is_no_failure(
    start: Callable[[], int], name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pypi-server", "completion", "bash"])
    for imported in ("pypiserver.__main__", "pypiserver.cli.program", name):
        monkeypatch.delitem(sys.modules, imported, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(name), *sys.meta_path])
    assert start() == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("start", [as_script, as_module])
def test_an_interrupt_at_any_line_of_the_front_door_is_an_exit_status(
    start: Callable[[], int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under load it came between the imports and the program, and ended the process by the signal."""
    monkeypatch.setattr(sys, "argv", ["pypi-server", "completion", "bash"])
    statuses = [interrupted_at(line, start, monkeypatch) for line in range(40)]
    assert statuses[-1] == 0, "the last ones interrupt nothing"
    assert set(statuses) == {0, 130}
    assert sorted(statuses, reverse=True) == statuses
    assert capsys.readouterr().err == ""


def interrupted_at(number: int, start: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status where the interrupt comes before this line of those that run."""
    left = [number]

    def look(frame: Any, event: str, argument: Any) -> Any:
        guarded = GUARDED.get(frame.f_code.co_filename)
        if guarded is None:
            return None
        if event == "line" and frame.f_lineno in guarded:
            left[0] -= 1
            if left[0] == -1:
                raise KeyboardInterrupt
        return look

    monkeypatch.delitem(sys.modules, "pypiserver.__main__", raising=False)
    before = sys.gettrace()
    sys.settrace(look)
    try:
        return start()
    finally:
        sys.settrace(before)
