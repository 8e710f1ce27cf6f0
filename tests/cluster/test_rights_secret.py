"""Rights, passwords and tokens as Kubernetes mounts a Secret: a change counts on every replica in a second."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pypiserver.access.htpasswd_file import set_password
from tests.clients.samples import add_wheel
from tests.hostile import ask
from tests.live_server import REPOSITORY, LiveServer, pypi_server, running

SERVERS = ("granian", "waitress", "gunicorn")


class Secret:
    """A folder as the kubelet fills it: names that lead to a folder of all files, which is replaced by another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def bring(self, version: str, files: dict[str, bytes]) -> None:
        """All files of a new version, at once."""
        new = self.folder / f"..{version}"
        new.mkdir()
        for name, data in files.items():
            (new / name).write_bytes(data)
            (new / name).chmod(0o600)
        link = self.folder / "..data_tmp"
        link.symlink_to(new.name)
        link.replace(self.folder / "..data")
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")


def environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def token(task: str, *words: object) -> str:
    command = [*pypi_server()[:3], "token", task, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environ(), check=True).stdout.strip()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    passwords = tmp_path / "made-passwords"
    set_password(passwords, "ada", "sesame")
    return {"htpasswd": passwords.read_bytes(), "rights": b"ada read demo\n", "tokens": b""}


@pytest.fixture
def replicas(tmp_path: Path, files: dict[str, bytes]) -> Iterator[tuple[list[LiveServer], list[Secret]]]:
    packages = tmp_path / "packages"
    packages.mkdir()
    add_wheel(packages, "demo", "1.0")
    servers, secrets = [], []
    with ExitStack() as stack:
        for name in SERVERS:
            secret = Secret(tmp_path / f"secret-{name}")
            secret.bring("1", files)
            flags = [word for each in ("rights", "tokens") for word in (f"--{each}", str(secret.folder / each))]
            command = pypi_server("--server", name, "-P", secret.folder / "htpasswd", *flags, packages)
            own = environ() | {"XDG_CACHE_HOME": str(tmp_path / name)}
            servers.append(stack.enter_context(running(command, environ=own, cwd=tmp_path)))
            secrets.append(secret)
        yield servers, secrets


def test_each_change_of_a_secret_counts_on_every_replica_within_a_second(
    replicas: tuple[list[LiveServer], list[Secret]], files: dict[str, bytes], tmp_path: Path
) -> None:
    servers, secrets = replicas
    made = tmp_path / "made-tokens"
    text = token("mint", made, "ada", "--may", "read")

    def bring(version: str, **changed: bytes) -> list[int]:
        files.update(changed)
        for secret in secrets:
            secret.bring(version, files)
        time.sleep(1.0)
        return [ask(each.url, "/simple/demo/", Authorization=f"Bearer {text}").status for each in servers]

    assert bring("2", tokens=made.read_bytes()) == [200] * 3
    assert bring("3", rights=b"ada read other\n") == [404] * 3
    assert bring("4", rights=b"ada read demo\n") == [200] * 3
    ada = files["htpasswd"]
    assert bring("5", htpasswd=b"") == [401] * 3
    assert bring("6", htpasswd=ada) == [200] * 3
    token("revoke", made, text[4:12])
    assert bring("7", tokens=made.read_bytes()) == [401] * 3
