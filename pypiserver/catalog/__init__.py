"""The catalog: what we know about storage, in SQL. It can be deleted at any time.

Reads give the values of :mod:`pypiserver.model`; writes are one transaction each, raise the serial by one and stamp
every project they touch with it.
"""

from .queries import ANY_ROW, REPLACED, Catalog, Digest, Found, Gone, Row

__all__ = ["ANY_ROW", "REPLACED", "Catalog", "Digest", "Found", "Gone", "Row"]
