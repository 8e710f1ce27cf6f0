"""Claims on names in a bucket: the objects ``status/<project>``, and what the catalog knows of them.

**Invariants:** the catalog has a claim before the row of the last file goes, so a request that finds no row finds the
claim, and sends no request to the bucket.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from packaging.utils import NormalizedName

from ..backend.claims import claim_in, is_private, text_of_claim
from ..catalog.queries import PRIVATE
from ..catalog.recovery import RecoveringCatalog
from ..distributions.filename import normalize
from ..errors import NotFound
from ..model import ACTIVE, ProjectStatus
from .catalog import BucketCatalog
from .storage import STATUSES, Bucket


class BucketClaims:
    """The claims in ``bucket``, whose rows are in ``catalog``."""

    def __init__(self, bucket: Bucket, queries: RecoveringCatalog, catalog: BucketCatalog) -> None:
        self._objects = bucket.objects
        self._statuses = bucket.statuses
        self._query = queries.query
        self._catalog = catalog
        self._lock = threading.Lock()

    def find(self, project: NormalizedName) -> str:
        """Why the name is ours, as the catalog knows it."""
        return self._query(lambda: self._catalog.claim_of(project))

    def all(self) -> dict[NormalizedName, str]:
        """The reason of every claim made for a deleted project."""
        return {normalize(name): claim_in(text) for name, text in self._statuses().items() if is_private(text)}

    def claim(self, project: NormalizedName, reason: str, *, root: int = 0) -> bool:
        """Write the object, and then the row."""
        try:
            text = self._objects.get(STATUSES + project).decode("utf-8", "replace")
        except NotFound:
            text = ""
        if not claim_in(text):
            self._objects.put(STATUSES + project, text_of_claim(reason))
            self._note(project, ProjectStatus(PRIVATE, reason))
        return not claim_in(text)

    def release(self, project: NormalizedName) -> bool:
        """Delete the object, in any spelling of the name, and then update the row."""
        found = [name for name, text in self._statuses().items() if normalize(name) == project and is_private(text)]
        if found:
            self._objects.delete([STATUSES + name for name in found])
            self._note(project, ACTIVE)
        return bool(found)

    def deleting(self, project: NormalizedName) -> AbstractContextManager[object]:
        """Lock deletions in this process; :func:`backend.claims.claiming` looks again after them."""
        return self._lock

    def _note(self, project: NormalizedName, status: ProjectStatus) -> None:
        self._query(lambda: self._catalog.apply([], [], statuses={project: status}))
