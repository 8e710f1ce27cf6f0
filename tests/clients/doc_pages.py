"""What a page of the documentation shows: its literal blocks in order, and the notes to this reader between them.

A note is a comment of reStructuredText, so that readers of the page do not see it:

``.. not run: REASON; MORE``   the next block is shown only. REASON is one of NOT_RUN; a file MORE names must exist.
``.. file: PATH``              the next block is written there, for the commands that follow.
``.. run: COMMANDS``           run here as well: what the reader has by now, or what shows that a file is right.

Invariants: each block is of a kind in KINDS or has a note; a block that is run has no note that says it is not.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Why a block is not run.
NOT_RUN = (
    "no command",  # a picture, a line of a log, an answer
    "has its own test",
    "starts this test",
    "takes minutes",
    "needs root",
    "needs Docker",
    "needs Kubernetes",
    "needs Windows",
    "needs macOS",
    "needs a bucket",
    "needs PostgreSQL",
    "needs another machine",
    "needs a browser",
)
PROGRAMS = (
    *("pypi-server", "pip", "pipx", "uv", "uvx", "python", "python3", "gunicorn", "twine", "poetry", "pdm", "hatch"),
    *("mkdir", "cat", "cp", "cd", "sed", "head", "ls", "curl", "rsync", "export", "kill", "$"),
)
# The kind of a block by how it begins; the first that fits.
KINDS = {
    "synopsis": r"pypi-server.* \[",
    "shell": rf"(?:[A-Z_]+=\S* )*(?:[\w~./-]*/)?(?:{'|'.join(map(re.escape, PROGRAMS))})(?: |$)",
    "unit": r"\[Unit\]",
    "toml": r"\[\[|\[build-system\]|(?:#.*\n)?\w+ = [\[\"\d]",
    "ini": r"\[[\w:]+\]\n",
    "python": r"(?:import|from) \w",
    "nginx": r"(?:upstream|server|location|proxy_\w+)\b",
    "apache": r"<(?:Location|Directory)|(?:WSGI|Cache|XSend)\w+ ",
    "plist": r"<\?xml",
    "yaml": r"(?:#.*\n)?\w+:(?:\n| \{)",
    "netrc": r"machine ",
}


@dataclass(frozen=True, slots=True)
class Block:
    """One literal block, or the commands of a ``run`` note, with the line where it begins."""

    line: int
    text: str
    kind: str = ""
    file: str = ""
    not_run: str = ""


NOTE = re.compile(r"( *)\.\. (not run|file|run): *(.*)")


def kind_of(text: str) -> str:
    """How the block is checked; empty when nothing tells."""
    begin = re.sub(r"\A(?:#[^\n]*\n)+(?=[^\n\[])", "", text) if text.startswith("# ") else text
    for kind, pattern in KINDS.items():
        if re.match(pattern, text) or re.match(pattern, begin):
            return kind
    return ""


def blocks(text: str) -> Iterator[Block]:
    """The blocks and ``run`` notes of a page, in order."""
    lines = text.splitlines()
    notes: dict[str, str] = {}
    at = 0
    while at < len(lines):
        line, opened = lines[at], at
        at += 1
        note = NOTE.fullmatch(line)
        if note:
            body, at = _indented(lines, at, len(note[1]))
            said = "\n".join(filter(None, (note[3], body)))
            if note[2] == "run":
                yield Block(opened + 1, said, "run")
            else:
                notes[note[2]] = said
        elif line.endswith("::") and not line.lstrip().startswith(".. "):
            # In an item of a list, what belongs to the item is as deep as its text.
            item = re.match(r" *(?:[*-] +|[0-9]+\. +)?", line)
            body, at = _indented(lines, at, len(item[0]) if item else 0)
            if not body:
                # What belongs to an item's text may be no deeper than it.
                body, at = _indented(lines, at, len(line) - len(line.lstrip()))
            yield Block(opened + 1, body, kind_of(body), notes.pop("file", ""), notes.pop("not run", ""))
    assert not notes, f"notes without a block: {notes}"


def _indented(lines: list[str], at: int, outer: int) -> tuple[str, int]:
    """The lines from ``at`` that are deeper than ``outer``, without their margin, and where the next one is."""
    begin = at
    while at < len(lines) and (not lines[at].strip() or len(lines[at]) - len(lines[at].lstrip()) > outer):
        at += 1
    return textwrap.dedent("\n".join(lines[begin:at])).strip("\n"), at


def fault(block: Block, repository: Path) -> str:
    """What is wrong with how a block is marked; empty when nothing is."""
    if block.not_run:
        reason, _, more = block.not_run.partition(";")
        missing = [name for name in re.findall(r"tests/[\w/.]+", more) if not (repository / name).exists()]
        if reason not in NOT_RUN:
            return f"{reason!r} is no reason to be left out"
        return f"there is no {missing[0]}" if missing else ""
    if not block.kind and not block.file:
        return f"nothing tells how to check it: {block.text[:60]!r}"
    if block.kind in {"toml", "ini", "netrc"} and not block.file:
        return f"a file without its path: {block.text[:60]!r}"
    return ""
