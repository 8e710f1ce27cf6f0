"""What the installed scripts call."""

from __future__ import annotations

import sys

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
