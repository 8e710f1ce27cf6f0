"""The catalog: what we know about storage, in SQL. It can be deleted at any time.

Reads give the values of :mod:`pypiserver.model`; writes are one transaction each, raise the serial by one and stamp
every project they touch with it. When the database fails, every method raises one of ``FAILURES``.
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
