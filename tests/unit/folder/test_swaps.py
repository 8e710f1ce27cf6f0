"""What is looked at and then used may be another thing by then: each test puts that between the two."""

from __future__ import annotations

import ast
import errno
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypiserver.access import htpasswd_file
from pypiserver.backend.name_lock import lock
from pypiserver.backend.stored_file import ScanResult
from pypiserver.catalog.sqlite import file as sqlite_file
from pypiserver.catalog.sqlite.leader_lock import FileLeaderLock
from pypiserver.errors import NotFound
from pypiserver.folder import atomic, copy_endpoint, storage, trash, tree
from pypiserver.folder import staged as staging
from pypiserver.folder.storage import Folders

from ..faults import Faults

if sys.platform != "linux":
    pytest.skip("folders are held open, and locked files deleted", allow_module_level=True)

SOURCE = Path(atomic.__file__).parents[1]
NAME = "foo-1.0.tar.gz"


def before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, swap: Callable[[], object]) -> list[str]:
    """Do this once, just before the next call of a function; gives a list that is not empty once it was done."""
    real, done = getattr(owner, name), []

    def call(*arguments: Any, **more: Any) -> Any:
        if not done:
            done.append(name)
            swap()
        return real(*arguments, **more)

    monkeypatch.setattr(owner, name, call)
    return done


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A root with a file in a folder of it, and a folder of someone else with a file of that name."""
    root, others = tmp_path / "root", tmp_path / "others"
    for folder in (root / "deep", others):
        folder.mkdir(parents=True)
        for suffix in ("", ".asc"):
            (folder / f"{NAME}{suffix}").write_bytes(b"ours" if folder != others else b"theirs")
    return root, others


def swapped(root: Path, others: Path) -> None:
    (root / "deep").rename(root / "moved")
    (root / "deep").symlink_to(others)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


CHANGES: dict[str, tuple[Any, str, Callable[[Folders], object]]] = {
    "upload": (staging, "open_unnamed", lambda roots: store(roots, "deep", "bar-1.0.tar.gz")),
    "upload, named": (staging, "place", lambda roots: store(roots, "deep", "bar-1.0.tar.gz")),
    "remove": (trash, "claimed", lambda roots: roots.remove(0, f"deep/{NAME}")),
    "yank": (storage, "claimed", lambda roots: roots.write_sidecar(0, f"deep/{NAME}", ".yanked", b"")),
    "unyank": (storage, "sidecar_path", lambda roots: roots.remove_sidecar(0, f"deep/{NAME}", ".asc")),
    "trash": (trash, "claimed", lambda roots: roots.trash(0, f"deep/{NAME}")),
    "time": (os, "utime", lambda roots: roots.set_time(0, f"deep/{NAME}", 10**18)),
}


def store(roots: Folders, directory: str, filename: str) -> None:
    staged = roots.stage(directory)
    try:
        staged.write(b"new")
        staged.publish(filename, overwrite=False, sidecars={})
    finally:
        staged.discard()


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_goes_through_a_link_that_took_the_place_of_a_folder(
    places: tuple[Path, Path], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, others = places
    theirs, modified = contents(others), (others / NAME).stat().st_mtime_ns
    owner, function, act = CHANGES[change]
    done = before(monkeypatch, owner, function, lambda: swapped(root, others))
    act(Folders([root]))
    assert done and contents(others) == theirs and (others / NAME).stat().st_mtime_ns == modified
    ours = {NAME: b"ours", f"{NAME}.asc": b"ours"}
    wanted = {
        "upload": {**ours, "bar-1.0.tar.gz": b"new"},
        "upload, named": {**ours, "bar-1.0.tar.gz": b"new"},
        "remove": {},
        "yank": {**ours, f"{NAME}.yanked": b""},
        "unyank": {NAME: b"ours"},
        "trash": {},
        "time": ours,
    }
    assert contents(root / "moved") == wanted[change]


def test_what_comes_back_from_the_trash_goes_through_no_link(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, others = places
    theirs = contents(others)
    Folders([root]).trash(0, f"deep/{NAME}")
    done = before(monkeypatch, trash, "place", lambda: swapped(root, others))
    Folders([root]).restore(0, f"deep/{NAME}")
    assert done and contents(others) == theirs
    assert contents(root / "moved") == {NAME: b"ours", f"{NAME}.asc": b"ours"}


def test_a_file_that_leaves_the_trash_meanwhile_is_not_there(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = places
    Folders([root]).trash(0, f"deep/{NAME}")
    before(monkeypatch, trash, "place", lambda: (root / ".trash" / "deep" / NAME).unlink())
    with pytest.raises(NotFound):
        Folders([root]).restore(0, f"deep/{NAME}")


def test_a_link_that_was_turned_elsewhere_tells_nothing_of_that(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, others = places
    link = root / "link-1.0.tar.gz"
    link.symlink_to(root / "deep" / NAME)

    def turn() -> None:
        link.unlink()
        link.symlink_to(others / NAME)

    done, scan = before(monkeypatch, tree, "look_through", turn), ScanResult()
    assert {entry.path for entry in Folders([root]).walk(scan)} == {f"deep/{NAME}", f"deep/{NAME}.asc"} and done
    assert [reason for *_, reason in scan.skipped] == ["it is a link to a file outside of the folders"]


def test_a_status_that_became_a_pipe_or_a_link_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = tmp_path / ".status"
    statuses.mkdir()
    for name in ("pipe", "link", "stays"):
        (statuses / name).write_text("archived")

    def swap() -> None:
        (statuses / "pipe").unlink()
        os.mkfifo(statuses / "pipe")
        (statuses / "link").unlink()
        (statuses / "link").symlink_to("/etc/hostname")

    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: (real(folder), swap())[0])
    assert Folders([tmp_path]).statuses() == {"stays": "archived"}
    monkeypatch.undo()
    assert stat.S_ISFIFO((statuses / "pipe").lstat().st_mode)
    statuses.rename(tmp_path / "elsewhere")
    statuses.symlink_to(tmp_path / "elsewhere")
    assert Folders([tmp_path]).statuses() == {}


@pytest.mark.parametrize("gone", ["file", "signature"])
def test_what_is_replaced_may_go_meanwhile(tmp_path: Path, gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in ("", ".asc"):
        (tmp_path / f"{NAME}{suffix}").write_bytes(b"old")
    victim = tmp_path / (NAME if gone == "file" else f"{NAME}.asc")
    faults = Faults()
    done = before(monkeypatch, atomic._Steps, "_lock", victim.unlink)
    roots = Folders([tmp_path], operations=faults.operations)
    staged = roots.stage()
    staged.write(b"new")
    staged.publish(NAME, overwrite=True, sidecars={})
    assert done and contents(tmp_path) == {NAME: b"new"}


@pytest.mark.parametrize("suffix", ["", ".asc"])
def test_what_is_removed_may_go_meanwhile(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("", ".asc"):
        (tmp_path / f"{NAME}{each}").write_bytes(b"old")
    done = before(monkeypatch, trash, "claimed", (tmp_path / f"{NAME}{suffix}").unlink)
    Folders([tmp_path]).remove(0, NAME)
    assert done and contents(tmp_path) == {}


def test_what_is_taken_back_is_no_file_that_came_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = Folders([tmp_path])
    (tmp_path / NAME).write_bytes(b"ours")
    entry = roots.stat(0, NAME)
    assert entry is not None

    def come() -> None:
        (tmp_path / "new").write_bytes(b"theirs")
        (tmp_path / "new").replace(tmp_path / NAME)

    # Once before it is looked at under the claim, once after that.
    for owner, function in ((trash, "claimed"), (trash, "hidden_name")):
        (tmp_path / NAME).write_bytes(b"ours")
        entry = roots.stat(0, NAME)
        assert entry is not None
        done = before(monkeypatch, owner, function, come)
        assert not roots.take_back(entry) and done
        monkeypatch.undo()
        assert contents(tmp_path) == {NAME: b"theirs"}
    entry = roots.stat(0, NAME)
    assert entry is not None and roots.take_back(entry) and contents(tmp_path) == {}


def test_a_name_is_taken_by_one_also_where_there_are_no_hard_links(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"ours")
    (tmp_path / NAME).write_bytes(b"theirs")
    faults = Faults("link", errno.EPERM)
    for _ in range(2):
        with pytest.raises(FileExistsError):
            atomic.name_exclusively(tmp_path / "part", tmp_path / NAME, may_rename=True, operations=faults.operations)
    assert contents(tmp_path) == {"part": b"ours", NAME: b"theirs"}
    (tmp_path / NAME).unlink()
    atomic.name_exclusively(tmp_path / "part", tmp_path / NAME, may_rename=True, operations=faults.operations)
    assert contents(tmp_path) == {NAME: b"ours"}


def test_what_is_cleaned_up_is_locked_until_it_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = tmp_path / f".upload-{'0' * 32}.claim"
    claim.touch()
    taken = []

    def take() -> None:
        descriptor = os.open(claim, os.O_RDWR)
        taken.append(lock(descriptor, wait=False))
        os.close(descriptor)

    done = before(monkeypatch, Path, "unlink", take)
    assert staging.remove_stale(tmp_path, time.time() + 60) == 1
    assert done and taken == [False]


def test_what_is_cleaned_up_has_its_name_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = tmp_path / f".upload-{'0' * 32}.claim"
    claim.touch()

    def another() -> None:
        claim.rename(tmp_path / "first")
        claim.write_bytes(b"another")

    done = before(monkeypatch, staging, "lock", another)
    assert staging.remove_stale(tmp_path, time.time() + 60) == 0
    assert done and claim.read_bytes() == b"another"


def test_a_sidecar_that_came_meanwhile_stays_when_packages_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).write_bytes(b"bytes")
    roots, yank = Folders([tmp_path]), tmp_path / f"{NAME}.yanked"
    done = before(monkeypatch, atomic, "name_exclusively", lambda: yank.write_bytes(b"by hand"))
    roots.write_sidecar(0, NAME, ".yanked", b"copied", overwrite=False)
    assert done and yank.read_bytes() == b"by hand"


def test_a_status_that_came_meanwhile_stays_when_packages_are_copied(tmp_path: Path) -> None:
    end = copy_endpoint.FolderEndpoint(tmp_path)
    end.set_status("foo", "archived")
    end.set_status("foo", "deprecated")
    (tmp_path / ".status" / "bar").symlink_to(tmp_path / "nowhere")
    end.set_status("bar", "deprecated")
    assert (tmp_path / ".status" / "foo").read_text() == "archived"
    assert not (tmp_path / "nowhere").exists()


def test_passwords_that_are_set_at_once_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "access.password_hashes"
    monkeypatch.setattr(htpasswd_file, "make_hash", lambda password: password)
    threads = [
        threading.Thread(target=htpasswd_file.set_password, args=(file, f"user{number}", "secret"))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(file.read_text().split()) == [f"user{number}:secret" for number in range(8)]


def test_a_line_that_another_program_writes_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "access.password_hashes"
    file.write_text("alice:one\n")
    monkeypatch.setattr(htpasswd_file, "make_hash", lambda password: password)
    before(monkeypatch, htpasswd_file, "replace_file", lambda: file.write_text("alice:one\nbob:two\n"))
    assert htpasswd_file.set_password(file, "carol", "three")
    assert file.read_text() == "alice:one\nbob:two\ncarol:three\n"
    before(monkeypatch, htpasswd_file, "read_file", file.unlink)
    assert htpasswd_file.set_password(file, "dave", "four")
    assert file.read_text() == "dave:four\n" and file.stat().st_mode & 0o777 == 0o600


def test_a_lock_on_a_file_that_lost_its_name_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    first, second = FileLeaderLock(path), FileLeaderLock(path)
    import pypiserver.catalog.sqlite.leader_lock as module

    done = before(monkeypatch, module, "try_lock", path.unlink)
    assert not first.acquire() and done
    assert first.acquire() and not second.acquire()
    path.unlink()
    assert second.acquire()
    first.touch()
    assert not first.is_held() and not first.acquire()
    second.release()


def test_who_opens_a_catalog_alone_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalog.sqlite"
    opening = tmp_path / "catalog.sqlite.opening"
    before(monkeypatch, sqlite_file, "try_lock", opening.unlink)
    with sqlite_file.alone(path), opening.open("rb") as file:
        assert not lock(file.fileno(), wait=False)


# -- new members ---------------------------------------------------------------------------------------------------

# Calls that look at a name, which may be another thing's by the time something is done with it.
LOOKS = {"exists", "lexists", "is_file", "is_dir", "is_symlink", "is_mount", "access", "stat", "lstat", "isfile"}
# Everything that looks, and why nothing depends on what is there a moment later.
REASONS = {
    "observability.audit_log.AuditLog.check": "only for a report; a start opens the file itself",
    "observability.download_statistics.Downloads.check": "only for a report; a start opens the file itself",
    "observability.download_statistics.Downloads._is_there": "only for a report; a start opens the file itself",
    "access.password_file._advice": "which words an error has",
    "access.live_file.LiveFile.known": "another file than the one that was read is as good as none",
    "access.live_file.LiveFile.current": "only whether to read; what is read is looked at when it is open",
    "catalog.sqlite.places._is_ours": "below a folder of ours in which nobody else can rename",
    "catalog.sqlite.places._fault": "which words an error has; what cannot be opened later is said then",
    "catalog.sqlite.places._may": "which words an error has; what cannot be opened later is said then",
    "catalog.sqlite.file.states_of": "compared after the act: what was written to must have its name still",
    "cli.roots.root_faults": "which words an error has",
    "settings.toml_file.locate": "a file that goes is an error when it is read",
    "settings.toml_file.read": "only the words of an error depend on it",
    "observability.download_statistics.Downloads._reading": "which words an error has, after the act",
    "settings.discovered_files.objection": "whoever could put another file there is an objection himself",
    "observability.logging_setup._warn_of_strange": "whether there is something to warn of",
    "observability.logging_setup.found_conf": "a file that goes is an error when it is read",
    "server.pid_file._has_written": "which words an error has; the file is written in one step",
    "folder.cache_store.FolderCache.entries": "a list; what is opened or removed later is looked at again",
    "folder.cache_store.FolderCache.other_bytes": "only a sum",
    "folder.cache_tree.CacheTree._entries": "a list; what is opened or removed later is looked at again",
    "folder.cache_tree.CacheTree.files": "a list; what is opened or removed later is looked at again",
    "folder.cache_tree.CacheTree.folders": "a list; what is opened or removed later is looked at again",
    "folder.cache_tree.CacheTree.unlink": "in a folder that is held open; only a sum",
    "folder.growing_file.FolderGrowing.publish": "a hint; a name is given exclusively, or by replacing",
    "folder.presence.Presence._list": "what is listed is looked at again for its row",
    "folder.presence.Presence._look": "compared with the next one",
    "folder.presence.Presence._state": "compared with an earlier one",
    "folder.presence.Presence.is_named": "503 in place of 404, when in doubt",
    "folder.root_guard.RootGuard._is_other": "compared before and after",
    "folder.root_guard.RootGuard.have_changed": "a hint to scan, which looks again",
    "folder.root_guard.RootGuard.identities": "compared before and after",
    "folder.root_guard.RootGuard.note": "what is compared with later",
    "catalog.sqlite.leader_lock.FileLeaderLock.is_alive": "the heartbeat of another process",
    "catalog.sqlite.leader_lock.leads_to": "asked once the lock is held, and again at each heartbeat",
    "folder.safe_open._look": "in an open folder; what is opened is looked at again",
    "folder.safe_open._refuse_links": "where the system opens no folders (Windows)",
    "folder.safe_open._has_descriptors": "whether there is a /proc",
    "upstream.netrc_file.NetrcFile._entries": "the file is read whole, and parsed again unless it rests",
    "folder.safe_open.look_below": "what is opened is looked at again",
    "folder.safe_open.open_below": "where the system opens no folders (Windows)",
    "folder.tree.FolderTree._files_in": "an open folder; what is opened is looked at again",
    "folder.tree.FolderTree._look_closer": "which reason is said; what a link leads to is resolved and then walked",
    "access.file_watch.FileWatch._add": "which file system it is on; what becomes of it once it is watched is an event",
    "folder.journal.Journal._refuse_shared": "which file system a folder is on that is watched",
    "folder.journal.Journal._tree": "watched before it is listed; a name that is not there any more has no row",
    "folder.journal.Journal.begin": "compared with the next one",
    "folder.journal.Journal._refuse_other_roots": "compared with the one that is watched",
    "folder.tree.FolderTree._look_through": "which reason is said",
    "folder.tree.FolderTree.folder_state": "compared with the next one",
    "folder.tree.FolderTree.walk": "a root that went is an outage",
    "backend.os_calls._owner": "which words an error has",
    "backend.os_calls._rename": "where there is neither link(2) nor renameat2(2), under the claim",
    "backend.name_lock._lock_claim": "whether to try again what failed",
    "backend.name_lock.look_at": "asked under the claim, or of a file that is open",
    "folder.atomic.place": "a hint; names are given exclusively, and what is set aside may be gone",
    "folder.staged.Staged._named": "compared with what is open",
    "folder.trash._not_removed": "which words an error has",
    "folder.trash._set_aside": "a file with a hidden name",
    "cli.release.divide": "what a word on the command line means; the folder is opened, and checked, later",
    "cli.banner.warnings": "which words the banner has",
    "access.htpasswd_file.check_file": "a hint before the password is asked for; the change itself fails as well",
    "cli.commands.passwd.Passwd._check": "a hint before the password is asked for",
    "cli.commands.passwd._is_file_name": "a typo to refuse",
    "catalog.sqlite.cache_folder.CachedCatalog.is_gone": "a catalog that is deleted by mistake is built again",
    "catalog.sqlite.cache_folder.cached_catalogs": "a list for people; what goes meanwhile is left out of it",
    "cli.config_check._unwritable": "which words a report has; a start opens the file itself",
    "upstream.authorities.own_authority": "which words an error has",
    "upstream.authorities.trust": "what OpenSSL makes of the folder is what counts",
    "cli.proxy_cache._Opened.__enter__": "which words an error has; a folder that goes meanwhile is made again, empty",
    "cli.proxy_server.opened": "a folder that goes is an outage when it is read",
    "cli.commands.proxy.Proxy._explain": "what a word on the command line means; the file is opened later",
    "proxy.known_names.KnownNames._current": "only whether to read again",
    "proxy.list_file.ListFile._seen": "only whether to read; what is read is looked at when it is open",
    "web.html.renderer_process.interpreter": "of the Python we run on",
    # Not a look at a name: Folders.stat, whose answer is compared with what is open or has a row.
    "folder.copy_endpoint.FolderEndpoint.is_there": "what is there is opened and hashed",
    "folder.storage.Folders._existing": "the folder is held open, and what is gone is no error",
    "folder.refresher.FolderRefresher._look": "a row is changed only while it is the one that was read before",
    "folder.writer.FolderWriter._is_damaged": "a hint; what is replaced is set aside by its name, under the claim",
    "folder.writer.FolderWriter.publish": "compared after the act",
    "folder.writer.FolderWriter.standing": "a hint; the name is given exclusively",
}


def lookers() -> Iterator[str]:
    """Each function that calls one of LOOKS on a name, as module.Class.function."""
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        yield from _within(ast.parse(path.read_text("utf-8")), module)


def _within(node: ast.AST, name: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        inner = f"{name}.{child.name}" if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else name
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute) and child.func.attr in LOOKS:
            yield name
        yield from _within(child, inner)


def test_each_look_at_a_name_says_why_nothing_depends_on_it_later() -> None:
    found = set(lookers())
    assert found - REASONS.keys() == set(), "act first and look at what is open, or say here why it does no harm"
    assert REASONS.keys() - found == set()
