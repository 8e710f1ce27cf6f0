"""What a catalog raises when it fails, whichever database it is in."""

from __future__ import annotations

import sqlite3


class CatalogError(Exception):
    """A database other than SQLite failed; its words are those of the driver, which is the cause."""


FAILURES = (sqlite3.Error, CatalogError)
