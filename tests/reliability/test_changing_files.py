"""Files that are cut, replaced or half copied while they are served (P1, P12, P18), and a clock that jumps (P42)."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.figures import inject
from tests.hostile import (
    JSON_TYPE,
    OPEN,
    ask,
    connect,
    environ_for,
    eventually,
    every_server,
    listed,
    serving,
    sha256,
    upload,
    wheel,
)
from tests.live_server import pypi_server, running

FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def downloaded(url: str, path: str) -> bytes | None:
    """The bytes of a file, None when the connection breaks or the server says that it cannot."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        data = answer.read()
        return data if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@every_server
def test_a_file_that_is_cut_while_it_is_sent_breaks_the_connection(server: str, tmp_path: Path) -> None:
    name, data = wheel("cut", filler=40_000_000)
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / name).write_bytes(data)
    with serving(tmp_path, *OPEN, server=server) as live:
        assert listed(live.url, "cut")[name] == sha256(data)
        with connect(live.url, receive_bytes=65536) as connection:
            connection.sendall(f"GET /packages/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received = connection.recv(1000)
            os.truncate(folder / name, 1_000_000)
            inject("file cut while it is sent")
            try:
                while block := connection.recv(1 << 20):
                    received += block
            except OSError:
                pass
        # What came is less than was promised, so that no client takes it for the file.
        assert f"content-length: {len(data)}" in received[:1000].decode("latin-1").lower()
        assert len(received) < len(data)
        assert ask(live.url, "/health").seconds < 5
        assert downloaded(live.url, f"/packages/{name}") is None


@every_server
def test_bytes_and_hash_agree_while_a_file_is_replaced_all_the_time(server: str, tmp_path: Path) -> None:
    versions = [wheel("swapped", filler=200_000 + number) for number in range(4)]
    name = versions[0][0]
    known = {sha256(data) for _, data in versions}
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / name).write_bytes(versions[0][1])
    over = threading.Event()

    def swap() -> None:
        number = 0
        while not over.wait(0.03):
            number += 1
            (folder / ".next").write_bytes(versions[number % 4][1])
            (folder / ".next").replace(folder / name)
            inject("file replaced while it is served")

    with serving(tmp_path, *OPEN, server=server) as live:
        swapper = threading.Thread(target=swap)
        swapper.start()
        try:
            seen = 0
            for _ in range(60):
                reply = ask(live.url, f"/packages/{name}")
                assert reply.status in (200, 503), reply
                if reply.status == 200:
                    seen += 1
                    assert sha256(reply.body) in known
                    assert reply.headers["etag"] == f'"{sha256(reply.body)}"'
        finally:
            over.set()
            swapper.join()
        assert seen > 0
        eventually(lambda: listed(live.url, "swapped").get(name) == sha256((folder / name).read_bytes()))


def moved_over(path: Path, data: bytes) -> None:
    path.with_name(".next").write_bytes(data)
    path.with_name(".next").replace(path)


def written_in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def written_slowly(path: Path, data: bytes) -> None:
    """Once with a pause after which a file counts as settled."""
    with path.open("wb") as copy:
        for number, start in enumerate(range(0, len(data), len(data) // 5)):
            copy.write(data[start : start + len(data) // 5])
            copy.flush()
            time.sleep(1.3 if number == 2 else 0.1)


def removed_and_copied(path: Path, data: bytes) -> None:
    path.unlink()
    time.sleep(0.3)
    path.write_bytes(data)


def cut_and_written(path: Path, data: bytes) -> None:
    os.truncate(path, 0)
    time.sleep(0.2)
    path.write_bytes(data)


WAYS = (moved_over, written_in_place, written_slowly, removed_and_copied, cut_and_written)


def statuses_while(url: str, name: str, over: threading.Event) -> dict[str, set[int]]:
    """What the addresses of a file and its project say, asked again and again until it is over."""
    page = f"/simple/{name.partition('-')[0]}/"
    asked = {
        "HTML": (page, "text/html"),
        "JSON": (page, JSON_TYPE),
        "file": (f"/packages/{name}", "*/*"),
        "metadata": (f"/packages/{name}.metadata", "*/*"),
    }
    seen: dict[str, set[int]] = {kind: set() for kind in asked}
    while not over.is_set():
        for kind, (path, accept) in asked.items():
            # A file that is written in place while it is sent breaks the connection.
            with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
                seen[kind].add(ask(url, path, Accept=accept).status)
    return seen


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@every_server
def test_while_a_file_is_replaced_by_hand_it_is_200_or_503(
    server: str, way: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    """It is there or it is 503: never 404, and never a redirect to the fallback."""
    versions = [wheel("changing", filler=100_000 + number) for number in range(3)]
    name = versions[0][0]
    path = tmp_path / "packages" / name
    path.parent.mkdir()
    path.write_bytes(versions[0][1])
    over = threading.Event()
    # Each worker has a memory of its own, and one of them scans.
    workers = () if server == "waitress" else ("--workers", "2")
    with serving(tmp_path, "-P", ".", "-a", ".", *workers, server=server) as live, ThreadPoolExecutor(3) as pool:
        assert listed(live.url, "changing") == {name: sha256(versions[0][1])}
        clients = [pool.submit(statuses_while, live.url, name, over) for _ in range(3)]
        try:
            number, until = 0, time.monotonic() + 4
            while time.monotonic() < until:
                number += 1
                way(path, versions[number % 3][1])
                inject(f"file {way.__name__.replace('_', ' ')} while it is asked for")
                time.sleep(0.2)
        finally:
            over.set()
        seen = [client.result() for client in clients]
        for kind in seen[0]:
            statuses = set().union(*(each[kind] for each in seen))
            assert statuses and statuses <= {200, 503}, kind
        eventually(lambda: ask(live.url, "/simple/changing/").status == 200)
        eventually(lambda: listed(live.url, "changing") == {name: sha256(versions[number % 3][1])})


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_file_is_not_shown_before_its_copy_is_done(kind: str, tmp_path: Path) -> None:
    from tests.make_archives import make_sdist

    name, data = (
        wheel("slow", filler=100_000)
        if kind == "wheel"
        else make_sdist("slow", "1.0", extra_members={"slow-1.0/x": os.urandom(100_000)})
    )
    with serving(tmp_path, *OPEN) as live:
        inject("file that is copied slowly")
        with (tmp_path / "packages" / name).open("wb") as copy:
            for start in range(0, len(data), len(data) // 12):
                copy.write(data[start : start + len(data) // 12])
                copy.flush()
                # Unknown at first, then known to be here, and shown when it is whole.
                if (reply := ask(live.url, "/simple/slow/", Accept=JSON_TYPE)).status not in (404, 503):
                    assert [file["hashes"]["sha256"] for file in json.loads(reply.body)["files"]] == [sha256(data)]
                time.sleep(0.1)
        eventually(lambda: listed(live.url, "slow") == {name: sha256(data)})


def like_scp(source: Path, target: Path) -> None:
    """As ``scp -p``, rsync and Python's shutil do it: written, closed, and only then given its time."""
    target.write_bytes(source.read_bytes())
    time.sleep(0.005)
    shutil.copystat(source, target)


def by_cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-p", source, target], check=True)


def by_unzip(source: Path, target: Path) -> None:
    archive = source.with_name("archive.zip")
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(source, target.name)
    subprocess.run(["unzip", "-q", "-o", archive, "-d", target.parent], check=True)


def by_rsync(source: Path, target: Path) -> None:
    subprocess.run(["rsync", "-t", "--inplace", source, target], check=True)


def by_moving(source: Path, target: Path) -> None:
    source.rename(target)


@pytest.mark.parametrize(
    "way", [like_scp, shutil.copy2, by_cp, by_unzip, by_rsync, by_moving], ids=lambda way: way.__name__
)
def test_a_file_is_here_once_it_has_arrived(way: Callable[[Path, Path], object], tmp_path: Path) -> None:
    """From then on it is served or 503, never 404 or a redirect; and it is on its project's page long before a scan."""
    tool = way.__name__.removeprefix("by_")
    if tool in ("unzip", "rsync") and shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    outside = tmp_path / "outside"
    outside.mkdir()
    with serving(tmp_path, "-P", ".", "-a", ".", "--workers", "2") as live:
        for number in range(8):
            # A project that is new, and one that has files.
            for project in (f"arrived{number}", "arrived"):
                name, data = wheel(project, f"{number}.0", filler=50_000)
                source, target = outside / name, tmp_path / "packages" / ("" if number % 2 else f"new{number}") / name
                source.write_bytes(data)
                os.utime(source, (1_600_000_000, 1_600_000_000))
                target.parent.mkdir(exist_ok=True)
                way(source, target)
                inject(f"file that arrived {way.__name__.replace('_', ' ')}")
                path = f"/packages/{target.relative_to(tmp_path / 'packages')}"
                for _ in range(3):
                    assert ask(live.url, path).status in (200, 503)
                    assert ask(live.url, f"/simple/{project}/").status in (200, 503)
                eventually(lambda path=path: ask(live.url, path).status == 200, seconds=5)
                eventually(lambda name=name, project=project: name in listed(live.url, project), seconds=5)
                assert listed(live.url, project)[name] == sha256(data)
                assert ask(live.url, path).body == data


def by_touch(path: Path) -> None:
    os.utime(path, (2_000_000_000, 2_000_000_000))


def by_move(path: Path) -> None:
    (path.parent / "sub").mkdir()
    path.rename(path.parent / "sub" / path.name)


def by_copy(path: Path) -> None:
    shutil.copy(path, path.with_name("copied-1.0-py3-none-any.whl"))


@pytest.mark.parametrize("change", [by_touch, by_move, by_copy], ids=lambda change: change.__name__)
def test_a_file_that_is_touched_moved_or_copied_stays_right(change: Callable[[Path], None], tmp_path: Path) -> None:
    with serving(tmp_path, *OPEN) as live:
        name, data = wheel("moved")
        assert upload(live.url, name, data).status == 200
        change(tmp_path / "packages" / name)
        eventually(lambda: listed(live.url, "moved") == {name: sha256(data)})
        path = f"/packages/sub/{name}" if change is by_move else f"/packages/{name}"
        eventually(lambda: ask(live.url, path).body == data)


@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime")
@pytest.mark.parametrize("jump", ["+400d", "-400d"])
def test_a_clock_that_jumps_changes_no_answer(jump: str, tmp_path: Path) -> None:
    clock, folder = tmp_path / "clock", tmp_path / "packages"
    folder.mkdir()
    clock.write_text("+0d\n")
    environ = environ_for("waitress", tmp_path) | {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    passwords = tmp_path / "htpasswd"
    passwords.write_text("ada:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
    right = {"Authorization": "Basic YWRhOnBhc3N3b3Jk"}
    flags = ("--server", "waitress", "-P", passwords, "-a", "update", "--disable-fallback", folder)
    with running(pypi_server(*flags), environ=environ, cwd=tmp_path) as live:
        name, data = wheel("before")
        assert upload(live.url, name, data, **right).status == 200
        etag = ask(live.url, "/simple/before/").headers["etag"]
        clock.write_text(jump + "\n")
        inject("clock that jumps")
        eventually(lambda: ask(live.url, "/health").status == 200)
        time.sleep(1.5)
        assert listed(live.url, "before") == {name: sha256(data)}
        assert ask(live.url, "/simple/before/", If_None_Match=etag).status == 304
        assert ask(live.url, f"/packages/{name}").body == data
        assert upload(live.url, *wheel("after"), **right).status == 200
        assert len(listed(live.url, "after")) == 1
        by_hand, more = wheel("by-hand")
        (folder / by_hand).write_bytes(more)
        eventually(lambda: listed(live.url, "by-hand") == {by_hand: sha256(more)})
        clock.write_text("+0d\n")
        inject("clock that jumps")
        time.sleep(1.0)
        assert len(listed(live.url, "before")) == len(listed(live.url, "after")) == 1
        assert ask(live.url, "/health").status == 200
