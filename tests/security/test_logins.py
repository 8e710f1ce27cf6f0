"""A check of passwords that hangs: what is open, and users who are known, are answered as ever."""

from __future__ import annotations

import base64
import os
import threading
import time
from pathlib import Path

from tests.hostile import Reply, ask, environ_for, every_server, wheel
from tests.live_server import pypi_server, running

# What it is asked is written down; it hangs while a file is there. Its logins become old at once, so that users who are
# known must be asked again.
PLUG_IN = """
import time
from pathlib import Path
from pypiserver.access import authentication

authentication.FOREIGN_SECONDS = 0.2

def check_for(argument):
    folder = Path(argument)

    def check(user, password):
        with (folder / "calls").open("a") as file:
            file.write(f"{user}\\n")
        while (folder / "hang").exists():
            time.sleep(0.05)
        return password == "correct-horse"

    return check
"""
UNKNOWN = 40


def installed(folder: Path) -> Path:
    information = folder / "slow_login-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "slow_login.py").write_text(PLUG_IN)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-login\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[pypiserver.auth]\nslow = slow_login:check_for\n")
    return folder


def login(url: str, user: str, path: str = "/simple/", password: str = "correct-horse") -> Reply:
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    return ask(url, path, timeout=60, Authorization=f"Basic {credentials}")


@every_server
def test_a_check_that_hangs_keeps_no_known_user_and_no_open_page_waiting(server: str, tmp_path: Path) -> None:
    packages, state = tmp_path / "packages", tmp_path / "state"
    packages.mkdir()
    state.mkdir()
    name, data = wheel("foo")
    (packages / name).write_bytes(data)
    environ = environ_for(server, tmp_path)
    environ["PYTHONPATH"] += os.pathsep + str(installed(tmp_path / "plug-in"))
    flags = ("--auth", f"slow:{state}", "-a", "list", "--threads", "8", "--disable-fallback")
    with running(pypi_server("--server", server, *flags, packages), environ=environ, cwd=tmp_path) as live:
        assert login(live.url, "ada").status == 200
        assert login(live.url, "ada", password="wrong").status == 401
        (state / "hang").touch()
        replies: list[Reply] = []
        unknown = [
            threading.Thread(target=lambda user=f"user{number}": replies.append(login(live.url, user)))
            for number in range(UNKNOWN)
        ]
        time.sleep(0.3)
        for thread in unknown:
            thread.start()
        try:
            for _ in range(5):
                for reply in (login(live.url, "ada"), ask(live.url, f"/packages/{name}"), ask(live.url, "/health")):
                    assert reply.status == 200 and reply.seconds < 5, reply
        finally:
            for thread in unknown:
                thread.join()
        assert {reply.status for reply in replies} == {503}
        assert all("retry-after" in reply.headers and reply.seconds < 25 for reply in replies)
        # Besides the two at first, as many as there are places.
        assert len((state / "calls").read_text().splitlines()) <= 2 + 8
        (state / "hang").unlink()
        deadline = time.monotonic() + 30
        while login(live.url, "user1").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert login(live.url, "ada").status == 200
    assert "does not answer" in live.output and "correct-horse" not in live.output
