"""What the client of the current request may see in lists.

**Invariants:** handlers that list ask for it once in each request, so a page is made from one table of rights.
"""

from __future__ import annotations

from collections.abc import Callable

import bottle

from ... import request_info
from ...access.guard import Access
from ...access.principal import ANONYMOUS
from ...catalog.name_filter import EVERYTHING, NameFilter

VisibleNames = Callable[[], NameFilter]


def everything() -> NameFilter:
    """The filter where every client that may list sees every project."""
    return EVERYTHING


def visible_to(access: Access) -> VisibleNames:
    """What the principal of the current request may see; everything where rights do not depend on the project."""
    if not access.is_by_name:
        return everything
    return lambda: access.visible(bottle.request.environ.get(request_info.PRINCIPAL, ANONYMOUS))
