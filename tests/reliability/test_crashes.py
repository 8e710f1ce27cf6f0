"""What survives kill -9 at any moment (P1, P2, P4, P5, P7)."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bin.soaking.processes import open_files
from pypiserver.folder.tmpfile import has_unnamed
from tests.figures import inject
from tests.hostile import (
    OPEN,
    ask,
    connect,
    environ_for,
    eventually,
    every_server,
    leftovers,
    serving,
    sha256,
    upload,
    upload_request,
    visible,
    wheel,
)
from tests.live_server import LiveServer, pypi_server, running
from tests.reliability.crash import Ledger, kill_in_the_middle


@every_server
def test_what_was_acknowledged_survives_the_death_of_the_server(server: str, tmp_path: Path) -> None:
    ledger = Ledger()
    chance = random.Random(server)
    for _ in range(2):
        kill_in_the_middle(tmp_path, ledger, uploads=60, chance=chance, server=server)
    folder = tmp_path / "packages"
    assert len(ledger.acknowledged) >= 12
    assert ledger.lost(folder) == [] and ledger.damaged(folder) == []
    with serving(tmp_path, *OPEN, "--catalog", tmp_path / "catalog.sqlite", server=server) as live:
        page = ask(live.url, "/packages/").body.decode()
        assert all(name in page for name in visible(folder))
        assert ".upload-" not in page
        for project in {name.partition("-")[0].replace("_", "-") for name in visible(folder)}:
            assert ask(live.url, f"/simple/{project}/").status == 200
        # What was being written when the server died is hidden, and goes when one starts.
        eventually(lambda: not leftovers(folder))


def without_unnamed_files(home: Path, server: str) -> dict[str, str]:
    """The environment of a server that knows no files without a name, as on NFS or another system than Linux."""
    (home / "site").mkdir(exist_ok=True)
    (home / "site" / "sitecustomize.py").write_text("import os\ndel os.O_TMPFILE\n")
    environ = environ_for(server, home)
    return {**environ, "PYTHONPATH": f"{home / 'site'}{os.pathsep}{environ['PYTHONPATH']}"}


@every_server
def test_half_an_upload_is_hidden_after_a_death_and_removed_at_the_next_start(server: str, tmp_path: Path) -> None:
    if server == "waitress":
        pytest.skip("waitress gives the application whole bodies only")
    folder = tmp_path / "packages"
    folder.mkdir()
    command = pypi_server("--server", server, *OPEN, folder)
    with running(command, environ=without_unnamed_files(tmp_path, server), cwd=tmp_path) as live:
        upload_and_die(live, lambda: leftovers(folder))
    assert visible(folder) == [] and len(leftovers(folder)) >= 1
    (folder / ".upload-notes.txt").write_text("of somebody else")
    time.sleep(0.01)
    with serving(tmp_path, *OPEN, server=server) as live:
        assert b"upload-" not in ask(live.url, "/packages/").body
        for name in leftovers(folder):
            assert ask(live.url, f"/packages/{name}").status == 404
        eventually(lambda: leftovers(folder) == [".upload-notes.txt"])


@pytest.mark.skipif(not has_unnamed(Path(tempfile.gettempdir())), reason="needs files without a name")
@every_server
def test_of_half_an_upload_nothing_is_left_where_files_need_no_name(server: str, tmp_path: Path) -> None:
    if server == "waitress":
        pytest.skip("waitress gives the application whole bodies only")
    folder = tmp_path / "packages"
    with serving(tmp_path, *OPEN, server=server) as live:
        upload_and_die(live, lambda: unnamed_files(live, folder))
    assert leftovers(folder) == visible(folder) == []


def upload_and_die(live: LiveServer, has_begun: Callable[[], object]) -> None:
    """Kill a server that has a part of an upload."""
    head, body = upload_request(*wheel("half", filler=2_000_000))
    with connect(live.url) as connection:
        connection.sendall(head + body[:1_500_000])
        eventually(has_begun)
        os.killpg(live.process.pid, signal.SIGKILL)
        inject("kill -9 in the middle of an upload")
        live.process.wait()


def unnamed_files(live: LiveServer, folder: Path) -> list[str]:
    """The files of a folder that have no name and are open in a process of the server's."""
    found = []
    for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
        # A process that ends meanwhile has none.
        with contextlib.suppress(OSError):
            if os.getpgid(int(pid)) == live.process.pid:
                found += [target for target in open_files(pid) if target.startswith(f"{folder}/#")]
    return found


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_an_upload_is_on_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    """File, then name, then folder, then the answer: whatever order a power cut keeps, a 2xx holds (P5)."""
    packages, trace = tmp_path / "packages", tmp_path / "trace"
    packages.mkdir()
    calls = "trace=openat,fsync,fdatasync,link,linkat,rename,renameat2,sendto,write,writev"
    command = [
        "strace",
        "-f",
        "-y",
        "-s",
        "40",
        "-o",
        str(trace),
        "-e",
        calls,
        *map(str, pypi_server("--server", "waitress", *OPEN, packages)),
    ]
    with running(command, environ=environ_for("waitress", tmp_path), cwd=tmp_path) as live:
        name, data = wheel("durable")
        assert upload(live.url, name, data, timeout=60).status == 200
        # strace lets go of a server when it is told to end; both must be told.
        os.killpg(live.process.pid, signal.SIGTERM)
        live.process.wait(30)
    lines = trace.read_text(errors="replace").splitlines()
    part = r"(\.upload-[0-9a-f]{32}\.part|#\d+)"

    def first(pattern: str, start: int = 0) -> int:
        found = [at for at in range(start, len(lines)) if re.search(pattern, lines[at]) and " = -1 " not in lines[at]]
        assert found, pattern
        return found[0]

    synced = first(rf"f(data)?sync\(\d+<[^>]*{part}>")
    named = first(rf'(link|linkat|rename|renameat2)\(.*{part}.*{re.escape(name)}"')
    kept = first(rf"fsync\(\d+<{re.escape(str(packages))}>", named)
    answered = first(r"(sendto|write|writev)\(.*(HTTP/1\.1 200|was stored)", synced)
    assert synced < named < kept < answered


def test_what_is_stored_is_what_was_sent(tmp_path: Path) -> None:
    """The bytes served are the bytes uploaded, for every server in a row over one folder (P14)."""
    with serving(tmp_path, *OPEN) as live:
        for number in range(20):
            name, data = wheel("same", f"1.{number}", filler=number * 7_001)
            assert upload(live.url, name, data).status == 200
            assert sha256(ask(live.url, f"/packages/{name}").body) == sha256(data)
