"""What a disk holds after a power cut at any moment, replayed from the system calls of a real server (P1, P5).

A real power cut needs a device mapper, which takes privileges over the machine. This model is as mean as a disk may be:
what was not synced is lost, bytes and names each for themselves, and names may also be kept whose bytes are lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CALLS = "openat,write,pwrite64,writev,fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink,unlinkat,sendto"
_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>\d+)(?:<(?P<opened>[^>]*)>)?")
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class Inode:
    """How many bytes a file has, and how many of them are on the disk."""

    size: int = 0
    synced: int = 0

    def is_whole(self) -> bool:
        return self.size == self.synced


@dataclass
class Disk:
    """The names below ``root``, as processes see them and as the disk has them."""

    root: Path
    names: dict[str, Inode] = field(default_factory=dict)
    kept: dict[str, Inode] = field(default_factory=dict)
    # Files without a name, by what strace calls them: '#' and the number of the inode.
    unnamed: dict[str, Inode] = field(default_factory=dict)

    def apply(self, call: str, arguments: str, result: int) -> None:
        """What a call that succeeded did; anything but the calls about files below the root does nothing."""
        paths = [self._below(path) for path in _QUOTED.findall(arguments) if self._is_below(path)]
        described = _DESCRIPTOR.match(arguments)
        here = described[1].removesuffix(" (deleted)") if described else ""
        if call in ("write", "pwrite64", "writev") and self._is_below(here):
            self._inode(here).size += result
        elif call in ("fsync", "fdatasync"):
            self._sync(here)
        elif call == "openat" and "O_CREAT" in arguments and paths:
            self.names.setdefault(paths[-1], Inode())
        elif call == "linkat" and self._below(here) in self.unnamed and paths:
            self.names[paths[-1]] = self.unnamed.pop(self._below(here))
        elif call.startswith("link") and len(paths) == 2:
            self.names[paths[1]] = self.names[paths[0]]
        elif call.startswith("rename") and len(paths) == 2:
            self.names[paths[1]] = self.names.pop(paths[0])
        elif call.startswith("unlink") and paths:
            self.names.pop(paths[-1], None)

    def visible(self) -> Iterator[tuple[str, Inode]]:
        """The names that a server would show after the cut: those on the disk, and those that may have got there."""
        for names in (self.kept, self.names):
            yield from ((name, inode) for name, inode in names.items() if not name.startswith("."))

    def _sync(self, path: str) -> None:
        if Path(path) == self.root:
            self.kept = dict(self.names)
        elif self._is_below(path):
            inode = self._inode(path)
            inode.synced = inode.size

    def _inode(self, path: str) -> Inode:
        name = self._below(path)
        if name.startswith("#"):
            return self.unnamed.setdefault(name, Inode())
        # A file that has lost its hidden name is known by the name it had.
        return self.names.get(name) or Inode()

    def _is_below(self, path: str) -> bool:
        return path.startswith(f"{self.root}/")

    def _below(self, path: str) -> str:
        return path[len(str(self.root)) + 1 :]


def calls_of(trace: str) -> Iterator[tuple[str, str, int]]:
    """(name, arguments, result) of each call of a trace of ``strace -f -y`` that succeeded, in the order they ended."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        pid, rest = match["pid"], match["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            continue
        if resumed := _RESUMED.fullmatch(rest):
            rest = begun.pop(pid, "") + resumed[1]
        if call := _CALL.match(rest):
            yield call["name"], call["arguments"], int(call["result"])


def is_answer(call: str, arguments: str) -> bool:
    """Whether a call sends the beginning of an answer to a client."""
    return (
        call in ("sendto", "write", "writev")
        and re.match(r'\d+<[^>]*>, (\[\{iov_base=)?"HTTP/1\.1 ', arguments) is not None
    )


def last_answers(calls: Sequence[tuple[str, str, int]], number: int) -> list[int]:
    """Where the last ``number`` answers were sent."""
    return [at for at, (name, arguments, _) in enumerate(calls) if is_answer(name, arguments)][-number:]
