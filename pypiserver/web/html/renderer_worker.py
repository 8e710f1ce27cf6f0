"""The program that renders descriptions: a fork server in a separate process, which the server starts with -I -c.

A description is untrusted text, and rendering it may take any time and memory, or crash. **Invariants:** each one is
rendered in its own fork of this process, with limits, so that descriptions cannot affect each other; before the fork
only libraries are loaded; an answer is a frame with a known outcome and at most ``MAX_HTML`` bytes; this process ends
with its standard input. It imports only the sanitizer from pypiserver, and readme_renderer at the first job.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import struct
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import NoReturn

from . import sanitizer

# Limits for each description. The interpreter and its libraries take 45 MiB of the memory.
MEMORY_BYTES = 256 << 20
CPU_SECONDS = 2
WALL_SECONDS = 10
MAX_FILES = 32
MAX_TEXT = 400_000
MAX_HTML = 1 << 20
# No request for this time, though the pipe is open: a fork of the server holds it, and the server has ended.
IDLE_SECONDS = 300
# A kind or an outcome, and how many bytes follow.
FRAME = struct.Struct(">BI")


class Kind(IntEnum):
    """The markup of a description."""

    RST = 0
    GFM = 1
    COMMONMARK = 2


class Outcome(IntEnum):
    """The result of rendering a description: HTML, or the reason for none."""

    HTML = 0
    INVALID = 1
    TOO_LONG = 2
    TOO_SLOW = 3
    TOO_MUCH_MEMORY = 4
    TOO_LARGE = 5
    TOO_DEEP = 6
    # Not the description's fault; a retry may succeed.
    MISSING = 16
    STALLED = 17
    CRASHED = 18


Answer = tuple[Outcome, bytes]
# Makes docutils, the Markdown parsers and Pygments load what they load at first use.
_WARM_UP = {
    Kind.RST: "A\n=\n\n*a* `b <https://c.example>`_\n\n.. code:: python\n\n   d = 1\n",
    Kind.GFM: "# A\n\n*a* [b](https://c.example)\n\n```python\nd = 1\n```\n",
    Kind.COMMONMARK: "# A\n",
}


def main() -> None:
    """Answer jobs from standard input until it ends."""
    out = os.dup(1)
    # Output that a library prints must not get into a frame.
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    _limit_process()
    while _is_asked() and (head := _read(0, FRAME.size)):
        number, length = FRAME.unpack(head)
        text = _read(0, length) if length <= MAX_TEXT else b""
        if len(text) != length:
            return
        outcome, html = _isolated(Kind(number), text.decode("utf-8"))
        _write(out, FRAME.pack(outcome, len(html)) + html)


def _is_asked() -> bool:
    # Windows cannot wait for a pipe.
    return sys.platform == "win32" or bool(select.select([0], [], [], IDLE_SECONDS)[0])


def _isolated(kind: Kind, text: str) -> Answer:
    """The outcome from a fork of this process, or from this process itself if it cannot fork."""
    try:
        _prepare(kind)
    except ImportError:
        return Outcome.MISSING, b""
    if sys.platform == "win32":
        return _rendered(kind, text)
    reader, writer = os.pipe()
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        _render_and_exit(writer, kind, text)
    os.close(writer)
    data = _collected(reader)
    os.close(reader)
    if data is None:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if data is None:
        raise SystemExit
    return _judged(status, data)


def _render_and_exit(writer: int, kind: Kind, text: str) -> NoReturn:
    status = 1
    try:
        # The server must see this process's parent end, so nothing here holds its pipes open.
        os.close(0)
        os.closerange(3, writer)
        os.closerange(writer + 1, MAX_FILES)
        _limit_job()
        outcome, html = _rendered(kind, text)
        _write(writer, bytes([outcome]) + html)
        status = 0
    finally:
        os._exit(status)


def _collected(reader: int) -> bytes | None:
    """The output of a fork, up to the limit; None if the server has ended."""
    data = bytearray()
    while len(data) <= MAX_HTML + 1:
        if 0 in select.select([0, reader], [], [])[0]:
            return None
        block = os.read(reader, 1 << 16)
        if not block:
            break
        data += block
    return bytes(data)


def _judged(status: int, data: bytes) -> Answer:
    """The outcome that the exit status of a fork means."""
    if os.WIFSIGNALED(status):
        return _SIGNALS.get(os.WTERMSIG(status), Outcome.INVALID), b""
    if os.WEXITSTATUS(status) or not data or data[0] not in list(Outcome):
        return Outcome.INVALID, b""
    if len(data) > MAX_HTML + 1:
        return Outcome.TOO_LARGE, b""
    return Outcome(data[0]), data[1:]


# Libraries written in Rust abort when memory runs out; the kernel sends SIGKILL for lack of memory.
_SIGNALS: dict[int, Outcome] = (
    {}
    if sys.platform == "win32"
    else {
        signal.SIGXCPU: Outcome.TOO_SLOW,
        signal.SIGALRM: Outcome.STALLED,
        signal.SIGABRT: Outcome.TOO_MUCH_MEMORY,
        signal.SIGKILL: Outcome.TOO_MUCH_MEMORY,
    }
)


def _rendered(kind: Kind, text: str) -> Answer:
    try:
        html = _renderer(kind)(text)
        if html is None:
            return Outcome.INVALID, b""
        # The sanitizer removes images and classes, never the larger part.
        data = sanitizer.rewritten(html).encode("utf-8", "replace") if len(html) <= 4 * MAX_HTML else b""
    except MemoryError:
        return Outcome.TOO_MUCH_MEMORY, b""
    except (RecursionError, sanitizer.TooDeepError):
        return Outcome.TOO_DEEP, b""
    except Exception:  # noqa: BLE001 - docutils raises any exception for unusual text, which then stays plain text
        return Outcome.INVALID, b""
    if len(html) > 4 * MAX_HTML or len(data) > MAX_HTML:
        return Outcome.TOO_LARGE, b""
    return Outcome.HTML, data


def _renderer(kind: Kind) -> Callable[[str], str | None]:
    """The function that renders and sanitizes this kind as PyPI does; raises ImportError if it is not installed."""
    from readme_renderer import markdown, rst

    if kind is Kind.RST:
        render_rst: Callable[[str], str | None] = rst.render
        return render_rst
    if not markdown.variants:
        raise ImportError("readme_renderer was installed without its extra [md]")
    variant = "GFM" if kind is Kind.GFM else "CommonMark"
    return lambda text: markdown.render(text, variant=variant)


_prepared: set[Kind] = set()


def _prepare(kind: Kind) -> None:
    """Load the libraries for this kind, once for all forks."""
    if kind not in _prepared:
        _renderer(kind)(_WARM_UP[kind])
        _prepared.add(kind)


def _limit_process() -> None:
    """Set the limits of this process and its forks, as far as the system supports them."""
    # When the machine runs out of memory, the kernel should end this process first.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")
    _set_limits(
        RLIMIT_AS=max(MEMORY_BYTES, _address_space() + MEMORY_BYTES // 2),
        RLIMIT_CORE=0,
        RLIMIT_FSIZE=0,
        RLIMIT_NOFILE=MAX_FILES,
    )


def _limit_job() -> None:
    """Set the limits of one description; the kernel ends the fork that exceeds them."""
    if sys.platform != "win32":
        for number in (signal.SIGXCPU, signal.SIGALRM, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        signal.alarm(WALL_SECONDS)
        with contextlib.suppress(OSError):
            os.nice(5)
    _set_limits(RLIMIT_CPU=CPU_SECONDS, RLIMIT_NPROC=0)


def _set_limits(**limits: int) -> None:
    """Lower limits, by their names in :mod:`resource`; raises OSError and ValueError where Linux refuses one."""
    try:
        import resource
    except ImportError:
        return
    for name, limit in limits.items():
        try:
            number = getattr(resource, name)
            soft, hard = (sys.maxsize if each < 0 else each for each in resource.getrlimit(number))
            # SIGXCPU, which names the exceeded limit, comes before SIGKILL.
            hard = min(hard, limit + 1 if name == "RLIMIT_CPU" else limit)
            resource.setrlimit(number, (min(soft, limit, hard), hard))
        except (AttributeError, ValueError, OSError):
            # Other systems lack some of them, or do not accept a smaller one.
            if sys.platform == "linux":
                raise


def _address_space() -> int:
    """Bytes of this process's address space, 0 if the system does not report it."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _read(descriptor: int, length: int) -> bytes:
    """Exactly ``size`` bytes, fewer only at the end of the input."""
    data = bytearray()
    while len(data) < length and (block := os.read(descriptor, length - len(data))):
        data += block
    return bytes(data)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
