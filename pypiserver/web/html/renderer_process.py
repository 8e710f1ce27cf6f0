"""The server's side of the rendering process: starting it, sending requests, and ending it.

**Invariants:** it is started by exec, never by a bare fork, with no descriptor of the server except its two pipes, no
environment and no working folder; it gets one request at a time, and answers within ``ANSWER_SECONDS`` or is killed
with its children; its answer is bounded, and accepted only in the sanitizer's strict form.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from . import sanitizer
from .renderer_worker import FRAME, MAX_HTML, WALL_SECONDS, Answer, Kind, Outcome

# Its own limit, and the time to start on a busy machine.
ANSWER_SECONDS = WALL_SECONDS + 10.0
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from pypiserver.web.html.renderer_worker import main; main()"
# Some systems need these to find the interpreter's own libraries.
_ENVIRON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


class RenderProcess:
    """The process, started by the first request; for one thread at a time. Close it.

    ``program`` is its Python code, ``seconds`` the time within which it must answer.
    """

    def __init__(self, *, seconds: float = ANSWER_SECONDS, program: str = _PROGRAM) -> None:
        self._seconds = seconds
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._is_aborted = False

    def render(self, kind: Kind, text: bytes) -> Answer:
        """The outcome for a text in UTF-8. Raises OSError when no process can be started."""
        was_running = self._process is not None
        outcome, html = self._asked(kind, text)
        if outcome is Outcome.CRASHED and was_running and not self._is_aborted:
            # It ended since the last request, for instance for lack of memory.
            outcome, html = self._asked(kind, text)
        if outcome in (Outcome.CRASHED, Outcome.STALLED) or sys.platform == "win32":
            self.close()
        return outcome, html

    def _asked(self, kind: Kind, text: bytes) -> Answer:
        process = self._process = self._process or _started(self._program)
        if self._is_aborted:
            self.close()
            return Outcome.CRASHED, b""
        is_late = threading.Event()
        timer = threading.Timer(self._seconds, _end, [process, is_late])
        timer.daemon = True
        timer.start()
        try:
            answer = _exchanged(process, kind, text)
        except (OSError, ValueError):
            answer = Outcome.CRASHED, b""
        finally:
            timer.cancel()
            timer.join()
        if answer[0] is Outcome.CRASHED:
            _kill(process)
            self.close()
            return (Outcome.STALLED, b"") if is_late.is_set() else answer
        return answer

    def abort(self) -> None:
        """Kill the process while another thread waits for its answer; that thread gets ``CRASHED``."""
        self._is_aborted = True
        if (process := self._process) is not None:
            _kill(process)

    def close(self) -> None:
        """End the process and its children; the next request starts it again."""
        process, self._process = self._process, None
        if process is None:
            return
        to, of = _pipes(process)
        with contextlib.suppress(OSError):
            to.close()
        try:
            # At the end of its input it ends its children, which init would have to reap otherwise.
            process.wait(1)
        except subprocess.TimeoutExpired:
            _kill(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        of.close()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    """Its input and its output."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 - _started() asks for both
    return process.stdin, process.stdout


def _exchanged(process: subprocess.Popen[bytes], kind: Kind, text: bytes) -> Answer:
    """Send one text and read the outcome; raises OSError and ValueError for an invalid answer."""
    to, of = _pipes(process)
    to.write(FRAME.pack(kind, len(text)) + text)
    to.flush()
    head = of.read(FRAME.size)
    if len(head) != FRAME.size:
        raise ValueError("the process ended")
    number, length = FRAME.unpack(head)
    if length > MAX_HTML:
        raise ValueError("the answer is too large")
    data = of.read(length)
    outcome = Outcome(number)
    if len(data) != length or not sanitizer.is_safe(data.decode("utf-8")):
        raise ValueError("the answer is cut off, or not in the strict form")
    return outcome, data


def _started(program: str) -> subprocess.Popen[bytes]:
    # The paths on which this process found pypiserver and readme_renderer.
    paths = list(dict.fromkeys([*filter(os.path.isabs, sys.path), str(Path(__file__).absolute().parents[3])]))
    own = {name: os.environ[name] for name in _ENVIRON if name in os.environ}
    return subprocess.Popen(  # noqa: S603
        [interpreter(), "-I", "-B", "-X", "utf8", "-c", program, *paths],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(os.sep).absolute(),
        # docutils prefers the configuration files of the folder and the user to its arguments.
        env={**own, "DOCUTILSCONFIG": "", "MALLOC_ARENA_MAX": "1"},
        # Its own process group, so that it can be killed with its children.
        start_new_session=True,
    )


def interpreter() -> str:
    """The path of the running Python, even if another program embeds it (mod_wsgi, uWSGI).

    Raises FileNotFoundError if there is none.
    """
    name = Path(sys.executable or "").name.lower()
    if name.startswith(("python", "pypy")):
        return sys.executable
    for folder in (Path(sys.prefix), Path(sys.exec_prefix), Path(sys.base_exec_prefix)):
        path = folder / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        if path.is_file():
            return str(path)
    raise FileNotFoundError("no Python interpreter was found to render descriptions with")


def _end(process: subprocess.Popen[bytes], is_late: threading.Event) -> None:
    is_late.set()
    _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
