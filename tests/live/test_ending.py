"""A server that is told to end says what it waits for; Ctrl-C again ends it now, and no file is half an upload."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from bin.soaking.processes import open_files
from tests.hostile import SERVERS, connect, serving, upload_request, wheel

from .test_live_log import wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which files a process has open"),
]
OPEN = ("-P", ".", "-a", ".")


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def being_received(pid: int, folder: Path) -> int:
    """How many files without a name the server writes into, which is where uploads are until they are whole."""
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    names = [name for each in (pid, *workers) for name in open_files(each)]
    return sum(
        name.startswith(str(folder)) and name.endswith(" (deleted)") and "gunicorn" not in name for name in names
    )


def files_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))


@pytest.fixture
def interruptible() -> Any:
    """A test run in the background ignores interrupts, which its processes would inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("server", SERVERS)
def test_it_says_what_it_waits_for_and_an_interrupt_ends_it_now(
    server: str, first: signal.Signals, tmp_path: Path, interruptible: None
) -> None:
    packages, log = tmp_path / "packages", tmp_path / "log"
    packages.mkdir()
    large, content = wheel("large", filler=30_000_000)
    (packages / large).write_bytes(content)
    name, content = wheel("begun", filler=2_000_000)
    head, body = upload_request(name, content)
    workers = ("--workers", "2") if server != "waitress" else ()
    flags = (*OPEN, "--log-file", log, "--log-format", "json", *workers)
    with serving(tmp_path, *flags, server=server) as live:
        uploads = [connect(live.url) for _ in range(2)]
        for each in uploads:
            each.sendall(head + body[:1_000_000])
        download = connect(live.url, receive_bytes=4096)
        download.sendall(f"GET /packages/{large} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert download.recv(4096).startswith(b"HTTP/1.1 200")
        wait_until(lambda: being_received(live.process.pid, tmp_path) >= 2)
        live.process.send_signal(first)
        wait_until(lambda: any(each.get("event") == "ending" for each in records(log)))
        assert live.process.poll() is None
        live.process.send_signal(signal.SIGINT)
        assert live.process.wait(60) == 0
        for each in (*uploads, download):
            each.close()
    said = [each for each in records(log) if "event" in each]
    assert [each["event"] for each in said] == ["start", "ending", "cut", "end"]
    assert (said[1]["uploads"], said[1]["downloads"]) == (2, 1)
    assert "waiting for 2 uploads and 1 download" in said[1]["message"]
    assert files_in(packages) == [large]
