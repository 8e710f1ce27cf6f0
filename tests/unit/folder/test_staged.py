"""From a hidden temporary file to a name: whole, exclusive, durable, and undone when a step fails."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pypiserver.backend.name_lock import claimed
from pypiserver.backend.os_calls import OPERATIONS, Operations
from pypiserver.errors import Conflict, Forbidden, PypiServerError, StorageFull, Unavailable
from pypiserver.folder import tmpfile
from pypiserver.folder.staged import Staged, remove_stale

from ..faults import NAMES, Faults, tree

HAS_UNNAMED = tmpfile.has_unnamed(Path(tempfile.gettempdir()))


@pytest.fixture(autouse=True, params=["unnamed", "hidden"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test with files that have no name, and with files that have a hidden one."""
    if request.param == "hidden":
        monkeypatch.setattr(tmpfile, "has_unnamed", lambda folder: False)
    elif not HAS_UNNAMED:
        pytest.skip("no files without a name here")
    return str(request.param)


only_unnamed = pytest.mark.parametrize("kind", ["unnamed"], indirect=True)
only_hidden = pytest.mark.parametrize("kind", ["hidden"], indirect=True)

NAME = "foo-1.0.zip"
SIDECARS = {".asc": b"new signature", ".provenance": b"new attestations"}


def staged(folder: Path, data: bytes = b"new bytes", operations: Operations = OPERATIONS) -> Staged:
    upload = Staged(folder, "", digests=("sha256",), operations=operations).open()
    upload.write(data)
    return upload


def publish(
    folder: Path,
    *,
    overwrite: bool = False,
    sidecars: Mapping[str, bytes] | None = None,
    operations: Operations = OPERATIONS,
) -> None:
    """Store the file as a request would, with its temporary file gone at the end, come what may."""
    upload = Staged(folder, "", digests=("sha256",), operations=operations).open()
    try:
        upload.write(b"new bytes")
        upload.publish(NAME, overwrite=overwrite, sidecars=sidecars or {})
    finally:
        upload.discard()


def put(folder: Path, **files: bytes) -> None:
    """Put the file and what is next to it: ``zip``, ``asc``, ``provenance``, ``yanked``."""
    for ending, data in files.items():
        (folder / (NAME if ending == "zip" else f"{NAME}.{ending}")).write_bytes(data)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_written_appears_with_its_sidecars_and_nothing_else(tmp_path: Path, kind: str) -> None:
    upload = staged(tmp_path)
    assert [path.name[0] for path in tmp_path.iterdir()] == {"unnamed": [], "hidden": ["."]}[kind]
    entry = upload.publish(NAME, overwrite=False, sidecars=SIDECARS)
    assert contents(tmp_path) == {
        NAME: b"new bytes",
        f"{NAME}.asc": b"new signature",
        f"{NAME}.provenance": b"new attestations",
    }
    status = (tmp_path / NAME).stat()
    assert entry == (0, NAME, 9, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)


@only_unnamed
def test_where_files_without_a_name_cannot_be_named_they_have_hidden_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tmpfile, "OPERATIONS", Faults("name", errno.EPERM).operations)
    tmpfile.has_unnamed.cache_clear()
    publish(tmp_path)
    assert contents(tmp_path) == {NAME: b"new bytes"}


@only_unnamed
@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EISDIR])
def test_another_file_system_may_be_mounted_on_a_folder_that_was_asked(tmp_path: Path, number: int) -> None:
    publish(tmp_path, operations=Faults("open", number, at=0).operations)
    assert contents(tmp_path) == {NAME: b"new bytes"}


def test_discarding_leaves_nothing(tmp_path: Path) -> None:
    upload = staged(tmp_path)
    upload.discard()
    upload.discard()
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("sidecars", [{}, SIDECARS], ids=["bare", "signed"])
def test_an_existing_file_is_not_touched(tmp_path: Path, sidecars: Mapping[str, bytes]) -> None:
    put(tmp_path, zip=b"old bytes", asc=b"old signature")
    before = tree(tmp_path)
    faults = Faults()
    with pytest.raises(Conflict, match="already exists"):
        publish(tmp_path, sidecars=sidecars, operations=faults.operations)
    assert tree(tmp_path) == before
    assert not {"replace", "unlink"} & set(faults.calls), "not even for a moment"
    assert faults.calls[-1] == "fsync", "whoever was first may not have come to that yet"


def test_overwriting_drops_what_was_about_the_old_bytes_and_keeps_the_yank(tmp_path: Path) -> None:
    put(tmp_path, zip=b"old", asc=b"old", provenance=b"old", yanked=b"broken")
    publish(tmp_path, overwrite=True)
    assert contents(tmp_path) == {NAME: b"new bytes", f"{NAME}.yanked": b"broken"}


def test_overwriting_replaces_what_is_given_again(tmp_path: Path) -> None:
    put(tmp_path, zip=b"old", asc=b"old", provenance=b"old")
    publish(tmp_path, overwrite=True, sidecars={".asc": b"new signature"})
    assert contents(tmp_path) == {NAME: b"new bytes", f"{NAME}.asc": b"new signature"}


def test_what_a_removed_file_left_behind_is_not_the_next_ones(tmp_path: Path) -> None:
    put(tmp_path, asc=b"old", provenance=b"old")
    publish(tmp_path)
    assert contents(tmp_path) == {NAME: b"new bytes"}


# How often each operation is called at most, and once more.
CALLS = {"open": 6, "write": 4, "fsync": 6, "link": 2, "name": 2, "replace": 7, "rename": 1, "unlink": 1}


def _cases() -> list[object]:
    """Every call that publishing makes, once as the one that fails, for each of the three ways to publish."""
    cases = []
    for standing, overwrite in ((False, False), (True, True), (False, True)):
        for name in NAMES:
            for at in range(CALLS[name]):
                cases.append(pytest.param(name, at, standing, overwrite, id=f"{name}-{at}-{standing}-{overwrite}"))
    return cases


@pytest.mark.parametrize(("name", "at", "standing", "overwrite"), _cases())
def test_whichever_call_fails_the_folder_is_as_it_was(
    tmp_path: Path, name: str, at: int, standing: bool, overwrite: bool
) -> None:
    put(tmp_path, asc=b"old signature", provenance=b"old attestations", yanked=b"broken")
    if standing:
        put(tmp_path, zip=b"old bytes")
    before = tree(tmp_path)
    faults = Faults(name, at=at)
    try:
        publish(tmp_path, overwrite=overwrite, sidecars=SIDECARS, operations=faults.operations)
    except Unavailable:
        assert faults.happened()
        assert tree(tmp_path) == before
    else:
        assert not faults.happened()
        assert set(contents(tmp_path)) == {NAME, *(f"{NAME}.{each}" for each in ("asc", "provenance", "yanked"))}


def test_the_table_of_failing_calls_reaches_past_the_last_one(tmp_path: Path, kind: str) -> None:
    put(tmp_path, zip=b"old", asc=b"old", provenance=b"old")
    faults = Faults()
    publish(tmp_path, overwrite=True, sidecars=SIDECARS, operations=faults.operations)
    assert [name for name in NAMES if faults.calls.count(name) >= CALLS[name]] == []
    unused = {"unnamed": {"unlink", "rename"}, "hidden": {"unlink", "rename", "name"}}[kind]
    assert {name for name in NAMES if name in faults.calls} == set(NAMES) - unused


@pytest.mark.parametrize(
    ("number", "failure"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EACCES, Forbidden),
        (errno.EROFS, Forbidden),
        (errno.EIO, Unavailable),
    ],
    ids=errno.errorcode.get,
)
@pytest.mark.parametrize("name", ["open", "write", "fsync"])
def test_a_folder_that_takes_nothing_says_why(
    tmp_path: Path, name: str, number: int, failure: type[PypiServerError]
) -> None:
    with pytest.raises(failure, match=f"{tmp_path}.*{os.strerror(number)}.*nothing was stored") as caught:
        publish(tmp_path, operations=Faults(name, number).operations)
    assert caught.value.status in (403, 503, 507)
    assert tree(tmp_path) == {}


def test_bytes_are_durable_before_the_name_and_the_name_before_the_answer(tmp_path: Path) -> None:
    seen: list[str] = []

    def fsync(descriptor: int) -> None:
        seen.append("fsync folder" if Path(f"/proc/self/fd/{descriptor}").resolve() == tmp_path else "fsync file")
        os.fsync(descriptor)

    def link(source: Path, target: Path) -> None:
        seen.append("link")
        os.link(source, target)

    def name(descriptor: int, target: Path) -> None:
        seen.append("link")
        OPERATIONS.name(descriptor, target)

    publish(tmp_path, operations=Operations(fsync=fsync, link=link, name=name))
    assert seen == ["fsync file", "link", "fsync folder"]


def test_a_file_system_that_cannot_sync_folders_stores_all_the_same(tmp_path: Path) -> None:
    publish(tmp_path, operations=Faults("fsync", errno.EINVAL, at=1).operations)
    assert contents(tmp_path) == {NAME: b"new bytes"}


def test_a_claim_whose_holder_died_holds_no_one_up(tmp_path: Path) -> None:
    with claimed(tmp_path / NAME):
        (claim,) = tmp_path.iterdir()
    claim.write_bytes(b"")
    publish(tmp_path, operations=Faults("link", errno.EPERM).operations)
    assert contents(tmp_path) == {NAME: b"new bytes"}


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESTALE])
def test_a_claim_that_another_machine_removed_is_made_again(number: int, tmp_path: Path) -> None:
    """A network file system may still believe in the file that the other machine deleted."""
    faults = Faults("open", number, at=1)
    publish(tmp_path, operations=faults.operations)
    assert faults.happened()
    assert contents(tmp_path) == {NAME: b"new bytes"}


@pytest.mark.skipif(sys.platform != "linux", reason="it is looked for what a descriptor leads to")
@pytest.mark.parametrize("call", ["fstat", "flock"])
@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESTALE])
@pytest.mark.parametrize("times", [1, 40])
def test_a_claim_that_is_deleted_elsewhere_while_it_is_open_is_made_again(
    call: str, number: int, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked of a file that another machine deleted may fail, and more than once."""
    module = {"fstat": os, "flock": pytest.importorskip("fcntl")}[call]
    real, left = getattr(module, call), [times]

    def deleted(descriptor: int, *arguments: object) -> object:
        if left[0] and os.readlink(f"/proc/self/fd/{descriptor}").endswith(".claim"):
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return real(descriptor, *arguments)

    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(module, call, deleted)
    monkeypatch.setattr("pypiserver.backend.name_lock.time.sleep", lambda seconds: None)
    with claimed(tmp_path / NAME) as is_ours:
        assert is_ours and not left[0]
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert contents(tmp_path) == {}


def test_a_claim_in_a_folder_that_is_gone_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.backend.name_lock.time.sleep", lambda seconds: pytest.fail("it waits"))
    with pytest.raises(FileNotFoundError), claimed(tmp_path / "gone" / NAME):
        pass


@only_hidden
def test_where_nothing_can_be_locked_or_linked_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, *, wait: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("pypiserver.backend.name_lock.lock", no_locks)
    with pytest.raises(Forbidden):
        publish(tmp_path, operations=Faults("link", errno.EPERM).operations)
    assert tree(tmp_path) == {}
    publish(tmp_path)
    assert contents(tmp_path) == {NAME: b"new bytes"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_planted_links_lead_no_one_outside(tmp_path: Path, overwrite: bool) -> None:
    folder, outside = tmp_path / "packages", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "victim").write_bytes(b"victim")
    before = tree(outside)
    for name in (NAME, f"{NAME}.asc", f"{NAME}.provenance"):
        (folder / name).symlink_to(outside / "victim")
    if overwrite:
        publish(folder, overwrite=True, sidecars=SIDECARS)
        assert not any(path.is_symlink() for path in folder.iterdir())
        assert contents(folder)[NAME] == b"new bytes"
    else:
        with pytest.raises(Conflict):
            publish(folder, sidecars=SIDECARS)
        assert tree(folder)[NAME] == f"-> {outside / 'victim'}"
    assert tree(outside) == before


def test_a_link_at_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    def planted(path: Path, *arguments: Any) -> int:
        path.symlink_to(tmp_path / "victim")
        return os.open(path, *arguments)

    with pytest.raises(PypiServerError):
        staged(tmp_path, operations=Operations(open=planted))
    assert not (tmp_path / "victim").exists()


def test_a_folder_at_the_name_is_a_conflict_that_will_not_heal(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    for overwrite in (False, True):
        with pytest.raises(Conflict):
            publish(tmp_path, overwrite=overwrite, sidecars=SIDECARS)
        assert tree(tmp_path) == {NAME: "folder"}


# -- what is left behind ---------------------------------------------------------------------------------------------

PART = ".upload-" + "0123456789abcdef" * 2 + ".part"
FUTURE = 4_000_000_000.0


@only_hidden
def test_only_temporary_files_of_the_dead_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / ".hidden")
    others = [".upload-xyz.part", PART + "x", "x" + PART, PART.upper(), ".upload-.part", NAME, f".hidden/{PART}"]
    for name in (PART, f"deep/{PART}", PART.replace("part", "claim"), PART.replace("part", "kept"), *others):
        (tmp_path / name).write_bytes(b"x")
    alive = staged(tmp_path)
    assert remove_stale(tmp_path, FUTURE) == 4
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert alive._path is not None
    assert left - {f"elsewhere/{PART}"} == {*others, alive._path.name}
    alive.publish("bar-1.0.zip", overwrite=False, sidecars={})


def test_what_is_younger_than_we_are_is_left_alone(tmp_path: Path) -> None:
    started = time.time() - 60
    part = tmp_path / PART
    part.write_bytes(b"x")
    os.utime(part, (1, 1))  # as what is set aside keeps its old time
    assert remove_stale(tmp_path, started) == 0
    assert remove_stale(tmp_path, started + 3600) == 1


def test_without_locks_only_age_tells_that_no_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, *, wait: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("pypiserver.folder.staged.lock", no_locks)
    (tmp_path / PART).write_bytes(b"x")
    assert remove_stale(tmp_path, time.time() + 3600) == 0
    assert remove_stale(tmp_path, time.time() + 90_000) == 1


@pytest.mark.parametrize("fails", ["", "replace", "naming"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_who_cleans_up_between_two_steps_takes_nothing_that_is_in_use(
    overwrite: bool, fails: str, kind: str, tmp_path: Path
) -> None:
    """As a server that starts on the folder while another one stores a file, whatever their clocks say."""
    put(tmp_path, asc=b"old signature", provenance=b"old attestations", **({"zip": b"old bytes"} if overwrite else {}))
    before = tree(tmp_path)
    call, last = {"replace": ("replace", 4), "naming": ("name" if kind == "unnamed" else "link", 0)}.get(fails, ("", 0))
    faults = Faults(call, at=last)

    def cleaned(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            assert remove_stale(tmp_path, FUTURE) == 0
            return getattr(faults.operations, name)(*arguments)

        return call

    operations = Operations(**{name: cleaned(name) for name in NAMES})
    if fails and (fails != "replace" or overwrite):
        with pytest.raises(PypiServerError):
            publish(tmp_path, overwrite=overwrite, sidecars=SIDECARS, operations=operations)
        assert tree(tmp_path) == before
    else:
        publish(tmp_path, overwrite=overwrite, sidecars=SIDECARS, operations=operations)
        assert contents(tmp_path) == {NAME: b"new bytes", **{NAME + ending: data for ending, data in SIDECARS.items()}}


@only_hidden
def test_a_temporary_file_that_is_cleaned_up_before_it_is_locked_is_made_again(tmp_path: Path) -> None:
    gone = []

    def opened(path: Path, *arguments: Any) -> int:
        descriptor = os.open(path, *arguments)
        if path.suffix == ".part" and path not in gone and len(gone) < 3:
            gone.append(path)
            assert remove_stale(tmp_path, FUTURE) == 1
        return descriptor

    publish(tmp_path, sidecars=SIDECARS, operations=Operations(open=opened))
    assert len(gone) == 3
    assert contents(tmp_path) == {NAME: b"new bytes", **{NAME + ending: data for ending, data in SIDECARS.items()}}
