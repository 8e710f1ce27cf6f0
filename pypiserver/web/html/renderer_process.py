"""The process in which descriptions are rendered, as the server sees it: started, asked, and ended.

**Invariants:** it is started by exec, never by a bare fork, with no descriptor of the server but its two pipes, no
environment and no working folder; it is asked for one thing at a time, and answers within ``ANSWER_SECONDS`` or is
killed with all that it started; what it says is bounded, and believed only in the sanitizer's strict form.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from . import sanitizer
from .renderer_worker import FRAME, MAX_HTML, WALL_SECONDS, Answer, Kind, Outcome

# Its own limit, and the time to start on a machine that is busy.
ANSWER_SECONDS = WALL_SECONDS + 10.0
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from pypiserver.web.html.renderer_worker import main; main()"
# Where some systems find the interpreter's own libraries.
_ENVIRON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


class RenderProcess:
    """The process, started when it is first asked; for one thread at a time. Close it.

    ``program`` is what it runs, and ``seconds`` within how many it must answer.
    """

    def __init__(self, *, seconds: float = ANSWER_SECONDS, program: str = _PROGRAM) -> None:
        self._seconds = seconds
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._is_aborted = False

    def render(self, kind: Kind, text: bytes) -> Answer:
        """What becomes of a text in UTF-8. Raises OSError when no process can be started."""
        was_running = self._process is not None
        outcome, html = self._asked(kind, text)
        if outcome is Outcome.CRASHED and was_running and not self._is_aborted:
            # It ended meanwhile, when memory was short for instance.
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
        """Kill the process while another thread waits for its answer, which then is that it crashed."""
        self._is_aborted = True
        if (process := self._process) is not None:
            _kill(process)

    def close(self) -> None:
        """End the process and what it started; it may be asked again."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None  # noqa: S101
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            # At the end of its input it ends what it started, which else would be left to the first process of all.
            process.wait(1)
        except subprocess.TimeoutExpired:
            _kill(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        process.stdout.close()


def _exchanged(process: subprocess.Popen[bytes], kind: Kind, text: bytes) -> Answer:
    """Send one text and read what became of it; raises OSError and ValueError when that is no answer."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101
    process.stdin.write(FRAME.pack(kind, len(text)) + text)
    process.stdin.flush()
    head = process.stdout.read(FRAME.size)
    if len(head) != FRAME.size:
        raise ValueError("the process ended")
    number, length = FRAME.unpack(head)
    if length > MAX_HTML:
        raise ValueError("the answer is too large")
    data = process.stdout.read(length)
    outcome = Outcome(number)
    if len(data) != length or not sanitizer.is_safe(data.decode("utf-8")):
        raise ValueError("the answer is cut off, or not in the strict form")
    return outcome, data


def _started(program: str) -> subprocess.Popen[bytes]:
    # As we found ourselves and readme_renderer, wherever they were installed or put.
    paths = list(dict.fromkeys([*filter(os.path.isabs, sys.path), str(Path(__file__).absolute().parents[3])]))
    own = {name: os.environ[name] for name in _ENVIRON if name in os.environ}
    return subprocess.Popen(  # noqa: S603
        [interpreter(), "-I", "-B", "-X", "utf8", "-c", program, *paths],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=os.path.abspath(os.sep),  # noqa: PTH100
        # docutils believes the configuration files of a folder and a user before what it is told.
        env={**own, "DOCUTILSCONFIG": "", "MALLOC_ARENA_MAX": "1"},
        # A group of its own, to be killed together.
        start_new_session=True,
    )


def interpreter() -> str:
    """The path of the Python we run on, also where another program has it built in (mod_wsgi, uWSGI).

    Raises FileNotFoundError where there is none.
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
