"""Replicas of our server, each a process at a port of its own, which can be ended, killed and started again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.process import Service, started
from tests.hostile import OPEN, ask
from tests.live_server import REPOSITORY
from tests.ports import free_ports

COUNT = 3


class Replica(Service):
    """One of our servers."""

    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def replica(home: Path, port: int, arguments: Sequence[str | Path], environ: Mapping[str, str]) -> Replica:
    """A server whose cache and temporary files lie below `home`; it is up when it says that it is ready."""
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    own = {"XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home / "tmp"), "PYTHONPATH": str(REPOSITORY)}
    open_to_all = [each for each in OPEN if each != "--disable-fallback" or "--fallback-mode" not in arguments]
    words = [sys.executable, "-m", "pypiserver", "-i", "127.0.0.1", "-p", str(port), *open_to_all, *arguments]
    made = Replica(f"replica-{port}", words, home, lambda: is_ready(port), {**os.environ, **own, **environ})
    made.port = port
    return made


def is_ready(port: int) -> bool:
    try:
        return ask(f"http://127.0.0.1:{port}", "/health/ready", timeout=10).status == 200
    except OSError:
        return False


@contextmanager
def replicas(
    home: Path, *arguments: str | Path, environ: Mapping[str, str] | None = None, count: int = COUNT
) -> Iterator[list[Replica]]:
    """Some servers with the same arguments, all of them ready."""
    made = [
        replica(home / f"replica-{number}", port, arguments, environ or {})
        for number, port in enumerate(free_ports(count))
    ]
    with started(*made):
        try:
            yield made
        finally:
            # An interrupt ends them at once, however long they would drain.
            for each in made:
                each.stop_signal = signal.SIGINT
