"""Configuration that nobody named, found in the working directory: read only where no one else can have put it there.

``log.conf`` is code to Python's logging, and ``pypiserver.toml`` may name a welcome page, which is a template with code
in it. So whoever can write one decides what the server runs. The rules to keep: a file of another user than this one
and root, or that everybody may write, is not read; nor one in a folder that is served, which others fill.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path


def objection(file: Path, roots: Iterable[Path] = ()) -> str:
    """Why a file that was found is not to be trusted, as a part of a sentence; empty when it is."""
    here = Path(os.path.realpath(file))
    if any(here.is_relative_to(os.path.realpath(root)) for root in roots):
        return "it is in a folder that is served"
    if sys.platform == "win32":
        return ""
    for each in {file.lstat(), file.stat()}:
        if each.st_uid not in (0, os.geteuid()):
            return "it belongs to another user"
        if not stat.S_ISLNK(each.st_mode) and each.st_mode & stat.S_IWOTH:
            return "everybody may write it"
    # Where a sticky folder keeps others from replacing a file of this user, none else does.
    folder = file.parent.stat().st_mode
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
        return "everybody may replace it in its folder"
    return ""
