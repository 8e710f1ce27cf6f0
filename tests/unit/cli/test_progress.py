"""Progress on a terminal: when it is drawn, with what, and that nothing of it is left."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path

import pytest

from pypiserver.cli import parser
from pypiserver.cli.commands.update import Update
from pypiserver.cli.progress import progress
from tests.fake_index import FakeIndex, serving
from tests.make_archives import make_wheel


class Terminal(io.StringIO):
    """What a terminal was sent."""

    def isatty(self) -> bool:
        return True

    @property
    def left(self) -> str:
        """What a person sees at the end: each line as it was last overwritten."""
        shown: list[str] = []
        for part in self.getvalue().split("\r"):
            shown[: len(part)] = part
        return "".join(shown).strip()


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bar_of_hashes_shows_when_work_takes_long_and_leaves_nothing() -> None:
    terminal, clock = Terminal(), Clock()
    with progress("checking", terminal, clock=clock) as tell:
        tell(1, 6000)
        assert terminal.getvalue() == ""
        clock.now = 0.5
        tell(1000, 6000)
        tell(1001, 6000)
        clock.now = 0.6
        tell(2000, 6000)
        assert terminal.getvalue().split("\r")[1:] == [
            f"checking [{'#' * 5:<30}] 1,000/6,000, 2,000/s, 0:00:02 left",
            f"checking [{'#' * 10:<30}] 2,000/6,000, 3,333/s, 0:00:01 left",
        ]
        tell(6000, 6000)
        assert terminal.left == ""
        terminal.write("no faults\n")
    assert terminal.left == "no faults"


def test_a_number_that_is_not_known_is_counted() -> None:
    terminal, clock = Terminal(), Clock()
    with progress("reading", terminal, clock=clock) as tell:
        clock.now = 1.0
        tell(1000, 0)
        assert terminal.getvalue() == "\rreading 1,000, 1,000/s"
    assert terminal.left == ""


@pytest.mark.parametrize("columns", [20, 40, 60, 200])
def test_a_line_is_never_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal, clock, threads = Terminal(), Clock(), threading.active_count()
    with progress("checking", terminal, clock=clock) as tell:
        for clock.now, done in ((1.0, 1), (1000.0, 3), (10_000.0, 1)):
            tell(done, 1_000_000)
    assert {len(part) < columns for part in terminal.getvalue().split("\r")} == {True}
    assert terminal.left == ""
    assert threading.active_count() == threads


@pytest.mark.parametrize("stream", [io.StringIO(), None], ids=["a file", "closed"])
def test_nothing_is_written_elsewhere(stream: io.StringIO | None) -> None:
    clock = Clock()
    with progress("checking", stream, clock=clock) as tell:
        clock.now = 9.0
        tell(1, 2)
    assert stream is None or stream.getvalue() == ""


@pytest.fixture
def packages(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("pypiserver.cli.progress.DELAY_SECONDS", 0.0)
    monkeypatch.setattr("pypiserver.cli.progress.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("pypiserver.folder.scanner.SAY_EACH", 1)
    for name in ("one", "three", "two"):
        wheel, data = make_wheel(name, "1.0")
        (root / wheel).write_bytes(data)
    return root


def test_a_check_reads_the_folders_and_then_the_files(packages: Path, tmp_path: Path) -> None:
    command = parser.parse(["check", str(packages), "--catalog", str(tmp_path / "c.sqlite")], {})
    out, terminal = io.StringIO(), Terminal()
    assert command.run(out, terminal) == 0
    shown = [part for part in terminal.getvalue().split("\r") if part.strip()]
    assert [re.sub(r" \[.*\]|, .*", "", part).strip() for part in shown] == [
        "reading the folders 1", "reading the folders 2", "reading the folders 3", "checking 1/3", "checking 2/3",
    ]  # fmt: skip
    assert terminal.left == ""
    pipe = io.StringIO()
    assert command.run(out, pipe) == 0
    assert pipe.getvalue() == ""


def test_an_update_tells_how_many_projects_were_looked_up(packages: Path) -> None:
    with serving(FakeIndex()) as index:
        for name in ("one", "three", "two"):
            index.add(name, make_wheel(name, "1.0")[0])
        command = parser.parse(["update", str(packages), "--index-url", index.url], {})
        assert isinstance(command, Update)
        out = Terminal()
        assert command.run(out, io.StringIO()) == 0
    assert f"\rchecking [{'#' * 20:<30}] 2/3" in out.getvalue()
    assert "#" not in out.left
