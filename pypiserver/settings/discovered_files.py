"""Whether to trust a configuration file that was found in the working directory and not named.

``log.conf`` is code to Python's logging, and ``pypiserver.toml`` may name a welcome page, which is a template with code
in it: a user who can write either file decides what the server runs. **Invariants:** a file is read only if it belongs
to this user or root, is not writable by everyone, and is not in a served folder.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path


def objection(file: Path, roots: Iterable[Path] = ()) -> str:
    """Why not to trust ``file``, as a part of a sentence; empty when it can be trusted. Raises OSError."""
    here = Path(os.path.realpath(file))
    if any(here.is_relative_to(os.path.realpath(root)) for root in roots):
        return "it is in a served folder"
    if sys.platform == "win32":
        return ""
    for each in {file.lstat(), file.stat()}:
        if each.st_uid not in (0, os.geteuid()):
            return "it belongs to another user"
        if not stat.S_ISLNK(each.st_mode) and each.st_mode & stat.S_IWOTH:
            return "everyone may write to it"
    # A sticky folder keeps other users from replacing a file.
    folder = file.parent.stat().st_mode
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
        return "everyone may replace it in its folder"
    return ""
