"""Rendering in another process: once for each description, within limits, and whatever happens to that process."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pypiserver.web.html import renderer, renderer_process
from pypiserver.web.html.renderer import MAX_JOBS, Renderer
from pypiserver.web.html.renderer_process import RenderProcess
from pypiserver.web.html.renderer_worker import MAX_HTML, MEMORY_BYTES, Answer, Kind, Outcome

# Each of them starts processes.
pytestmark = pytest.mark.live

GOOD = (Outcome.HTML, b"<p>a</p>\n")
LINUX = pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="asks /proc about processes")


@pytest.fixture
def process() -> Iterator[RenderProcess]:
    with closing(RenderProcess()) as process:
        yield process


def pid_of(process: RenderProcess) -> int:
    assert process._process is not None
    return process._process.pid


# -- the process -----------------------------------------------------------------------------------------------------


def test_a_process_renders_one_after_the_other(process: RenderProcess) -> None:
    assert process.render(Kind.GFM, b"a") == GOOD
    first = pid_of(process)
    assert process.render(Kind.RST, b"a") == GOOD
    assert process.render(Kind.RST, b"`a") == (Outcome.INVALID, b"")
    assert process.render(Kind.COMMONMARK, b"~~a~~") == (Outcome.HTML, b"<p>~~a~~</p>\n")
    assert pid_of(process) == first


def test_one_that_exceeds_a_limit_does_no_harm_to_the_next(process: RenderProcess) -> None:
    assert process.render(Kind.GFM, b"a") == GOOD
    first = pid_of(process)
    columns = b"|a" * 2000 + b"|\n" + b"|-" * 2000 + b"|\n"
    assert process.render(Kind.GFM, columns + b"a\n" * 8000) == (Outcome.TOO_MUCH_MEMORY, b"")
    outcome, _ = process.render(Kind.GFM, b">" * 90_000)
    assert outcome in (Outcome.TOO_SLOW, Outcome.STALLED)
    assert process.render(Kind.GFM, b"a") == GOOD
    # On a busy machine its seconds pass before its CPU time does; then there is another one.
    assert (pid_of(process) == first) or outcome is Outcome.STALLED


def test_a_process_that_was_killed_meanwhile_is_started_again(process: RenderProcess) -> None:
    assert process.render(Kind.GFM, b"a") == GOOD
    os.kill(pid_of(process), signal.SIGTERM)
    assert process.render(Kind.GFM, b"a") == GOOD


def test_a_process_that_was_closed_is_gone_and_can_be_asked_again(process: RenderProcess) -> None:
    assert process.render(Kind.GFM, b"a") == GOOD
    pid = pid_of(process)
    process.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
    assert process.render(Kind.GFM, b"a") == GOOD


@LINUX
def test_a_process_has_limits_and_nothing_of_the_server(process: RenderProcess, tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as file:
        os.set_inheritable(file.fileno(), True)
        assert process.render(Kind.GFM, b"a") == GOOD
        folder = Path(f"/proc/{pid_of(process)}")
        opened = {number: os.readlink(folder / "fd" / number) for number in os.listdir(folder / "fd")}
    assert sorted(target.partition(":")[0] for target in opened.values()) == ["/dev/null", "/dev/null", "pipe", "pipe"]
    limits = {line[:26].strip(): line[26:].split()[:2] for line in (folder / "limits").read_text().splitlines()}
    assert limits["Max address space"] == [str(MEMORY_BYTES)] * 2
    assert limits["Max core file size"] == limits["Max file size"] == ["0", "0"]
    environ = dict(word.partition("=")[::2] for word in (folder / "environ").read_text().split("\0") if word)
    assert set(environ) <= {"DOCUTILSCONFIG", "MALLOC_ARENA_MAX", "LD_LIBRARY_PATH"}
    assert os.readlink(folder / "cwd") == "/"


def saying(expression: str) -> str:
    """A program in the process's place that answers everything with these bytes, and waits."""
    return (
        "import struct, sys, time\nframe = struct.Struct('>BI')\n"
        f"sys.stdin.buffer.read(1); sys.stdout.buffer.write({expression}); sys.stdout.flush(); time.sleep(60)"
    )


@pytest.mark.parametrize(
    "answer",
    [
        "frame.pack(0, 25) + b'<script>alert(1)</script>'",
        "frame.pack(0, 26) + b'<a href=\"javascript:x\">x</a>'",
        "frame.pack(0, 3) + b'<p>'",
        "frame.pack(0, 2) + b'\\xff\\xfe'",
        "frame.pack(0, 3) + b'\\xed\\xa0\\x80'",
        f"frame.pack(0, {MAX_HTML + 1}) + b'a' * {MAX_HTML + 1}",
        "frame.pack(0, 2**32 - 1)",
        "frame.pack(99, 0)",
        "b'Traceback (most recent call last)'",
    ],
)
def test_an_answer_that_cannot_be_right_is_not_believed(answer: str) -> None:
    with closing(RenderProcess(program=saying(answer))) as process:
        assert process.render(Kind.GFM, b"a") == (Outcome.CRASHED, b"")
        assert process._process is None


@pytest.mark.parametrize("program", ["", "raise SystemExit(3)", "import os; os.abort()", "import no_such_module"])
def test_a_process_that_ends_at_once_is_a_failure(program: str) -> None:
    with closing(RenderProcess(program=program)) as process:
        assert process.render(Kind.GFM, b"a" * 300_000) == (Outcome.CRASHED, b"")


@pytest.mark.parametrize("answer", ["b''", "frame.pack(0, 9) + b'<p>'", "frame.pack(0, 9)[:3]"])
def test_a_process_that_says_nothing_more_is_killed(answer: str) -> None:
    with closing(RenderProcess(program=saying(answer), seconds=1)) as process:
        assert process.render(Kind.GFM, b"a" * 300_000) == (Outcome.STALLED, b"")
        assert process._process is None


@pytest.mark.parametrize("executable", ["", None, "/usr/sbin/apache2", "/usr/bin/uwsgi"])
def test_the_interpreter_is_found_when_another_program_has_it_built_in(
    executable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    found = renderer_process.interpreter()
    asked = [found, "-I", "-c", "import sys; print(sys.version_info[:2])"]
    assert subprocess.run(asked, capture_output=True, text=True).stdout.strip() == str(sys.version_info[:2])


@LINUX
def test_a_process_that_is_closed_at_work_leaves_nothing_to_others(process: RenderProcess) -> None:
    assert process.render(Kind.GFM, b"a") == GOOD
    child = process._process
    assert child is not None and child.stdin is not None
    child.stdin.write(renderer_process.FRAME.pack(Kind.GFM, 90_000) + b">" * 90_000)
    child.stdin.flush()
    while not (forks := forks_of(child.pid)):
        time.sleep(0.01)
    process.close()
    assert not forks[0].exists()


def forks_of(pid: int) -> list[Path]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found += [stat.parent] if int(stat.read_text().rpartition(")")[2].split()[1]) == pid else []
    return found


@LINUX
def test_without_its_limits_a_process_renders_nothing() -> None:
    program = (
        "import resource, sys; sys.path[:] = sys.argv[1:]\n"
        "def refuse(*arguments): raise PermissionError\n"
        "resource.setrlimit = refuse\n"
        "from pypiserver.web.html.renderer_worker import main; main()"
    )
    with closing(RenderProcess(program=program)) as process:
        assert process.render(Kind.GFM, b"a") == (Outcome.CRASHED, b"")


# -- once for each description ---------------------------------------------------------------------------------------


class Counted(RenderProcess):
    """Counts what it is asked; ``go`` lets it work."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []
        self.go = threading.Event()
        self.go.set()

    def render(self, kind: Kind, text: bytes) -> Answer:
        self.asked.append(text)
        assert self.go.wait(60)
        return super().render(kind, text)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def make(counted: Counted) -> Iterator[Callable[..., Renderer]]:
    made: list[Renderer] = []

    def make(wait: float = 60, **settings: float) -> Renderer:
        made.append(Renderer(wait=wait, process=lambda: counted, **settings))
        return made[-1]

    yield make
    counted.go.set()
    for each in made:
        each.close()


def test_many_who_ask_at_once_have_it_rendered_once(make: Callable[..., Renderer], counted: Counted) -> None:
    rendering = make()
    counted.go.clear()
    answers: list[Answer | None] = []
    threads = [threading.Thread(target=lambda: answers.append(rendering.render(Kind.GFM, "a"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    counted.go.set()
    for thread in threads:
        thread.join()
    assert (answers, counted.asked) == ([GOOD] * 20, [b"a"])
    assert rendering.render(Kind.GFM, "a") == GOOD and rendering.render(Kind.RST, "a") == GOOD
    assert counted.asked == [b"a", b"a"]


def test_what_failed_is_not_tried_again_however_much_else_is_rendered(
    make: Callable[..., Renderer], counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renderer, "MAX_RESULT_BYTES", 20_000)
    rendering = make()
    for _ in range(3):
        assert rendering.render(Kind.RST, "`a") == (Outcome.INVALID, b"")
    for number in range(60):
        assert rendering.render(Kind.GFM, f"{number}" * 50) is not None
    assert rendering.render(Kind.RST, "`a") == (Outcome.INVALID, b"")
    assert counted.asked.count(b"`a") == 1
    # The first of the others was driven out.
    assert rendering.render(Kind.GFM, "0" * 50) is not None
    assert counted.asked.count(b"0" * 50) == 2


class Large(Counted):
    """Makes the largest result of everything."""

    def render(self, kind: Kind, text: bytes) -> Answer:
        self.asked.append(text)
        return Outcome.HTML, bytes(MAX_HTML)


def test_what_is_kept_is_bounded_in_bytes_and_the_largest_result_is_kept() -> None:
    counted = Large()
    with closing(Renderer(wait=60, process=lambda: counted)) as rendering:
        for number in range(50):
            assert rendering.render(Kind.GFM, f"{number}") is not None
        results = rendering._queue.get()._results
        assert sum(len(html) for (_, html), _ in results._values.values()) <= renderer.MAX_RESULT_BYTES
        assert rendering.render(Kind.GFM, "49") is not None and len(counted.asked) == 50
        assert rendering.render(Kind.GFM, "0") is not None and len(counted.asked) == 51


def test_no_one_waits_for_one_that_takes_long_but_who_asked_first(
    make: Callable[..., Renderer], counted: Counted
) -> None:
    rendering = make(wait=1.0)
    counted.go.clear()
    began = time.monotonic()
    assert rendering.render(Kind.GFM, "a") is None
    assert time.monotonic() - began >= 1
    began = time.monotonic()
    assert [rendering.render(Kind.GFM, "a") for _ in range(30)] == [None] * 30
    assert time.monotonic() - began < 15
    counted.go.set()
    rendering.wait_seconds = 60
    while rendering.render(Kind.GFM, "a") is None:
        time.sleep(0.01)
    assert counted.asked == [b"a"]


def test_a_number_of_jobs_wait_and_the_others_are_plain_text_at_once(
    make: Callable[..., Renderer], counted: Counted
) -> None:
    rendering = make(wait=0)
    counted.go.clear()
    for number in range(MAX_JOBS):
        assert rendering.render(Kind.GFM, f"{number}") is None
    rendering.wait_seconds = 3600
    assert rendering.render(Kind.GFM, "one too many") is None
    assert len(rendering._queue.get()._jobs) == MAX_JOBS
    counted.go.set()
    assert rendering.render(Kind.GFM, f"{MAX_JOBS - 1}") is not None
    assert b"one too many" not in counted.asked
    assert rendering.render(Kind.GFM, "one too many") is not None


# -- whatever happens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [OSError, ValueError, RuntimeError, MemoryError, RecursionError, UnicodeError, KeyError]
)
@pytest.mark.parametrize("place", ["_exchanged", "_started", "_kill"])
def test_an_exception_ends_nothing(
    error: type[Exception], place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renderer, "RETRY_SECONDS", 0)
    with closing(Renderer(wait=60)) as rendering:
        assert rendering.render(Kind.GFM, "before") is not None
        with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
            rendering.close()

            def fail(*arguments: object) -> None:
                raise error("injected")

            broken.setattr(renderer_process, place, fail)
            rendering.wait_seconds = 1
            rendering.render(Kind.GFM, "a")
        rendering.wait_seconds = 60
        assert rendering.render(Kind.GFM, "a") == GOOD


@pytest.mark.parametrize("error", [OSError, MemoryError, RuntimeError])
def test_a_thread_that_ends_is_followed_by_another(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    failing = [True]

    def make() -> RenderProcess:
        if failing.pop() if failing else False:
            raise error("injected")
        return RenderProcess()

    with closing(Renderer(wait=0.5, process=make)) as rendering:
        assert rendering.render(Kind.GFM, "a") is None
        rendering.wait_seconds = 60
        assert rendering.render(Kind.GFM, "b") is not None
        assert rendering.render(Kind.GFM, "a") == GOOD


def test_what_was_not_the_descriptions_fault_is_tried_again(
    make: Callable[..., Renderer], monkeypatch: pytest.MonkeyPatch
) -> None:
    rendering = make()
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "")
        broken.setattr(sys, "prefix", "/nowhere")
        broken.setattr(sys, "exec_prefix", "/nowhere")
        broken.setattr(sys, "base_exec_prefix", "/nowhere")
        assert rendering.render(Kind.GFM, "a") == (Outcome.CRASHED, b"")
    assert rendering.render(Kind.GFM, "a") == (Outcome.CRASHED, b"")
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + renderer.RETRY_SECONDS)
    assert rendering.render(Kind.GFM, "a") == GOOD


def test_a_renderer_that_is_closed_ends_what_runs_and_can_begin_again() -> None:
    rendering = Renderer(wait=0)
    assert rendering.render(Kind.GFM, ">" * 90_000) is None
    threads = threading.active_count()
    rendering.close()
    assert threading.active_count() < threads
    rendering.wait_seconds = 60
    assert rendering.render(Kind.GFM, "a") == GOOD
    rendering.close()


IDLE = """
import os, threading, time
from pypiserver.web.html.renderer_worker import Kind
from pypiserver.web.html.renderer import Renderer
renderer = Renderer(wait=60, idle=0.2)
assert renderer.render(Kind.GFM, "a")[1] == b"<p>a</p>\\n"
while threading.active_count() > 1:
    time.sleep(0.05)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("nothing is left")
assert renderer.render(Kind.GFM, "b")[1] == b"<p>b</p>\\n"
renderer.close()
"""
FORKED = """
import os
from pypiserver.web.html.renderer_worker import Kind
from pypiserver.web.html.renderer import Renderer
renderer = Renderer(wait=60)
assert renderer.render(Kind.GFM, "a")[1] == b"<p>a</p>\\n"
with renderer._queue.get()._changed:
    pid = os.fork()
    if pid == 0:
        assert renderer.render(Kind.GFM, "b")[1] == b"<p>b</p>\\n"
        renderer.close()
        os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert renderer.render(Kind.GFM, "c")[1] == b"<p>c</p>\\n"
print("both")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize(("program", "said"), [(IDLE, "nothing is left"), (FORKED, "both")], ids=["idle", "forked"])
def test_in_a_process_of_its_own(program: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == (said, 0), done.stderr
