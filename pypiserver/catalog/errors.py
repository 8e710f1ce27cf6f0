"""The exceptions of a catalog that fails, for every database."""

from __future__ import annotations

import sqlite3


class CatalogError(Exception):
    """A database failed; for other databases than SQLite, the message and the cause are the driver's error."""


class CatalogReplaced(CatalogError):
    """The catalog is no longer the one that this process opened: it was deleted, replaced, or emptied in place."""


class CatalogIncomplete(CatalogError):
    """No scan of storage has completed in this catalog, so that it cannot tell what is absent."""


class CatalogInUse(CatalogError):
    """The catalog's file contains something else, which may be in use; ``is_catalog`` says whether it is a catalog."""

    def __init__(self, message: str, *, is_catalog: bool) -> None:
        super().__init__(message)
        self.is_catalog = is_catalog


FAILURES = (sqlite3.Error, CatalogError)
