"""A program of others that a test starts, ends, kills and starts again, always by the process ids it was given.

Whatever a service keeps lies in a folder of its own directly below the system's temporary folder: a database server
refuses to be root, and another user cannot pass through pytest's private folders. It listens on loopback only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

START_SECONDS = 60.0
STOP_SECONDS = 30.0
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def refuse(why: str) -> NoReturn:
    """Skip the test, or fail it where nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"{why}, and continuous integration must not do without it")
    pytest.skip(why)


def program(name: str, package: str, *, also_in: str = "") -> str:
    """The path of a program; `package` is the Debian package that brings it."""
    path = ":".join(filter(None, (also_in, os.environ.get("PATH", os.defpath), SBIN)))
    found = shutil.which(name, path=path)
    if found is None:
        refuse(f"{name} is not installed (apt-get install {package})")
    return found


@contextmanager
def own_folder(name: str, owner: str = "") -> Iterator[Path]:
    """A folder that other users can reach, given to `owner` when the test runs as root."""
    folder = Path(tempfile.mkdtemp(prefix=f"pypiserver-{name}-"))
    try:
        folder.chmod(0o755)
        if owner and os.getuid() == 0:
            shutil.chown(folder, owner)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def other_user() -> str:
    """A user for programs that refuse to be root."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def dropped(command: Sequence[str | Path], user: str) -> list[str | Path]:
    """The command as that user when this is root, else as it is; it becomes the process, so its id is the same."""
    if os.getuid() != 0:
        return list(command)
    entry = pwd.getpwnam(user)
    setpriv = program("setpriv", "util-linux")
    return [setpriv, f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--", *command]


def accepts(port: int) -> bool:
    """Whether something listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@dataclass
class Service:
    """One process in the foreground, which is up when `is_up` says so; its words go to `folder`/`name`.log."""

    name: str
    command: Sequence[str | Path]
    folder: Path
    is_up: Callable[[], bool]
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    stop_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """What it printed since it was first started."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    def start(self) -> None:
        """Start it, and wait until it is up."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environ),
                cwd=self.folder,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it is up; raises AssertionError with what it printed when it does not come up."""
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self.is_up():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.name} did not start (status {self.process.poll()}):\n{self.output}")
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send its first process a signal."""
        os.kill(self.pid, number)

    def stop(self) -> int:
        """End it as its users do, and return its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it with all its children at one blow (SIGKILL)."""
        assert self.process is not None
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """End it if it runs, and start it again."""
        self.stop()
        self.start()


@contextmanager
def started(*services: Service) -> Iterator[None]:
    """Start them at the same time; whatever still runs at the end is ended, the last one first."""
    with ExitStack() as stack:
        for service in services:
            # Each of them, even when another one does not end.
            stack.callback(_end, service)
            service.launch()
        for service in services:
            service.wait()
        yield


def _end(service: Service) -> None:
    if service.process is not None and service.process.poll() is None:
        service.stop()
