"""What a command says: lines for people as things happen, or one JSON object for programs at the end.

The rule to keep: with ``--json`` standard output holds that object and nothing else, also after a failure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TextIO

from ..text import printable


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to a file, or would be (``done``).

    ``folder`` is where the packages are, ``path`` that of the file in it, also of one in the trash.
    """

    action: str
    folder: str
    path: str
    done: bool = True


_LINES = {
    ("yank", True): "yanked {}",
    ("unyank", True): "no longer yanked {}",
    ("trash", False): "would move to the trash: {}",
    ("trash", True): "moved to the trash {}",
    ("delete", False): "would delete: {}",
    ("delete", True): "deleted {}",
    ("restore", False): "{}",
    ("restore", True): "restored {}",
}


def write_json(report: Mapping[str, object], out: TextIO) -> None:
    """Write the report as one JSON object."""
    out.write(json.dumps(report, indent=2) + "\n")


def tell_changes(changes: Iterable[Change], out: TextIO, *, as_json: bool) -> None:
    """Let the changes happen, and say each of them; in JSON also those before a failure."""
    told: list[Change] = []
    try:
        for change in changes:
            told.append(change)
            if not as_json:
                out.write(_LINES[change.action, change.done].format(printable(change.path)) + "\n")
    finally:
        if as_json:
            write_json({"files": [asdict(change) for change in told]}, out)
