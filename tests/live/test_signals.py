"""How a server ends: at once when nothing is under way, with its terminal, and never with workers left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypiserver.server import process_signals
from pypiserver.server.contract import OUTLASTED
from tests.hostile import serving
from tests.live_server import pypi_server

from .test_live_log import wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has none of these signals"),
]
SERVERS = ("granian", "waitress", "gunicorn")


@contextlib.contextmanager
def in_terminal(
    tmp_path: Path, *flags: str | Path, ignoring: bool = False
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server whose controlling terminal is another one than ours; gives its process and the terminal's other end."""
    master, slave = os.openpty()

    def begin() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignoring else signal.SIG_DFL)

    packages = tmp_path / "packages"
    packages.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [str(word) for word in pypi_server("--log-file", tmp_path / "log", *flags, packages)],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        preexec_fn=begin,
    )
    os.close(slave)
    try:
        yield process, master
    finally:
        with contextlib.suppress(OSError):
            os.close(master)
        process.kill()
        assert process.stdout is not None
        process.stdout.close()
        process.wait()


def wait_for_banner(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("  catalog:"):
            return
    raise AssertionError("the server did not start")


@pytest.mark.parametrize("server", SERVERS)
def test_an_interrupt_as_it_starts_ends_it_at_once(server: str, tmp_path: Path) -> None:
    """The whole group gets it, as from a keyboard; it was lost in workers, which were killed after eight seconds."""
    for _ in range(2):
        with in_terminal(tmp_path, "--server", server, "--workers", "2") as (process, _master):
            wait_for_banner(process)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(60) == 0
    said = (tmp_path / "log").read_text()
    assert OUTLASTED not in said and "Killing" not in said and "SIGKILL" not in said
    assert said.count("|pypiserver has ended.\n") == said.count(" is serving at http://127.0.0.1:") == 2


@pytest.mark.parametrize("server", (*SERVERS, "wsgiref"))
def test_it_ends_with_its_terminal(server: str, tmp_path: Path) -> None:
    number = tmp_path / "pid"
    with in_terminal(tmp_path, "--server", server, "--pid-file", number) as (process, master):
        wait_for_banner(process)
        assert number.read_text() == f"{process.pid}\n"
        os.close(master)
        assert process.wait(60) in (0, 130)
    assert not number.exists()
    said = (tmp_path / "log").read_text()
    assert "read again" not in said and OUTLASTED not in said
    assert said.endswith("|pypiserver has ended.\n")


@pytest.mark.parametrize("server", SERVERS)
def test_with_nohup_it_outlives_its_terminal(server: str, tmp_path: Path) -> None:
    with in_terminal(tmp_path, "--server", server, ignoring=True) as (process, master):
        wait_for_banner(process)
        os.close(master)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "The settings were read again." in (tmp_path / "log").read_text())
        assert process.poll() is None
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.parametrize("server", SERVERS)
def test_the_pid_file_is_the_one_to_signal(server: str, tmp_path: Path) -> None:
    number = tmp_path / "pid"
    workers = ("--workers", "2") if server != "waitress" else ()
    with serving(tmp_path, "--server", server, "--pid-file", number, *workers) as live:
        os.kill(int(number.read_text()), signal.SIGHUP)
        wait_until(lambda: "The settings were read again." in live.output)
        assert number.exists()
        os.kill(int(number.read_text()), signal.SIGTERM)
        assert live.process.wait(60) == 0
    assert not number.exists()


def test_sigterm_before_there_is_a_server_ends_it_as_an_exception_would() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, process_signals.ended_by_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(60)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_no_terminal_no_end() -> None:
    code = "import sys; from pypiserver.server import process_signals; sys.exit(process_signals.ends_with_terminal())"
    assert subprocess.run([sys.executable, "-c", code], start_new_session=True).returncode == 0
