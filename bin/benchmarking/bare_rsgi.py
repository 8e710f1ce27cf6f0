"""An application for granian's RSGI that does nothing but return bytes it was given: the limit of its event loop.

Run as ``python -m granian --interface rsgi benchmarking.bare_rsgi:application``, with the folder that
``targets.copy_answers`` made in the environment as ``BARE_ANSWERS``. A file is sent by granian itself.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_Row = tuple[list[tuple[str, str]], str, str, bytes]


def _rows() -> dict[tuple[str, str], _Row]:
    """Headers, validator, path of a file that is opened for each answer, and bytes; by path and Accept."""
    found: dict[tuple[str, str], _Row] = {}
    for row in json.loads((Path(os.environ["BARE_ANSWERS"]) / "table.json").read_text()):
        opened = row["file"] if row["open"] else ""
        body = b"" if opened else Path(row["file"]).read_bytes()
        found[row["path"], row["accept"]] = (list(row["headers"].items()), row["headers"]["etag"], opened, body)
    return found


_ROWS = _rows()


async def application(scope: Any, protocol: Any) -> None:
    """Answer one request."""
    path, get = scope.path, scope.headers.get
    row = _ROWS.get((path, get("accept") or "")) or _ROWS.get((path, ""))
    if row is None:
        protocol.response_str(404, [], "")
        return
    headers, etag, opened, body = row
    if get("if-none-match") == etag:
        protocol.response_bytes(304, [("ETag", etag)], b"")
    elif opened:
        protocol.response_file(200, headers, opened)
    else:
        protocol.response_bytes(200, headers, body)
