"""The file with the process id of the server, for users and tools that send it a signal.

**Invariants:** the file is written whole or not at all, and exists while the server runs; the file of a running server
is never overwritten, the one of a dead process is; a process removes only the file that it wrote itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError

# The system tells its boot time in whole seconds, and the start of a process relative to that.
CLOCK_SECONDS = 2.0


@contextlib.contextmanager
def pid_file(path: Path | None) -> Iterator[None]:
    """Keep the id of this process in ``path`` while the block runs; raises ConfigError if it cannot be written."""
    if path is None:
        yield
        return
    _refuse_another(path)
    mine = os.getpid()
    try:
        _write(path, f"{mine}\n")
    except OSError as error:
        raise ConfigError(
            f"The PID file {path} cannot be written ({error.strerror or error}); name a file in a folder this user "
            "may write to with --pid-file.",
            kind="unwritable",
            setting="pid_file",
            value=path,
        ) from error
    try:
        yield
    finally:
        # A worker forked from this process runs this code too.
        if os.getpid() == mine:
            with contextlib.suppress(OSError):
                if _read(path) == mine:
                    path.unlink()


def _refuse_another(path: Path) -> None:
    try:
        there = _read(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no process number"
        raise ConfigError(
            f"The PID file {path} is there and cannot be used ({why}); delete it, or name another one with --pid-file.",
            kind="unusable",
            setting="pid_file",
            value=path,
        ) from error
    if there != os.getpid() and _has_written(there, path):
        raise ConfigError(
            f"A server with the PID file {path} runs already, as process {there}; end that one, or name another file "
            "with --pid-file.",
            kind="running",
            setting="pid_file",
            value=path,
        )


def _read(path: Path) -> int:
    """The number in the file; raises OSError, and ValueError if the file holds something else."""
    with path.open("rb") as file:
        text = file.read(64).strip()
    if not text.isdigit() or len(text) > 10:
        raise ValueError("no number")
    return int(text)


def _has_written(pid: int, path: Path) -> bool:
    """Whether that process runs, and started before the file was written: process ids are reused."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except OSError:
        return False
    except OverflowError:
        return False
    began = _began(pid)
    return began is None or began <= path.stat().st_mtime + CLOCK_SECONDS


def _began(pid: int) -> float | None:
    """The start time of a process (seconds since the epoch); None if the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError, ValueError, IndexError):
        # proc(5): the 22nd field; the second field is a name in parentheses, which may contain anything.
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        ticks = int(fields[19])
        for line in Path("/proc/stat").read_text("ascii").splitlines():
            if line.startswith("btime "):
                return int(line.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    return None


def _write(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        # Every user may read it, like that of any other service.
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
