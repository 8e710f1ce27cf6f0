"""Names that appear in a large tree are known to whoever asks next, before any event was told."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypiserver.backend.inotify import Inotify
from pypiserver.errors import Unavailable
from pypiserver.folder import following, journal, presence
from pypiserver.folder.journal import Journal, LostError
from pypiserver.folder.storage import Folders
from tests.make_archives import make_wheel

from ..wsgi import Client

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is of Linux")
NAME, BYTES = make_wheel("foo", "1.0")
Put = Callable[..., Path]
Serve = Callable[..., Client]
Key = tuple[int, str]


class Known:
    """A catalog that holds these folders and files."""

    def __init__(self) -> None:
        self.states: dict[Key, tuple[int, int]] = {}
        self.rows: set[Key] = set()

    def folders(self) -> dict[Key, tuple[int, int]]:
        return self.states

    def row(self, root: int, path: str) -> object:
        return True if (root, path) in self.rows else None


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def begun(root: Path, known: Known) -> Iterator[Callable[..., Journal]]:
    made: list[Journal] = []

    def begin(*roots: Path) -> Journal:
        made.append(Journal(Folders(list(roots or (root,))), known))
        made[-1].begin()
        return made[-1]

    yield begin
    for each in made:
        each.close()


def told(names: Journal, *projects: str) -> list[str]:
    names.read()
    return sorted(key[1] for key, _ in names.of(projects))


def test_every_way_in_which_a_name_appears(begun: Callable[..., Journal], root: Path, put: Put, tmp_path: Path) -> None:
    (root / "deep/er").mkdir(parents=True)
    names = begun()
    assert told(names, "foo") == []
    put("deep/er/foo-1.0.zip", b"x")
    put(".hidden", b"x").rename(root / "deep/foo-1.1.zip")
    (tmp_path / "away").write_bytes(b"x")
    (tmp_path / "away").rename(root / "foo-1.2.zip")
    os.link(root / "foo-1.2.zip", root / "foo-1.3.zip")
    (root / "foo-1.4.zip").symlink_to("foo-1.3.zip")
    put("new/folder/foo-1.5.zip", b"x")
    put("new/folder/foo-1.5.zip.asc", b"x")
    put(".hidden/foo-9.0.zip", b"x")
    put("bar-1.0.zip", b"x")
    found = [
        "deep/er/foo-1.0.zip",
        "deep/foo-1.1.zip",
        *(f"foo-1.{n}.zip" for n in (2, 3, 4)),
        "new/folder/foo-1.5.zip",
    ]
    assert told(names, "foo") == found
    assert told(names, "bar") == ["bar-1.0.zip"] and told(names, "baz") == []


def test_trees_that_move_are_followed(begun: Callable[..., Journal], root: Path, put: Put, tmp_path: Path) -> None:
    for number in range(3):
        put(f"a/{number}/old-1.{number}.zip", b"x")
    shutil.copytree(root / "a", tmp_path / "tree")
    names = begun()
    names.forget(names.of(["old"]))
    shutil.copytree(root / "a", root / "copy")
    (tmp_path / "tree").rename(root / "moved")
    assert told(names, "old") == [f"{folder}/{n}/old-1.{n}.zip" for folder in ("copy", "moved") for n in range(3)]
    (root / "a").rename(root / "b")
    put("b/1/foo-1.0.zip", b"x")
    assert told(names, "foo") == ["b/1/foo-1.0.zip"]
    (root / "b").rename(tmp_path / "out")
    (root / "a/1").mkdir(parents=True)
    put("a/1/bar-1.0.zip", b"x")
    shutil.rmtree(root / "moved")
    assert told(names, "bar") == ["a/1/bar-1.0.zip"]


def test_one_root_in_another_is_two(begun: Callable[..., Journal], root: Path, put: Put) -> None:
    (root / "inner").mkdir()
    names = begun(root, root / "inner")
    put("inner/foo-1.0.zip", b"x")
    names.read()
    assert sorted(key for key, _ in names.of(["foo"])) == [(0, "inner/foo-1.0.zip"), (1, "foo-1.0.zip")]


def test_what_the_last_scan_did_not_see_is_noted(
    begun: Callable[..., Journal], known: Known, root: Path, put: Put
) -> None:
    for path in ("seen/foo-1.0.zip", "changed/foo-1.1.zip", "changed/foo-1.2.zip", "foo-1.3.zip"):
        put(path, b"x")
    state = Folders([root]).folder_state(0, "seen")
    assert state is not None
    known.states = {(0, "seen"): state, (0, "changed"): (state[0] - 1, state[1])}
    known.rows = {(0, "changed/foo-1.1.zip")}
    assert told(begun(), "foo") == ["changed/foo-1.2.zip", "foo-1.3.zip"]


def test_names_are_forgotten_as_they_were_looked_up(
    begun: Callable[..., Journal], known: Known, root: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = begun()
    for number in range(4):
        put(f"foo-1.{number}.zip", b"x")
    names.read()
    old = names.of(["foo"])
    put("again", b"x").rename(root / "foo-1.3.zip")
    names.read()
    names.forget(old)
    assert told(names, "foo") == ["foo-1.3.zip"]
    known.rows = {(0, "foo-1.3.zip")}
    names.sweep()
    assert (told(names, "foo"), names._bytes, names._names) == ([], 0, {})
    monkeypatch.setattr(journal, "MOST_BYTES", 1000)
    for number in range(4):
        put(f"bar-1.{number}.zip", b"x")
    with pytest.raises(LostError):
        names.read()


@pytest.mark.parametrize("how", ["moved", "replaced", "deleted"])
def test_a_root_that_is_another_folder_now_is_not_followed(
    how: str, begun: Callable[..., Journal], root: Path, tmp_path: Path
) -> None:
    names = begun()
    root.rename(tmp_path / "other") if how != "deleted" else root.rmdir()
    if how == "replaced":
        root.mkdir()
    with pytest.raises(LostError):
        names.read()


def test_more_folders_than_are_followed_are_left_to_events(
    begun: Callable[..., Journal], put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_FOLDERS", 3)
    put("a/b/foo-1.0.zip", b"x")
    names = begun()
    assert told(names, "foo") == ["a/b/foo-1.0.zip"]
    put("c/d/foo-1.0.zip", b"x")
    with pytest.raises(LostError):
        names.read()
    with pytest.raises(LostError):
        begun()


def test_it_is_read_without_waiting_and_closed(tmp_path: Path) -> None:
    queue = Inotify()
    queue.watch(str(tmp_path))
    assert queue.read() == []
    with pytest.raises(FileNotFoundError):
        queue.watch(str(tmp_path / "none"))
    queue.close()
    queue.close()
    with pytest.raises(OSError):
        queue.read()


# -- in the application ----------------------------------------------------------------------------------------------


@pytest.fixture
def large(serve: Serve, put: Put, monkeypatch: pytest.MonkeyPatch) -> Client:
    """An index over a tree that counts as large, of which no event is told."""
    monkeypatch.setattr("pypiserver.folder.fs_events.Watcher.start", lambda self: None)
    for name in ("POLL_SECONDS", "RESCAN_SECONDS", "TICK_SECONDS"):
        monkeypatch.setattr(f"pypiserver.folder.scan_thread.{name}", 1000.0)
    monkeypatch.setattr(presence, "MOST_FOLDERS", 3)
    for number in range(5):
        put(f"other{number}/other{number}-1.0.zip", b"x")
    client = serve()
    assert client.get("/simple/foo/").status == 302
    return client


def test_what_is_moved_in_anywhere_is_never_sent_elsewhere(large: Client, root: Path, put: Put) -> None:
    chosen = random.Random(1)
    for number in range(12):
        folder = "/".join(chosen.choice(["x", "y", "z", f"n{number}"]) for _ in range(chosen.randrange(1, 5)))
        name, data = make_wheel(f"pkg{number}", "1.0")
        (root / folder).mkdir(parents=True, exist_ok=True)
        put(".tmp", data).rename(root / folder / name)
        assert large.get(f"/simple/pkg{number}/").status == 200
        assert large.get(f"/packages/{folder}/{name}").body == data
    assert large.get("/simple/foo/").status == 302


def test_a_file_that_is_moved_about_is_never_sent_elsewhere(large: Client, root: Path, put: Put) -> None:
    """No row tells of it, and each place that is looked at is one where it was."""
    places = [put(f"other0/{NAME}", BYTES), root / "other1" / NAME]
    real = presence.Presence.is_named

    def is_named(self: Any, key: Key) -> bool:
        for here, there in (places, reversed(places)):
            if here.exists():
                here.rename(there)
                break
        return real(self, key)

    presence.Presence.is_named = is_named  # type: ignore[method-assign]
    try:
        assert large.get("/simple/foo/").status == 503
    finally:
        presence.Presence.is_named = real  # type: ignore[method-assign]
    assert large.get("/simple/foo/").status == 200


def test_a_journal_that_lost_something_is_begun_again(large: Client, root: Path, put: Put) -> None:
    following_ = large._application.backend.presence._following  # type: ignore[attr-defined]
    before = following_._journal
    before._names, before._bytes = {}, journal.MOST_BYTES
    put(f"other3/{NAME}", BYTES)
    assert large.get("/simple/foo/").status == 200
    assert following_._journal not in (None, before)


def test_nothing_is_said_before_the_journal_has_begun(large: Client, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    following_ = large._application.backend.presence._following  # type: ignore[attr-defined]
    following_.close()
    put(f"other3/{NAME}", BYTES)
    monkeypatch.setattr(following, "BEGIN_SECONDS", 0.0)
    real = Journal.begin

    def slow(self: Journal) -> None:
        while following.BEGIN_SECONDS == 0.0:
            os.sched_yield()
        real(self)

    monkeypatch.setattr(Journal, "begin", slow)
    assert large.get("/simple/foo/").status == 503
    monkeypatch.setattr(following, "BEGIN_SECONDS", 20.0)
    assert large.get("/simple/foo/").status == 200


def test_where_no_journal_is_available_the_likely_places_are_looked_at(
    large: Client, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    following_ = large._application.backend.presence._following  # type: ignore[attr-defined]
    following_.close()

    def none(self: Inotify) -> None:
        raise OSError("no more instances")

    monkeypatch.setattr(Inotify, "__init__", none)
    monkeypatch.setattr(Inotify, "close", lambda self: None)
    put(f"foo/{NAME}", BYTES)
    assert following_.told(["foo"], lambda key: True) is None
    assert large.get("/simple/foo/").status == 200


@pytest.mark.parametrize("failure", [LostError, OSError, RuntimeError, MemoryError])
def test_a_start_that_fails_in_any_way_is_not_repeated_for_each_question(
    large: Client, monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    """It looks through the whole tree, and any client may ask for unknown names."""
    following_ = large._application.backend.presence._following  # type: ignore[attr-defined]
    following_.close()
    begun: list[Journal] = []

    def fails(self: Journal) -> None:
        begun.append(self)
        raise failure("it fails")

    monkeypatch.setattr(Journal, "begin", fails)
    for _ in range(5):
        assert following_.told(["foo"], lambda key: True) is None
    assert len(begun) == 1


def test_two_processes_have_journals_of_their_own(large: Client, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    following_ = large._application.backend.presence._following  # type: ignore[attr-defined]
    before = following_._journal
    monkeypatch.setattr(following, "process_id", lambda: -5)
    put(f"other3/{NAME}", BYTES)
    assert following_.told(["foo"], lambda key: True) == [(0, f"other3/{NAME}")]
    assert following_._journal is not before and before._inotify._fd == -1


def test_a_row_that_comes_before_the_journal_is_asked_is_seen(
    large: Client, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker may give it between the two questions, and the journal drops it then."""
    backend = large._application.backend  # type: ignore[attr-defined]
    real = following.Following.told

    def told(self: Any, *arguments: Any) -> Any:
        backend.refresher.refresh([(0, f"other3/{NAME}")])
        self.follow()
        return real(self, *arguments)

    monkeypatch.setattr(following.Following, "told", told)
    put(f"other3/{NAME}", BYTES)
    assert large.get("/simple/foo/").status == 200


def test_a_file_that_is_never_where_it_was_told_of_is_503(large: Client, put: Put) -> None:
    following_ = large._application.backend.presence._following  # type: ignore[attr-defined]
    put(f"other3/{NAME}", BYTES)

    def is_named(key: Key) -> bool:
        following_._journal._note([(0, f"other3/foo-{random.random()}.zip")])
        return False

    with pytest.raises(Unavailable):
        following_.told(["foo"], is_named)


def test_a_mark_changes_with_each_name_that_appears(begun: Callable[..., Journal], root: Path, put: Put) -> None:
    names = begun()
    before = names.mark()
    assert before is not None and before == names.mark()
    put("foo-1.0.zip", b"x")
    # It is in the queue, and then in the journal.
    assert names.mark() is None
    names.read()
    assert names.mark() not in (None, before)
    assert begun().mark() != before
    names.close()
    assert names.mark() is None


def test_there_is_no_mark_while_events_are_taken_or_a_root_is_another_one(
    begun: Callable[..., Journal], root: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, marks = begun(), []
    put("foo-1.0.zip", b"x")
    take = names._take
    monkeypatch.setattr(names, "_take", lambda event: (marks.append(names.mark()), take(event)))
    names.read()
    assert marks == [None] and names.mark() is not None
    root.rename(root.with_name("other"))
    assert names.mark() is None
