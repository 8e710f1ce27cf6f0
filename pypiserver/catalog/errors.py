"""What a catalog raises when it fails, whichever database it is in."""

from __future__ import annotations

import sqlite3


class CatalogError(Exception):
    """A database other than SQLite failed; its words are those of the driver, which is the cause."""


class CatalogReplaced(CatalogError):
    """The catalog is no longer the one this process opened: deleted, replaced, or emptied in place."""


class CatalogIncomplete(CatalogError):
    """No scan of storage has come to its end in this catalog, so it cannot say what is not here."""


class CatalogInUse(CatalogError):
    """The file of the catalog holds something else, which may be in use; ``is_catalog`` says that it is a catalog."""

    def __init__(self, message: str, *, is_catalog: bool) -> None:
        super().__init__(message)
        self.is_catalog = is_catalog


FAILURES = (sqlite3.Error, CatalogError)
