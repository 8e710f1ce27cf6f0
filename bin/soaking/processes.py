"""A server in bounded memory, its processes, and how far their memory grows while something is done (Linux)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile import modules_of
from tests.live_server import REPOSITORY, LiveServer, pypi_server, running

# So that a bomb ends the server under test, and not the machine.
SAFETY_NET = 5 << 29
USER, PASSWORD = "soak", "soaked"
LOGIN = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SAMPLE_SECONDS = 0.025


def environ_for(server: str, home: Path) -> dict[str, str]:
    """The environment of a server that keeps all it writes below ``home``."""
    (home / "tmp").mkdir(exist_ok=True)
    own = {"XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home / "tmp"), "PYTHONUNBUFFERED": "1"}
    # A process that is ended by a signal says where it was.
    own["PYTHONFAULTHANDLER"] = "1"
    return {**os.environ, **own, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *modules_of(server)])}


def logins(home: Path) -> Path:
    """A password file with the user of :data:`LOGIN`."""
    path = home / "htpasswd"
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    path.write_text(f"{USER}:{{SHA}}{digest}\n")
    return path


def confined(command: list[str | Path], *, memory: int = SAFETY_NET) -> list[str | Path]:
    """The command with bounded memory; as root without the right to read what its permissions forbid."""
    bounded: list[str | Path] = ["sh", "-c", f'ulimit -v {memory >> 10}; exec "$@"', "sh", *command]
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("setpriv"):
        dropped = "-dac_override,-dac_read_search"
        return ["setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}", *bounded]
    return bounded


@contextlib.contextmanager
def serving(home: Path, *arguments: str | Path, server: str, workers: int) -> Iterator[LiveServer]:
    """A server over ``packages`` below ``home`` in bounded memory; it ends with the block."""
    folder = home / "packages"
    folder.mkdir(exist_ok=True)
    command = pypi_server("--server", server, "--workers", str(workers), "--access-log", "off", *arguments, folder)
    with running(confined(command), environ=environ_for(server, home), cwd=home) as live:
        try:
            yield live
        finally:
            end(live)


def end(live: LiveServer) -> None:
    """End a server with all below it at once: one that was harmed may not hear a signal any more."""
    for pid in tree(live.process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    live.process.wait()


def tree(pid: int) -> list[int]:
    """A process and all below it, also those that left its session."""
    found, todo = [], [pid]
    while todo:
        each = todo.pop()
        found.append(each)
        for thread in _threads(each):
            with contextlib.suppress(OSError):
                todo += map(int, (thread / "children").read_text().split())
    return found


def _threads(pid: int) -> list[Path]:
    """The folders of a process's threads; none for a process that is gone."""
    with contextlib.suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def open_files(pid: int | str) -> list[str]:
    """What a process has open; nothing of one that is gone, or that was closed meanwhile."""
    found = []
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(str(link.readlink()))
    return found


def kibibytes(pid: int, name: str) -> int:
    """A figure of /proc/PID/status in KiB, 0 for a process that is gone."""
    return status_of(pid, name)


def status_of(pid: int, name: str) -> int:
    """A number of /proc/PID/status, 0 for a process that is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


def cpu_seconds(pid: int) -> float:
    """CPU time that a process with all below it has used, those that ended included."""
    ticks = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended yet."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@dataclass
class Peak:
    """How far the memory of a server's processes grows in a ``with`` block, in MiB.

    Each process counts from what it had when the block began, one that is started inside from nothing, so that a
    child that renders counts with all it has. ``one`` is the largest of them, ``all`` their sum. ``cpu`` is the CPU
    time of all of them in seconds.
    """

    pid: int
    seconds: float = 0.0
    cpu: float = 0.0
    one: float = 0.0
    all: float = 0.0
    _before: dict[int, int] = field(default_factory=dict)
    _highest: dict[int, int] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Peak:
        for pid in tree(self.pid):
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            self._before[pid] = kibibytes(pid, "VmRSS")
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        self._cpu, self._began = cpu_seconds(self.pid), time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.monotonic() - self._began
        self.cpu = cpu_seconds(self.pid) - self._cpu
        self._over.set()
        self._thread.join()
        self._look()
        grown = [max(0, high - self._before.get(pid, 0)) / 1024 for pid, high in self._highest.items()]
        self.one, self.all = max(grown, default=0.0), sum(grown)

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        for pid in tree(self.pid):
            self._highest[pid] = max(self._highest.get(pid, 0), kibibytes(pid, "VmHWM"))
