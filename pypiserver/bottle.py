"""The installed bottle under the name it had when it came with us: ``from pypiserver.bottle import run``."""

from __future__ import annotations

import sys

import bottle

sys.modules[__name__] = bottle
