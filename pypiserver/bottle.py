"""The installed bottle, under the name of the copy in earlier versions: ``from pypiserver.bottle import run``."""

from __future__ import annotations

import sys

import bottle

sys.modules[__name__] = bottle
