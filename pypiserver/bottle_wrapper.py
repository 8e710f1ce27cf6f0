"""The installed bottle, under its name in pypiserver 2.2 to 2.4."""

from __future__ import annotations

import bottle
from bottle import *  # noqa: F403 - as before


def __getattr__(name: str) -> object:
    """The names that ``import *`` leaves out."""
    return getattr(bottle, name)
