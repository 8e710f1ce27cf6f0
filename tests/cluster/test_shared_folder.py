"""One folder served by two machines: each has a mount of its own, through which it hears nothing of the other.

The mounts are made with FUSE (bindfs), so for the kernel they are as separate as two clients of one file server:
attributes of files are kept for a second, inotify tells of what goes through the own mount only, and locks are each
machine's own, as with a file server that knows none.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.process import Service, program, started
from tests.hostile import JSON_TYPE, OPEN, ask, eventually, leftovers, listed, serving, sha256, upload, visible, wheel
from tests.live_server import LiveServer

# About two seconds are promised for folders on a network; a busy machine needs more. With events alone it is ten.
POLLED_SECONDS = 8.0
ROUNDS = 25


@dataclass(frozen=True)
class Machines:
    """The folder as the file server has it, and the servers of two machines that have it mounted."""

    disk: Path
    live: tuple[LiveServer, LiveServer]

    @property
    def urls(self) -> list[str]:
        return [each.url for each in self.live]


@pytest.fixture
def machines(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machines]:
    """Two servers, each with its mount and its catalog; a parameter adds arguments."""
    extra: tuple[str, ...] = getattr(request, "param", ())
    disk = tmp_path / "disk"
    disk.mkdir()
    with ExitStack() as stack:
        live = []
        for number in range(2):
            home = tmp_path / f"machine-{number}"
            folder = home / "packages"
            folder.mkdir(parents=True)
            stack.enter_context(mounted(disk, folder))
            arguments = (*OPEN, *extra, "--catalog", home / "catalog.sqlite")
            live.append(stack.enter_context(serving(home, *arguments, folder=folder)))
        yield Machines(disk, (live[0], live[1]))


def mounted(disk: Path, folder: Path) -> AbstractContextManager[Service]:
    """The disk at another place, by a file system in user space."""
    bindfs = program("bindfs", "bindfs")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("file systems in user space are not allowed here")
    # Names are asked for each time a file is opened by them, as NFS does it.
    command = [bindfs, "-f", "--no-allow-other", "-o", "hard_remove,entry_timeout=0", disk, folder]
    return started(Service("bindfs", command, disk.parent, lambda: os.path.ismount(folder)))


def test_a_change_on_one_machine_shows_on_the_other(machines: Machines) -> None:
    here, there = machines.urls
    for number in range(3):
        name, data = wheel("shared", f"{number}.0")
        assert upload(here, name, data).status == 200
        assert listed(here, "shared")[name] == sha256(data)
        began = time.monotonic()
        eventually(lambda name=name: name in listed(there, "shared"), seconds=POLLED_SECONDS)
        print(f"shown after {time.monotonic() - began:.1f} s")
        assert listed(there, "shared")[name] == sha256(data)
        assert ask(there, f"/packages/{name}").body == data
    (machines.disk / name).unlink()
    for url in machines.urls:
        eventually(lambda url=url: name not in listed(url, "shared"), seconds=POLLED_SECONDS)
        # Held for a moment, as another file may be copied to its place.
        eventually(lambda url=url, name=name: ask(url, f"/packages/{name}").status == 404)


def by_copy_over_it(path: Path, data: bytes) -> None:
    build = path.with_name(".build")
    build.write_bytes(data)
    shutil.copystat(path, build)
    shutil.copy2(build, path)


def by_removal_and_copy(path: Path, data: bytes) -> None:
    build = path.with_name(".build")
    build.write_bytes(data)
    shutil.copystat(path, build)
    path.unlink()
    subprocess.run(["cp", "-p", build, path], check=True)


def by_mapped_memory(path: Path, data: bytes) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:] = data
        mapped.flush()


@pytest.mark.parametrize(
    "change", [by_copy_over_it, by_removal_and_copy, by_mapped_memory], ids=lambda change: change.__name__
)
def test_a_file_that_changes_without_an_event_is_noticed(
    machines: Machines, change: Callable[[Path, bytes], None]
) -> None:
    url = machines.urls[0]
    name, data = wheel("mapped", filler=1000)
    # Packed hashes differ in length.
    while len(other := wheel("mapped", filler=1000)[1]) != len(data):
        pass
    path = machines.disk / name
    path.write_bytes(data)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    eventually(lambda: listed(url, "mapped") == {name: sha256(data)}, seconds=POLLED_SECONDS)
    change(path, other)
    eventually(lambda: listed(url, "mapped").get(name) == sha256(other), seconds=POLLED_SECONDS)
    eventually(lambda: ask(url, f"/packages/{name}").body == other)
    # Inodes of such a mount are of no use, and none is remembered.
    with contextlib.closing(sqlite3.connect(machines.disk.parent / "machine-0" / "catalog.sqlite")) as catalog:
        assert catalog.execute("SELECT inode FROM file").fetchall() == [(0,)]


def test_of_writers_on_two_machines_one_wins(machines: Machines) -> None:
    with ThreadPoolExecutor(4) as pool:
        for number in range(ROUNDS):
            rivals = [wheel("contested", f"{number}.0", filler=100 + rival) for rival in range(4)]
            replies = list(pool.map(upload, machines.urls * 2, *zip(*rivals, strict=True)))
            assert sorted(reply.status for reply in replies) == [200, 409, 409, 409], replies
            ((name, winner),) = [rivals[at] for at in range(4) if replies[at].status == 200]
            assert (machines.disk / name).read_bytes() == winner
    assert len(visible(machines.disk)) == ROUNDS
    assert not [name for name in leftovers(machines.disk) if name.endswith(".part")]


@pytest.mark.parametrize("machines", [("--overwrite",)], indirect=True, ids=["overwrite"])
def test_a_replaced_file_is_never_sent_under_the_hash_of_another(machines: Machines) -> None:
    here, there = machines.urls
    seen: dict[str, bytes] = {}
    for number in range(10):
        name, data = wheel("replaced", "1.0", filler=1000 + number)
        seen[sha256(data)] = data
        assert upload(here, name, data).status == 200
        # The other machine may know the file of before, or none; what it shows and sends was whole at some time.
        page, reply = ask(there, "/simple/replaced/", Accept=JSON_TYPE), ask(there, f"/packages/{name}")
        assert {page.status, reply.status} <= {200, 404, 503}
        if page.status == 200:
            assert {file["hashes"]["sha256"] for file in json.loads(page.body)["files"]} <= set(seen)
        if reply.status == 200:
            assert sha256(reply.body) in seen
    eventually(lambda: sha256(ask(there, f"/packages/{name}").body) == sha256(data), seconds=POLLED_SECONDS)
    assert listed(there, "replaced") == {name: sha256(data)}
    assert ask(there, f"/packages/{name}").body == data


def test_a_mount_below_a_root_that_disappears_is_an_outage_until_it_is_back(tmp_path: Path) -> None:
    """Its names are never looked for elsewhere, by no process, and nothing has to be read again."""
    disk, folder = tmp_path / "disk", tmp_path / "packages"
    for each in (disk, folder / "below"):
        each.mkdir(parents=True)
    (name, data), (other, other_data) = wheel("mounted"), wheel("plain")
    (disk / name).write_bytes(data)
    (folder / other).write_bytes(other_data)
    with ExitStack() as mount:
        mount.enter_context(mounted(disk, folder / "below"))
        with serving(tmp_path, "-P", ".", "-a", ".", "--workers", "2", folder=folder) as live:
            eventually(lambda: listed(live.url, "mounted") == {name: sha256(data)})
            # The first scan may have been that of another process.
            eventually(lambda: ask(live.url, "/health/ready").status == 200)
            time.sleep(2)
            mount.close()
            for _ in range(50):
                for path in ("/simple/mounted/", f"/packages/below/{name}", "/simple/mounted/?format=json"):
                    reply = ask(live.url, path)
                    # What a process remembers of a page may be right for a moment more.
                    assert reply.status in (200, 503), (path, reply)
                time.sleep(0.1)
            for path in ("/simple/mounted/", f"/packages/below/{name}", "/simple/plain/", "/health"):
                assert {ask(live.url, path).status for _ in range(4)} == {503}, path
            with mounted(disk, folder / "below"):
                eventually(lambda: listed(live.url, "mounted") == {name: sha256(data)})
                eventually(lambda: ask(live.url, f"/packages/below/{name}").body == data)
                eventually(lambda: ask(live.url, "/simple/unknown/").status == 302)
