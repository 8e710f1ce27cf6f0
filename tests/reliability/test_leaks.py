"""What requests take they give back: memory, descriptors, threads, temporary files (P35, P37)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bin.soaking.processes import open_files, status_of, tree
from tests.hostile import OPEN, ask, eventually, every_server, leftovers, serving, upload, wheel
from tests.live_server import LiveServer

MEBIBYTE = 1 << 20
RELOADS = 20


def held(live: LiveServer) -> dict[str, int]:
    """Descriptors, threads and bytes of memory of a server with its workers.

    Each thread that has asked the catalog keeps a connection to it: two descriptors, counted apart. A process that ends
    meanwhile, as one that renders does at a reload, has nothing.
    """
    pids = tree(live.process.pid)
    opened = [path for pid in pids for path in open_files(pid)]
    of_catalog = [path for path in opened if ".sqlite" in path]
    return {
        "descriptors": len(opened) - len(of_catalog),
        "descriptors of the catalog": len(of_catalog),
        "threads": sum(status_of(pid, "Threads") for pid in pids),
        "bytes": sum(status_of(pid, "VmRSS") for pid in pids) * 1024,
    }


def mixed(live: LiveServer, round_: int) -> None:
    """A request of each kind, good and bad."""
    name, data = wheel("kept", f"{round_}.0")
    upload(live.url, name, data)
    upload(live.url, name, data + b"x")
    upload(live.url, "bad name", data)
    for path in (
        "/simple/",
        "/simple/kept/",
        f"/packages/{name}",
        f"/packages/{name}.metadata",
        "/pypi/kept/json",
        "/nothing",
    ):
        ask(live.url, path)
        ask(live.url, path, Range="bytes=0-9", Accept="text/html;q=0.5", If_None_Match='"x"')
    body = f":action=remove_pkg&name=kept&version={round_}.0".encode()
    ask(live.url, "/", method="POST", body=body, Content_Type="application/x-www-form-urlencoded")


@every_server
def test_what_requests_take_they_give_back(server: str, tmp_path: Path) -> None:
    with serving(tmp_path, *OPEN, server=server) as live:
        # Threads and caches come with the first requests, and stay.
        for round_ in range(15):
            mixed(live, round_)
        before = held(live)
        for round_ in range(15, 45):
            mixed(live, round_)
        eventually(lambda: held(live)["descriptors"] <= before["descriptors"], seconds=40)
        after = held(live)
        # Two for each thread, and a few that are shared.
        assert after["descriptors of the catalog"] <= 2 * after["threads"] + 8
        assert after["threads"] <= max(before["threads"] + 4, 8 if server == "waitress" else 200)
        assert after["bytes"] - before["bytes"] < 24 * MEBIBYTE
        assert leftovers(tmp_path / "packages") == []
    assert os.listdir(tmp_path / "tmp") == []


@every_server
def test_a_large_upload_and_download_take_bounded_memory(server: str, tmp_path: Path) -> None:
    name, data = wheel("large", filler=80 * MEBIBYTE)
    with serving(tmp_path, *OPEN, server=server) as live:
        ask(live.url, "/simple/")
        pids = tree(live.process.pid)
        idle = sum(status_of(pid, "VmRSS") for pid in pids) * 1024
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        assert upload(live.url, name, data, timeout=90).status == 200
        assert len(ask(live.url, f"/packages/{name}", timeout=90).body) == len(data)
        peak = sum(status_of(pid, "VmHWM") for pid in pids) * 1024
        assert peak - idle < 48 * MEBIBYTE, (idle, peak)


@every_server
def test_what_a_reload_replaces_is_given_back(server: str, tmp_path: Path) -> None:
    """Also by threads that the old application never hears of again: each had a connection to its catalog."""
    with serving(tmp_path, *OPEN, server=server) as live:
        for round_ in range(5):
            mixed(live, round_)
        # The most of what it has after a reload: the process that renders may be there or not.
        before: dict[str, int] = {}
        for _ in range(5):
            reload(live)
            before = {name: max(count, before.get(name, 0)) for name, count in held(live).items()}
        for _ in range(RELOADS):
            reload(live)
        eventually(lambda: held(live)["descriptors"] <= before["descriptors"], seconds=60)
        # One more thread that has asked the catalog has two, or four while SQLite keeps one for the next.
        eventually(
            lambda: held(live)["descriptors of the catalog"] <= before["descriptors of the catalog"] + 12, seconds=60
        )
        # A server's pool grows by a thread where requests overlap; one that each reload left would be RELOADS in all.
        eventually(lambda: held(live)["threads"] <= before["threads"] + RELOADS // 2, seconds=60)
        assert held(live)["bytes"] - before["bytes"] < 24 * MEBIBYTE


def reload(live: LiveServer) -> None:
    """Let the server read its settings again, and use every part of what it made of them."""
    told = live.output.count("were read again")
    os.kill(live.process.pid, signal.SIGHUP)
    eventually(lambda: live.output.count("were read again") > told, seconds=60)
    mixed(live, 5)
