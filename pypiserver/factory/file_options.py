"""How files of other indexes are sent, as settings say it.

**Invariants:** a value; it imports nothing of what asks other indexes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..backend.cache_store import SignStored
    from ..web.api.offload import Deliver


@dataclass(frozen=True, slots=True)
class FileOptions:
    """The options of :class:`..web.api.proxied_files.ProxiedFiles`.

    ``deliver`` gives the way in which files of a bucket are sent, where the cache is one.
    """

    cache_control: str
    private_files: bool
    accel: Callable[[str], tuple[str, str] | None] | None
    accel_above: int
    deliver: Callable[[SignStored | None], Deliver] | None = None
