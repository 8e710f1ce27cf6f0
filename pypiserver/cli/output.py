"""The output of a command: lines for people as things happen, or one JSON object for programs at the end.

**Invariants:** with ``--json`` standard output contains that object and nothing else, also after a failure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TextIO

from ..text import printable


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a file; ``done`` is false for one that was only planned.

    ``folder`` is where the packages are, ``path`` the file's path in it, also for a file in the trash.
    """

    action: str
    folder: str
    path: str
    done: bool = True


_LINES = {
    ("yank", True): "yanked {}",
    ("unyank", True): "no longer yanked {}",
    ("unyank", False): "was not yanked {}",
    ("trash", False): "would move to the trash: {}",
    ("trash", True): "moved to the trash {}",
    ("delete", False): "would delete: {}",
    ("delete", True): "deleted {}",
    ("claim", False): "{}",
    ("claim", True): "no other index is asked for {0}; to release the name: pypi-server unclaim {0}",
    ("unclaim", True): "other indexes may be asked for {}",
    ("restore", False): "{}",
    ("restore", True): "restored {}",
}


def count_of(number: int, what: str = "file") -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def write_json(report: Mapping[str, object], out: TextIO) -> None:
    """Write the report as one JSON object."""
    out.write(json.dumps(report, indent=2) + "\n")


def tell_changes(changes: Iterable[Change], out: TextIO, *, as_json: bool) -> int:
    """Carry out the changes, report each, and return their number; JSON includes those before a failure."""
    told: list[Change] = []
    try:
        for change in changes:
            told.append(change)
            if not as_json:
                out.write(_LINES[change.action, change.done].format(printable(change.path)) + "\n")
    finally:
        if as_json:
            write_json({"files": [asdict(change) for change in told]}, out)
    return len(told)
