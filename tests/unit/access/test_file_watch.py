"""A watched file: every way to change it counts at the next question, and no question costs a look at the file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.access import file_watch, live_file
from pypiserver.access.file_watch import FileWatch, Followed
from pypiserver.access.live_file import LiveFile
from pypiserver.backend.inotify import Event, Inotify
from pypiserver.backend.mounts import is_local
from pypiserver.process import PerProcess


@pytest.fixture(autouse=True)
def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, as those that rest for two seconds."""
    if not (is_local(tmp_path, is_folder=True) and is_local(tmp_path, is_folder=False)):
        pytest.skip("nothing is watched on this file system")
    monkeypatch.setattr(live_file, "SETTLE_SECONDS", -1.0)


def rewrite(path: Path, text: str) -> None:
    path.write_text(text)


def replace(path: Path, text: str) -> None:
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


def remove_and_write(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def append_through_another_name(path: Path, text: str) -> None:
    other = path.with_name("other")
    os.link(path, other)
    other.write_text(text)


def move_its_folder(path: Path, text: str) -> None:
    folder = path.resolve().parent
    new = folder.with_name("another")
    new.mkdir()
    (new / path.name).write_text(text)
    folder.rename(folder.with_name("before"))
    new.rename(folder)


def keep_size_and_time(path: Path, text: str) -> None:
    status = path.stat()
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "folder" / "file"
    path.parent.mkdir(parents=True)
    path.write_text("one")
    return path


def frozen(path: Path) -> LiveFile[bytes]:
    """The file, looked at only when something happened: its clock stays."""
    return LiveFile(path, lambda content: content.data, what="file", clock=lambda: 7.0)


CHANGES = (rewrite, replace, remove_and_write, append_through_another_name, move_its_folder, keep_size_and_time)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_counts_at_the_next_question(path: Path, change: Callable[[Path, str], None]) -> None:
    file = frozen(path)
    for text in ("one", "two", "six"):
        if text != "one":
            for left in ("other", "../before"):
                rest = path.parent / left
                if rest.is_dir():
                    rest.rename(path.parent.parent / f"before-{text}")
                rest.unlink(missing_ok=True) if not rest.is_dir() else None
            change(path, text)
        for _ in range(3):
            assert file.current() == text.encode()
            assert file.known() == text.encode()


@pytest.mark.parametrize("depth", ["file", "folder"])
def test_a_link_that_leads_elsewhere_counts_at_the_next_question(tmp_path: Path, depth: str) -> None:
    """As Kubernetes changes a Secret: ``file -> ..data/file``, ``..data -> ..1``, which is replaced."""
    for number in "12":
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "file").write_text(number)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "file").symlink_to("..data/file")
    (tmp_path / "link").symlink_to(tmp_path / "..data")
    file = frozen(tmp_path / "file" if depth == "file" else tmp_path / "link" / "file")
    assert (file.current(), file.current()) == (b"1", b"1")
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert (file.current(), file.current()) == (b"2", b"2")
    (tmp_path / "..2" / "file").write_text("3")
    assert file.current() == b"3"


def test_a_thousand_questions_look_at_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = frozen(path)
    assert file.current() == b"one"
    # Each look takes a mark first.
    monkeypatch.setattr(Followed, "mark", lambda self: pytest.fail("the file is looked at"))
    for number in range(500):
        # Another file in the same folder is no change of this one.
        path.with_name("neighbor").write_text(str(number))
        assert (file.current(), file.known()) == (b"one", b"one")


def test_a_change_without_an_event_counts_within_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    file = LiveFile(path, lambda content: content.data, what="file", clock=lambda: now[0])
    assert file.current() == b"one"
    monkeypatch.setattr(FileWatch, "count", lambda self, known=FileWatch.count: file._looked[0])  # type: ignore[index]
    rewrite(path, "two")
    assert file.current() == b"one"
    now[0] += file_watch.LOOK_SECONDS
    assert file.current() == b"two"


@pytest.mark.parametrize("reason", ["no inotify", "a file system that others change", "too many watches"])
def test_what_cannot_be_watched_is_looked_at_each_time(
    path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    if reason == "no inotify":
        monkeypatch.setattr(file_watch, "_ours", PerProcess(file_watch._Ours))
        monkeypatch.setattr(file_watch, "Inotify", lambda: (_ for _ in ()).throw(OSError()))
    elif reason == "too many watches":
        monkeypatch.setattr(file_watch, "MOST", 0)
    else:
        monkeypatch.setattr(file_watch, "is_local", lambda place, *, is_folder: False)
    file = frozen(path)
    for text in ("one", "two", "six"):
        replace(path, text)
        assert (file.current(), file.known()) == (text.encode(), text.encode())
        assert file._looked is None


def test_a_child_process_has_a_queue_of_its_own(path: Path) -> None:
    """What the child reads is not missing in the parent."""
    file = frozen(path)
    assert file.current() == b"one"
    child = os.fork()
    if child == 0:
        try:
            rewrite(path, "two")
            os._exit(0 if file.current() == b"two" and file._looked is not None else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert file.current() == b"two"


def test_no_thread_gets_an_old_value_after_a_change(path: Path) -> None:
    """A thread that finds the queue empty because another one reads it waits for what that one reads."""
    file, old = frozen(path), []
    written, ended = 0, threading.Event()

    def ask() -> None:
        while not ended.is_set():
            least = written
            found = file.current()
            if found is None or int(found or b"-1") < least:
                old.append((least, found))

    file.current()
    replace(path, "0")
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 150):
        replace(path, str(number))
        written = number
    ended.set()
    for thread in threads:
        thread.join()
    assert old == []


def test_a_queue_that_another_thread_emptied_is_no_sign_of_rest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, emptied, asked = frozen(path), threading.Event(), threading.Event()
    assert file.current() == b"one"
    real = Inotify.read

    def slow(self: Inotify) -> list[Event]:
        events = real(self)
        emptied.set()
        asked.wait(0.05)
        return events

    monkeypatch.setattr(Inotify, "read", slow)
    rewrite(path, "two")
    reader = threading.Thread(target=file.current)
    reader.start()
    emptied.wait()
    found = file.current()
    asked.set()
    reader.join()
    assert found == b"two"
