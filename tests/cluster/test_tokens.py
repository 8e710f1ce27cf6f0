"""Three servers on one table of tokens: what a command changes counts on each of them within a second."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pypiserver.access.htpasswd_file import set_password
from pypiserver.access.token_table import BELIEVED_SECONDS
from tests.clients.samples import add_wheel
from tests.hostile import ask
from tests.live_server import REPOSITORY, LiveServer, pypi_server, running

SERVERS = ("granian", "waitress", "gunicorn")


class Cluster:
    """Servers of different kinds that share a database of tokens and a rights file, and the commands about tokens."""

    def __init__(self, database: str, folder: Path) -> None:
        self.database, self.folder = database, folder
        self.servers: list[LiveServer] = []

    def token(self, task: str, *words: str) -> str:
        """What a command prints; its change counts on every server when this returns."""
        command = [*pypi_server()[:3], "token", task, self.database, *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=environ(), check=False)
        assert done.returncode == 0, done.stderr
        time.sleep(BELIEVED_SECONDS)
        return done.stdout.strip()

    def statuses(self, text: str, path: str = "/simple/demo/") -> list[int]:
        """The status of the same request on each server, after which the token is remembered by each."""
        return [ask(each.url, path, Authorization=f"Bearer {text}").status for each in self.servers]


def environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


@pytest.fixture
def cluster(database: str, tmp_path: Path) -> Iterator[Cluster]:
    packages, passwords, rights = tmp_path / "packages", tmp_path / "htpasswd", tmp_path / "rights"
    packages.mkdir()
    for name in ("demo", "other"):
        add_wheel(packages, name, "1.0")
    set_password(passwords, "ada", "sesame")
    rights.write_text("ada read demo\nci read demo\n")
    made = Cluster(database, tmp_path)
    made.token("mint", "ada", "--may", "read")
    flags = ("--tokens", database, "-P", passwords, "--rights", rights, "--disable-fallback", packages)
    with ExitStack() as stack:
        for name in SERVERS:
            own = environ() | {"XDG_CACHE_HOME": str(tmp_path / name)}
            command = pypi_server("--server", name, *flags)
            made.servers.append(stack.enter_context(running(command, environ=own, cwd=tmp_path)))
        yield made


def test_each_change_of_a_token_counts_on_three_servers_within_a_second(cluster: Cluster) -> None:
    first = cluster.token("mint", "ada", "--may", "read")
    assert cluster.statuses(first) == [200] * 3
    assert cluster.statuses(first, "/simple/other/") == [404] * 3

    other = cluster.token("mint", "ci", "--may", "read", "--service")
    assert cluster.statuses(other) == [200] * 3

    second = cluster.token("rotate", first[4:12], "--overlap", "1h")
    assert [cluster.statuses(each) for each in (first, second)] == [[200] * 3] * 2
    third = cluster.token("rotate", first[4:12])
    assert [cluster.statuses(each) for each in (first, second, third)] == [[401] * 3, [401] * 3, [200] * 3]

    cluster.token("revoke", first[4:12])
    assert cluster.statuses(third) == [401] * 3
    assert cluster.statuses(other) == [200] * 3
    cluster.token("revoke", "--user", "ci")
    assert cluster.statuses(other) == [401] * 3
