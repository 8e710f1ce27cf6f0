"""A file of 500 MB goes up and down in the memory of a small one, on both servers that every install brings."""

from __future__ import annotations

import random
import time
import zipfile
from pathlib import Path

import pytest

from bin.soaking.processes import kibibytes, tree
from tests.clients.harness import GetClient, Serve, get
from tests.clients.samples import add_wheel
from tests.live_server import LiveServer

MIB = 1 << 20
LARGE = 500 * MIB
# Two to seven seconds were seen on two busy cores.
UPLOAD_SECONDS = 30


def peaks(server: LiveServer) -> dict[int, int]:
    """The most memory each process has had, in bytes."""
    found = {}
    for pid in tree(server.process.pid):
        if peak := kibibytes(pid, "VmHWM"):
            found[pid] = peak * 1024
    return found


def add_large_wheel(folder: Path) -> Path:
    wheel = add_wheel(folder, "large", "1.0")
    block = random.Random(0).randbytes(MIB)
    with zipfile.ZipFile(wheel, "a") as archive, archive.open("large.bin", "w", force_zip64=True) as member:
        for _ in range(LARGE // MIB):
            member.write(block)
    return wheel


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc to read the memory from")
@pytest.mark.parametrize("name", ["granian", "waitress"])
def test_large_file_goes_up_and_down_in_little_memory(
    name: str, client: GetClient, serve: Serve, packages: Path, tmp_path: Path
) -> None:
    server = serve("-P", ".", "-a", ".", "--server", name)
    curl = client("uv")
    wheel = add_large_wheel(tmp_path)
    upload = ("curl", "-sS", "--fail-with-body", "-F", ":action=file_upload", "-F")
    curl.run(*upload, f"content=@{add_wheel(tmp_path, 'small', '1.0')}", server.url)
    get(f"{server.url}/simple/small/")
    before = peaks(server)
    started = time.monotonic()
    curl.run(*upload, f"content=@{wheel}", server.url)
    seconds = time.monotonic() - started
    assert (packages / wheel.name).stat().st_size == wheel.stat().st_size > LARGE
    curl.run("curl", "-sS", "--fail", "-o", tmp_path / "down", f"{server.url}/packages/{wheel.name}")
    assert (tmp_path / "down").stat().st_size == wheel.stat().st_size
    grown = {pid: peak - before.get(pid, 0) for pid, peak in peaks(server).items()}
    print(f"{name}: {seconds:.1f} s, {max(grown.values()) / MIB:.1f} MiB")
    for path in (wheel, packages / wheel.name, tmp_path / "down"):
        path.unlink()
    assert max(grown.values()) < 48 * MIB
    assert seconds < UPLOAD_SECONDS
