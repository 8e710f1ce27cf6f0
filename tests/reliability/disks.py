"""A server with disks of its own: small, full, read-only, gone, in a mount namespace that ends with it (Linux)."""

from __future__ import annotations

import contextlib
import functools
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.figures import inject
from tests.hostile import environ_for
from tests.live_server import LiveServer, pypi_server, running


@functools.cache
def reason_against() -> str:
    """Why namespaces cannot be had here; empty where they can."""
    try:
        probe = "mount -t tmpfs tmpfs /mnt && echo 0 >/proc/sys/user/max_inotify_instances"
        done = subprocess.run(
            ["unshare", "-Urm", "sh", "-c", probe], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"this system has no namespaces for users: {error}"
    return "" if done.returncode == 0 else f"namespaces for users are not allowed here: {done.stderr.strip()}"


@dataclass(frozen=True)
class Disk:
    """A folder as the server in its namespace sees it."""

    live: LiveServer
    folder: Path

    @property
    def inside(self) -> Path:
        """The folder, from outside of the namespace."""
        return self.seen(self.folder)

    def seen(self, path: Path) -> Path:
        """Any path as the server sees it."""
        return Path(f"/proc/{self.live.process.pid}/root{path}")

    def run(self, *command: str | Path) -> None:
        """Run a command in the namespace."""
        enter = ["nsenter", "-t", str(self.live.process.pid), "-U", "-m", "--preserve-credentials"]
        subprocess.run([*enter, *map(str, command)], check=True, timeout=20)

    def fill(self) -> None:
        """Leave no room."""
        inject("full disk")
        with contextlib.suppress(OSError), (self.inside / ".filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"\0" * 4096)

    def free(self) -> None:
        (self.inside / ".filler").unlink()


@contextlib.contextmanager
def serving_on_disk(
    home: Path,
    *arguments: str | Path,
    size: str = "8m",
    setup: str = "true",
    server: str = "granian",
    disk: str = "packages",
) -> Iterator[Disk]:
    """A server whose folder ``disk`` below ``home`` is a file system of its own; ``setup`` runs in the folder first."""
    if why := reason_against():
        pytest.skip(why)
    packages, folder = home / "packages", home / disk
    packages.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    command = " ".join(shlex.quote(str(word)) for word in pypi_server("--server", server, *arguments, packages))
    mount = f"mount -t tmpfs -o size={size} tmpfs {shlex.quote(str(folder))}"
    script = f"{mount} && cd {shlex.quote(str(folder))} && {setup} && cd .. && exec {command}"
    with running(["unshare", "-Urm", "sh", "-c", script], environ=environ_for(server, home), cwd=home) as live:
        yield Disk(live, folder)
