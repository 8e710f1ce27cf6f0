"""A list while the server runs: what counts when it changes, is being written, or is gone."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from pypiserver.errors import ConfigError, Unavailable
from pypiserver.proxy.list_file import LOOK_SECONDS, MOST_SECONDS, REST_SECONDS, SETTINGS, ListFile
from pypiserver.proxy.list_text import MAX_BYTES, ListKind
from tests.raising import raises


class Clocks:
    """Both clocks, set by hand; files are as old as ``age`` says."""

    def __init__(self, path: Path) -> None:
        self.path, self.now, self.age = path, 100.0, 60.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        # The time of the last change of attributes cannot be set.
        try:
            return max(os.stat(self.path).st_ctime, os.stat(self.path).st_mtime) + self.age
        except OSError:
            return 0.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "deny.txt"
    path.write_text("one\n")
    return path


@pytest.fixture
def clocks(path: Path) -> Clocks:
    return Clocks(path)


@pytest.fixture
def file(path: Path, clocks: Clocks) -> ListFile:
    return ListFile(path, "deny-projects", clock=clocks.monotonic, wall=clocks.wall)


def patterns(file: ListFile) -> list[str]:
    return [line.pattern for line in file.current().lines.lines]


def test_a_change_counts_within_a_second(file: ListFile, path: Path, clocks: Clocks) -> None:
    assert patterns(file) == ["one"]
    before = file.current().digest
    path.write_text("one\ntwo")
    clocks.now += LOOK_SECONDS
    assert patterns(file) == ["one", "two"]
    assert file.current().digest != before
    assert LOOK_SECONDS + REST_SECONDS < 0.5


def test_a_file_is_looked_at_a_few_times_in_a_second(file: ListFile, path: Path, clocks: Clocks) -> None:
    assert patterns(file) == ["one"]
    path.write_text("two\n")
    clocks.now += LOOK_SECONDS / 2
    assert patterns(file) == ["one"]


def test_a_list_that_is_being_written_does_not_deny_less(file: ListFile, path: Path, clocks: Clocks) -> None:
    assert patterns(file) == ["one"]
    clocks.age = 0.0
    for step in ("", "t", "two", "two\n", "two\nthree"):
        path.write_text(step)
        clocks.now += LOOK_SECONDS
        assert patterns(file) == ["one"]
    # It rests.
    clocks.now += REST_SECONDS
    assert patterns(file) == ["two", "three"]


def test_a_list_that_never_rests_counts_in_the_end(file: ListFile, path: Path, clocks: Clocks) -> None:
    assert patterns(file) == ["one"]
    clocks.age = 0.0
    seen = []
    for step in range(int(MOST_SECONDS / LOOK_SECONDS) + 2):
        path.write_text(f"step{step}-{'x' * step}\n")
        clocks.now += LOOK_SECONDS
        seen.append(patterns(file)[0])
    assert "one" in seen
    assert seen[-1].startswith("step")


def test_a_missing_list_is_an_outage_after_a_while(file: ListFile, path: Path, clocks: Clocks) -> None:
    assert patterns(file) == ["one"]
    path.unlink()
    clocks.now += LOOK_SECONDS
    assert patterns(file) == ["one"]
    clocks.now += 5.1
    with raises(Unavailable, kind="list"):
        file.current()
    path.write_text("two\n")
    clocks.now += LOOK_SECONDS
    assert patterns(file) == ["two"]


def test_a_list_that_never_was_there_is_an_outage(tmp_path: Path) -> None:
    file = ListFile(tmp_path / "none", "deny-projects")
    with raises(Unavailable, kind="list") as caught:
        file.current()
    assert str(tmp_path) not in caught.value.public
    assert file.known() is None


def test_what_needs_no_read_is_known_at_once(file: ListFile, path: Path, clocks: Clocks) -> None:
    assert file.known() is None
    os.utime(path, (0, 0))
    version = file.current()
    assert file.known() is version
    path.write_text("two\n")
    clocks.now += LOOK_SECONDS
    assert file.known() is None


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_a_line_that_cannot_be_used_is_an_error_at_the_start(path: Path, kind: ListKind) -> None:
    path.write_text("good always # why\n\x01\n" if kind == "allow" else "good\n\x01\n")
    with raises(ConfigError, kind="line", setting=SETTINGS[kind], value=2):
        ListFile(path, kind).check()


def test_what_is_wrong_with_a_file_is_an_error_at_the_start(path: Path) -> None:
    file = ListFile(path, "allow-projects")
    assert [line.pattern for line in file.check().lines.lines] == ["one"]
    path.write_bytes(b"\n" * (MAX_BYTES + 1))
    with raises(ConfigError, kind="too-large", setting="allow_projects"):
        file.check()
    path.unlink()
    with raises(ConfigError, kind="unreadable", setting="allow_projects"):
        file.check()


def test_a_line_that_cannot_be_used_later_is_logged_once(
    file: ListFile, path: Path, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    assert patterns(file) == ["one"]
    path.write_text("one\n\x01\ntwo<<3\n")
    clocks.now += LOOK_SECONDS
    with caplog.at_level(logging.WARNING):
        # The second has a name, so all of it is denied.
        assert patterns(file) == ["one", "two"]
        assert patterns(ListFile(path, "deny-projects")) == ["one", "two"]
    assert [record.levelname for record in caplog.records].count("ERROR") == 2
