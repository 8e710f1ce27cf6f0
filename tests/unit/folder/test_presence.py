"""What is in a folder at this moment is found, whatever events and scans have told."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from pypiserver.errors import Unavailable
from pypiserver.folder import presence
from pypiserver.folder.presence import Presence
from pypiserver.folder.storage import Folders
from tests.make_archives import make_wheel

from ..wsgi import Client

NAME, BYTES = make_wheel("foo", "1.0")
NEXT, NEXT_BYTES = make_wheel("foo", "2.0")
Put = Callable[..., Path]
Serve = Callable[..., Client]


def settle(folder: Path) -> None:
    """As a folder that changed a while ago: one that did just now is listed each time."""
    os.utime(folder, (1_600_000_000, 1_600_000_000))


def test_names_are_found_by_project_as_soon_as_they_are_there(root: Path, put: Put) -> None:
    names = Presence(Folders([root]))
    assert names.holding(["foo"]) == []
    put("Foo_Bar-1.0.zip", b"x")
    put("sub/Foo-2.0.tar.gz", b"x")
    put("foo-notes.txt", b"x")
    put(".foo-3.0.zip", b"x")
    for _ in range(2):
        assert sorted(names.holding(["foo"]) or ()) == [(0, "Foo_Bar-1.0.zip"), (0, "sub/Foo-2.0.tar.gz")]
        assert names.holding(["foo-bar"]) == [(0, "Foo_Bar-1.0.zip")] and names.holding(["bar"]) == []
        settle(root), settle(root / "sub")
    put("sub/foo-4.0.zip", b"x")
    assert len(names.holding(["foo"]) or ()) == 3 and names.is_named((0, "sub/foo-4.0.zip"))
    shutil.rmtree(root / "sub")
    assert names.holding(["foo"]) == [(0, "Foo_Bar-1.0.zip")]
    shutil.rmtree(root)
    with pytest.raises(Unavailable):
        names.holding(["foo"])


@pytest.mark.parametrize(("most_folders", "most_names"), [(2, 1000), (64, 2)])
def test_a_large_tree_is_searched_only_where_that_may_take_its_time(
    most_folders: int, most_names: int, root: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "MOST_FOLDERS", most_folders)
    monkeypatch.setattr(presence, "MOST_NAMES", most_names)
    for name in ("a/foo-1.0.zip", "b/foo-2.0.zip", "c/bar-1.0.zip"):
        put(name, b"x")
    names = Presence(Folders([root]))
    assert names.holding(["foo"]) is None
    assert sorted(names.holding(["foo"], is_thorough=True) or ()) == [(0, "a/foo-1.0.zip"), (0, "b/foo-2.0.zip")]


def test_of_a_root_with_many_folders_nothing_is_listed_again_and_nothing_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stranger asks for must not cost a walk over all of them."""
    monkeypatch.setattr(presence, "MOST_FOLDERS", 2)
    monkeypatch.setattr(presence, "MOST_NAMES", 20)
    for number in range(50):
        (root / f"folder{number}").mkdir()
    names = Presence(Folders([root]))
    assert names.holding(["foo"]) is None
    scanned: list[object] = []
    monkeypatch.setattr(presence.os, "scandir", lambda place: scanned.append(place))
    assert names.holding(["foo"]) is None
    assert (scanned, names._roots, names._listed) == ([], {}, {})


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event is told, and the folders are looked at once."""
    monkeypatch.setattr("pypiserver.folder.fs_events.Watcher.start", lambda self: None)
    for name in ("POLL_SECONDS", "RESCAN_SECONDS", "TICK_SECONDS"):
        monkeypatch.setattr(f"pypiserver.folder.scan_thread.{name}", 1000.0)


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("folder", ["", "new/folder/"])
def test_a_file_that_was_moved_in_is_served_at_once(folder: str, serve: Serve, put: Put, root: Path) -> None:
    put("bar-1.0.zip", b"x")
    client = serve()
    assert client.get("/simple/foo/").status == 302
    put(f".build/{NAME}", BYTES)
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / ".build" / NAME).rename(root / folder / NAME)
    assert client.get("/simple/foo/").status == 200
    assert client.get(f"/packages/{folder}{NAME}").body == BYTES


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("path", ["/simple/foo/", f"/packages/{NAME}"])
def test_a_row_that_comes_while_it_is_asked_for_is_seen(
    path: str, serve: Serve, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event may be told between the question to the catalog and the one to the folders."""
    put("bar-1.0.zip", b"x")
    client = serve()
    assert client.get("/simple/foo/").status == 302
    put(NAME, BYTES)
    real, sync = Presence.holding, client._application.backend.refresher  # type: ignore[attr-defined]

    def holding(self: Presence, projects: Collection[str], *, is_thorough: bool = False) -> object:
        sync.refresh([(0, NAME)])
        return real(self, projects, is_thorough=is_thorough)

    monkeypatch.setattr(Presence, "holding", holding)
    assert client.get(path).status == 200


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("folder", ["", "foo/", "Foo/new/"])
def test_in_a_large_tree_the_likely_places_are_looked_at(
    folder: str, serve: Serve, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "MOST_FOLDERS", 3)
    for number in range(5):
        put(f"other{number}/other{number}-1.0.zip", b"x")
    client = serve()
    for _ in range(2):
        assert client.get("/simple/foo/").status == 302
    put(f"{folder}{NAME}", BYTES)
    assert client.get("/simple/foo/").status == 200
    assert client.get("/simple/nowhere/").status == 302


@pytest.mark.usefixtures("unwatched")
def test_the_only_file_of_a_project_is_exchanged_without_an_outage(serve: Serve, put: Put, root: Path) -> None:
    old = put(NAME, BYTES)
    client = serve()
    assert client.get("/simple/foo/").status == 200
    put(f"new/{NEXT}", NEXT_BYTES)
    old.unlink()
    client._application.backend.refresher.refresh([(0, NAME)])  # type: ignore[attr-defined]
    assert NEXT.encode() in client.get("/simple/foo/").body


@pytest.mark.usefixtures("unwatched")
def test_a_file_that_was_moved_in_is_downloaded_at_once(serve: Serve, put: Put) -> None:
    put("bar-1.0.zip", b"x")
    client = serve()
    assert client.get(f"/packages/{NAME}").status == 404
    put(NAME, BYTES)
    assert client.get(f"/packages/{NAME}").body == BYTES


@pytest.mark.usefixtures("unwatched")
def test_a_project_whose_old_file_goes_when_its_new_one_came_is_never_sent_elsewhere(
    serve: Serve, put: Put, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = put(NAME, BYTES)
    client = serve()
    assert client.get("/simple/foo/").status == 200
    # As in a large tree.
    monkeypatch.setattr(Presence, "holding", lambda self, projects, *, is_thorough=False: None)
    put(NEXT, NEXT_BYTES)
    old.unlink()
    monkeypatch.setattr("pypiserver.folder.partial_files.HOLD_SECONDS", 0.0)
    for _ in range(5):
        for path in (f"/packages/{NAME}", "/simple/foo/", "/foo/json"):
            answer = client.get(path)
            assert answer.status in (200, 503), (path, answer)
    monkeypatch.undo()
    application = client._application
    application.backend.refresher.scan()  # type: ignore[attr-defined]
    assert NEXT.encode() in client.get("/simple/foo/").body


@pytest.mark.usefixtures("unwatched")
def test_a_file_that_is_given_its_time_after_it_was_seen_is_served_at_once(serve: Serve, put: Put, root: Path) -> None:
    path = put(NAME, BYTES, mtime=time.time())
    client = serve()
    client._application.backend.refresher.scan(quiet=True)  # type: ignore[attr-defined]
    os.utime(path, (1_600_000_000, 1_600_000_000))
    assert NAME.encode() in client.get("/simple/foo/").body
    assert client.get(f"/packages/{NAME}").body == BYTES


@pytest.mark.usefixtures("unwatched")
def test_a_file_that_is_written_again_in_place_is_503_and_never_404(serve: Serve, put: Put) -> None:
    path = put(NAME, BYTES)
    client = serve()
    assert client.get(f"/packages/{NAME}").status == 200
    for size in (0, 100, len(BYTES) - 1):
        path.write_bytes(BYTES[:size])
        # Also with its old time, as rsync --inplace leaves it in the end.
        for seconds in (None, (1_600_000_000, 1_600_000_000)):
            os.utime(path, seconds)
            answers = {client.get(each).status for each in (f"/packages/{NAME}", f"/packages/{NAME}.metadata")}
            assert answers == {503}, (size, seconds)
            assert client.get("/simple/foo/").status == 503
    path.write_bytes(BYTES)
    assert client.get(f"/packages/{NAME}").body == BYTES


def test_a_mark_changes_with_each_name_that_appears(root: Path, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("sub/foo-1.0.zip", b"x")
    names = Presence(Folders([root]))
    # Before the first look, and while a folder may change again and look the same, there is none.
    assert names.mark() is None and names.holding(["bar"]) == [] and names.mark() is None
    settle(root), settle(root / "sub")
    names.holding(["bar"])
    before = names.mark()
    assert before is not None and before == names.mark()
    names.holding(["bar"])
    assert names.mark() == before
    put("sub/bar-1.0.zip", b"x")
    assert names.mark() is None and names.holding(["bar"])
    settle(root / "sub")
    names.holding(["bar"])
    assert names.mark() not in (None, before)
    shutil.rmtree(root)
    assert names.mark() is None
    # What other machines change is told by a look only.
    monkeypatch.setattr(presence, "is_shared", lambda place: True)
    root.mkdir()
    settle(root)
    other = Presence(Folders([root]))
    assert other.holding(["bar"]) == [] and other.mark() is None
