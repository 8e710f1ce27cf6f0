"""Full, read-only, broken and vanished disks (P3, P6, P19, P39, P40)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.figures import inject
from tests.hostile import (
    OPEN,
    ask,
    eventually,
    every_server,
    leftovers,
    listed,
    serving,
    sha256,
    upload,
    visible,
    wheel,
)
from tests.reliability.disks import serving_on_disk

FALLBACK = ("-P", ".", "-a", ".", "--fallback-url", "https://elsewhere.example/simple")


@every_server
def test_a_full_disk_is_507_leaves_nothing_and_heals(server: str, tmp_path: Path) -> None:
    with serving_on_disk(tmp_path, *OPEN, server=server) as disk:
        url = disk.live.url
        assert upload(url, *wheel("before")).status == 200
        before = visible(disk.inside)
        disk.fill()
        for size in (0, 100_000, 3_000_000):
            reply = upload(url, *wheel("toomuch", filler=size))
            assert reply.status == 507, reply
            assert b"no space left" in reply.body
        assert visible(disk.inside) == before
        assert leftovers(disk.inside) == [".filler"]
        assert listed(url, "toomuch") == {} and len(listed(url, "before")) == 1
        disk.free()
        # Larger than the disk: the space of what was written goes back.
        inject("upload larger than the disk")
        assert upload(url, *wheel("larger", filler=12_000_000)).status == 507
        assert leftovers(disk.inside) == []
        assert upload(url, *wheel("after")).status == 200
        assert len(listed(url, "after")) == 1


def test_a_full_disk_takes_no_more_of_many_uploads_than_it_acknowledges(tmp_path: Path) -> None:
    with serving_on_disk(tmp_path, *OPEN, size="2m") as disk:
        sent = {}
        for number in range(12):
            name, data = wheel("some", f"1.{number}", filler=300_000)
            reply = upload(disk.live.url, name, data)
            assert reply.status in (200, 507), reply
            if reply.status == 200:
                sent[name] = sha256(data)
        assert 3 <= len(sent) < 12
        assert {name: sha256((disk.inside / name).read_bytes()) for name in visible(disk.inside)} == sent
        assert listed(disk.live.url, "some") == sent


@every_server
def test_a_read_only_disk_is_403_serves_on_and_heals(server: str, tmp_path: Path) -> None:
    with serving_on_disk(tmp_path, *OPEN, server=server) as disk:
        url = disk.live.url
        name, data = wheel("here")
        assert upload(url, name, data).status == 200
        disk.run("mount", "-o", "remount,ro", disk.folder)
        inject("read-only disk")
        assert upload(url, *wheel("more")).status == 403
        body = b":action=remove_pkg&name=here&version=1.0"
        kind = "application/x-www-form-urlencoded"
        assert ask(url, "/", method="POST", body=body, Content_Type=kind).status == 403
        assert ask(url, f"/packages/{name}").body == data
        assert ask(url, "/health").status == 200
        disk.run("mount", "-o", "remount,rw", disk.folder)
        assert upload(url, *wheel("more")).status == 200
        assert visible(disk.inside) == [name, "more-1.0-py3-none-any.whl"]


def every_worker(url: str, path: str, status: int) -> None:
    """Soon each of several processes answers so; none of them ever with a redirect."""

    def agree() -> bool:
        replies = [ask(url, path) for _ in range(24)]
        assert not [reply for reply in replies if "location" in reply.headers]
        return {reply.status for reply in replies} == {status}

    eventually(agree, seconds=10)


def is_out(url: str, *paths: str) -> None:
    for path in ("/health", "/simple/", "/simple/here/", "/simple/unknown/", "/pypi/here/json", *paths):
        every_worker(url, path, 503)


@every_server
def test_an_unmounted_folder_is_503_everywhere_and_heals(server: str, tmp_path: Path) -> None:
    with serving_on_disk(tmp_path, *FALLBACK, "--workers", "3", server=server) as disk:
        url = disk.live.url
        name, data = wheel("here")
        assert upload(url, name, data).status == 200
        disk.run("umount", "-l", disk.folder)
        inject("unmounted folder")
        is_out(url, f"/packages/{name}", "/packages/")
        disk.run("mount", "-t", "tmpfs", "tmpfs", disk.folder)
        (disk.inside / name).write_bytes(data)
        every_worker(url, "/simple/here/", 200)
        assert listed(url, "here") == {name: sha256(data)}


@every_server
@pytest.mark.parametrize("how", ["renamed", "removed", "replaced by a file", "unreadable"])
def test_a_folder_that_goes_is_503_everywhere_and_heals(server: str, how: str, tmp_path: Path) -> None:
    folder, away = tmp_path / "packages", tmp_path / "away"
    folder.mkdir()
    name, data = wheel("here")
    (folder / name).write_bytes(data)
    if how == "unreadable" and server != "granian":
        pytest.skip("is the same code whatever the server is")
    with serving(tmp_path, *FALLBACK, "--workers", "3", server=server) as live:
        assert listed(live.url, "here") == {name: sha256(data)}
        if how == "removed":
            shutil.copytree(folder, away)
            shutil.rmtree(folder)
        else:
            folder.rename(away)
        if how == "replaced by a file":
            folder.write_text("a file")
        if how == "unreadable":
            folder.symlink_to(tmp_path / "nowhere")
        inject(f"folder {how}")
        is_out(live.url, f"/packages/{name}", "/packages/")
        assert upload(live.url, *wheel("more")).status in (503, 403)
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        away.rename(folder)
        every_worker(live.url, "/simple/here/", 200)
        # A worker that none of these requests reached may still be finding out.
        eventually(lambda: ask(live.url, f"/packages/{name}").body == data)
        assert listed(live.url, "here") == {name: sha256(data)}


def test_a_file_that_cannot_be_read_affects_only_itself(tmp_path: Path) -> None:
    broken = "broken-1.0-py3-none-any.whl"
    setup = " && ".join(f"touch {name} && mount --bind /proc/$$/mem {name}" for name in (broken, "sdist-1.0.tar.gz"))
    with serving_on_disk(tmp_path, *OPEN, setup=setup) as disk:
        inject("file that gives EIO", 2)
        url = disk.live.url
        assert upload(url, *wheel("good")).status == 200
        assert len(listed(url, "good")) == 1
        for path in (
            "/simple/broken/",
            "/simple/sdist/",
            f"/packages/{broken}",
            f"/packages/{broken}.metadata",
            "/broken/json",
        ):
            assert ask(url, path).status in (404, 503), path
        assert ask(url, "/simple/").status == ask(url, "/packages/").status == ask(url, "/health").status == 200
        assert b"good" in ask(url, "/simple/").body


@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_without_inotify_a_change_shows_all_the_same(limit: str, tmp_path: Path) -> None:
    setup = f"echo 0 > /proc/sys/user/{limit}"
    with serving_on_disk(tmp_path, *OPEN, setup=setup) as disk:
        inject(f"{limit} of 0")
        url = disk.live.url
        name, data = wheel("late")
        assert listed(url, "late") == {}
        (disk.inside / name).write_bytes(data)
        eventually(lambda: listed(url, "late") == {name: sha256(data)}, seconds=15)
        (disk.inside / name).unlink()
        eventually(lambda: ask(url, "/simple/late/").status == 404, seconds=15)
        assert "cannot be watched" in disk.live.output
