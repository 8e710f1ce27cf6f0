"""A file whose changes count from the next request: what a half-written, a missing and a large one are."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pypiserver.access.live_file import LiveFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("one\n")
    return path


def lines_of(path: Path, **options: bool) -> LiveFile[list[bytes]]:
    return LiveFile(path, lambda content: content.data.splitlines(), what="file of lines", **options)


def test_a_last_line_without_an_end_counts_once_the_file_rests(path: Path) -> None:
    """``read * !secret-*`` that is cut after the star would allow more than the line says."""
    file = lines_of(path, whole_lines=True)
    assert file.current() == [b"one"]
    path.write_text("one\ntwo * ")
    assert file.current() == [b"one"]
    path.write_text("one\ntwo * !three\n")
    assert file.current() == [b"one", b"two * !three"]
    path.write_text("one\ntwo")
    # The file system's clock cannot be set; the time of the change can be as good as past.
    os.utime(path, (time.time() - 60, time.time() - 60))
    assert file.current() == [b"one"]


def test_a_last_line_without_an_end_counts_at_the_start(path: Path) -> None:
    path.write_text("one")
    assert lines_of(path, whole_lines=True).read() == [b"one"]


def test_a_settled_file_is_taken_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lines_of(path, whole_lines=True)
    assert file.current() == [b"one"]
    path.write_text("one\ntwo")
    assert file.current() == [b"one"]
    monkeypatch.setattr("pypiserver.access.live_file.SETTLE_SECONDS", -1.0)
    assert file.current() == [b"one", b"two"]


def test_a_file_that_was_cut_to_nothing_counts_once_it_rests(path: Path) -> None:
    """``cat > FILE`` empties it before it writes; for that moment, every project would be hidden."""
    file = lines_of(path, whole_lines=True)
    assert file.current() == [b"one"]
    path.write_text("")
    assert [file.current() for _ in range(3)] == [[b"one"]] * 3
    path.write_text("two\n")
    assert file.current() == [b"two"]


def test_an_empty_file_that_took_the_place_of_another_counts_at_once(path: Path) -> None:
    """The last user was removed, by a command, which writes a new file."""
    file = lines_of(path)
    assert file.current() == [b"one"]
    new = path.with_name("new")
    new.touch()
    new.replace(path)
    assert file.current() == []


def test_an_empty_file_that_rests_is_empty(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lines_of(path)
    assert file.current() == [b"one"]
    path.write_text("")
    assert file.current() == [b"one"]
    monkeypatch.setattr("pypiserver.access.live_file.SETTLE_SECONDS", -1.0)
    assert file.current() == []
    # At the start, it is what it is.
    assert lines_of(path).read() == []


def test_a_missing_file_keeps_its_value_for_a_while_and_has_none_then(path: Path) -> None:
    now = [0.0]
    file = LiveFile(path, lambda content: content.data, what="file of bytes", clock=lambda: now[0])
    assert file.current() == b"one\n"
    path.unlink()
    assert file.current() == b"one\n"
    now[0] = 5.1
    assert file.current() is None
    path.write_text("two")
    assert file.current() == b"two"
    path.unlink()
    assert file.current() == b"two"


def test_a_file_that_never_was_there_has_no_value(tmp_path: Path) -> None:
    file = lines_of(tmp_path / "none")
    assert file.current() is None
    with pytest.raises(FileNotFoundError):
        file.read()
