"""Colors on a terminal.

**Invariants:** other streams get none; ``NO_COLOR`` (any value but an empty one) and ``TERM=dumb`` switch colors off,
``FORCE_COLOR`` on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_RESET = "\033[0m"
_COLOR = re.compile(r"\033\[[0-9]+m")


def is_terminal(stream: TextIO) -> bool:
    """Whether a user reads the stream on a terminal, with colors or without."""
    try:
        return stream.isatty()
    except (AttributeError, OSError, ValueError):  # a stream that is closed, or no file at all
        return False


def has_color(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether text for the stream may have colors."""
    variables = os.environ if environ is None else environ
    if variables.get("NO_COLOR"):
        return False
    if variables.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and variables.get("TERM") != "dumb" and os.name != "nt"


def colored(text: str, color: str) -> str:
    """The text in a color: bold, dim, red, green, yellow or cyan."""
    return f"\033[{_CODES[color]}m{text}{_RESET}"


def uncolored(text: str) -> str:
    """The text without the colors that ``colored`` gave it."""
    return _COLOR.sub("", text)
