"""The installed bottle under its name of 2.2 to 2.4."""

from __future__ import annotations

import bottle
from bottle import *  # noqa: F403 - as it was


def __getattr__(name: str) -> object:
    """What ``import *`` leaves out."""
    return getattr(bottle, name)
