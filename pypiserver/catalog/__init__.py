"""The catalog: what the server knows about storage, in SQL.

**Invariants:** the catalog can be deleted at any time, and is built again from storage; a query gives values of
:mod:`pypiserver.model`; a write is one transaction, which raises the serial by one and stamps each project that it
changes with it; when the database fails, every method raises one of ``FAILURES``.
"""

from .changes import Catalog
from .errors import FAILURES, CatalogError, CatalogIncomplete, CatalogReplaced
from .rows import ANY_ROW, REPLACED, Digest, FileFault, Fingerprint, MissingFile, NameOwner, SeenFile

__all__ = [
    "ANY_ROW",
    "FAILURES",
    "REPLACED",
    "Catalog",
    "CatalogError",
    "CatalogIncomplete",
    "CatalogReplaced",
    "Digest",
    "FileFault",
    "Fingerprint",
    "MissingFile",
    "NameOwner",
    "SeenFile",
]
