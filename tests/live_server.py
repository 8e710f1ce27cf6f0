"""A real server for tests: started as a process, waited for, and ended by its process id.

The address is read from the banner the server prints, so that the system chooses the port (`-p 0`) and tests can run
side by side.
Everything the process prints is kept, for a test to look at and for the message of one that fails.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ADDRESS = re.compile(r"(https?://[\w.\[\]:-]+:[1-9]\d*)")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
Opener = urllib.request.OpenerDirector
START_SECONDS = 60.0


@dataclass
class LiveServer:
    """A running server; `url` has no slash at its end."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def stop(self) -> int:
        """End the process as a service manager does, and return its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def listen(self, address: re.Pattern[str]) -> None:
        """Keep what the process prints until it ends; the first address in it is the server's."""
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self.lines.append(line)
                found = address.search(line)
                if found and not self.url:
                    self.url = found[1].replace("0.0.0.0", "127.0.0.1")
                    self.told.set()
        self.told.set()


def answers(url: str, opener: Opener = DIRECT) -> bool:
    try:
        with opener.open(url, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


def wait_until_it_answers(server: LiveServer, path: str, opener: Opener, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    server.told.wait(seconds)
    while server.url and server.process.poll() is None and time.monotonic() < deadline:
        if answers(server.url + path, opener):
            return
        time.sleep(0.02)
    status = server.process.poll()
    raise AssertionError(f"the server does not answer at {path} (exit status {status}); it printed:\n{server.output}")


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    environ: Mapping[str, str],
    cwd: Path,
    path: str = "/health",
    address: str = "",
    opener: Opener = DIRECT,
    seconds: float = START_SECONDS,
) -> Iterator[LiveServer]:
    """Run `command` until the block ends; it answers at `path` within `seconds`, when the block begins.

    `address` is for a server that prints none, `opener` for one that takes more than a plain request.
    """
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=dict(environ),
        cwd=cwd,
        # A group of its own, so that a test can kill the server with all its workers at one blow.
        start_new_session=True,
    )
    server = LiveServer(process, url=address)
    if address:
        server.told.set()
    listener = threading.Thread(target=server.listen, args=(ADDRESS,), daemon=True)
    listener.start()
    try:
        wait_until_it_answers(server, path, opener, seconds)
        yield server
    finally:
        if process.poll() is None:
            server.stop()
        listener.join(5)


def pypi_server(*arguments: str | Path) -> list[str | Path]:
    """The command of a server on loopback, on a port that the system chooses."""
    return [sys.executable, "-m", "pypiserver", "-i", "127.0.0.1", "-p", "0", *arguments]
