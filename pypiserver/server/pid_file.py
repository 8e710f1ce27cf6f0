"""The file that says which process is the server, for who wants to send it a signal.

The rules to keep: it is written whole or not at all, and exists while the server runs; that of a server that runs is
never taken over, and one that a dead process left is; only the process that wrote it removes it, and only its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError

# The system tells when it was started in whole seconds, and the starts of processes from that.
CLOCK_SECONDS = 2.0


@contextlib.contextmanager
def pid_file(path: Path | None) -> Iterator[None]:
    """Keep the number of this process in ``path`` while the block runs; raises ConfigError when that cannot be."""
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
        # A worker that was forked from this process passes here too.
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
    """The number in the file; raises OSError, and ValueError when it holds something else."""
    with path.open("rb") as file:
        text = file.read(64).strip()
    if not text.isdigit() or len(text) > 10:
        raise ValueError("no number")
    return int(text)


def _has_written(pid: int, path: Path) -> bool:
    """Whether that process runs, and began before the file was written: numbers are given again."""
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
    """When a process began (seconds since the epoch); None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError, ValueError, IndexError):
        # proc(5): the 22nd field; the second one is a name in parentheses, which may have anything in it.
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        ticks = int(fields[19])
        for line in Path("/proc/stat").read_text("ascii").splitlines():
            if line.startswith("btime "):
                return int(line.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    return None


def _write(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        # Anybody may read it, as that of any other service.
        os.chmod(temporary, 0o644)  # noqa: PTH101
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
