"""The size of the cache of other indexes, for the metrics.

**Invariants:** nothing is opened before it is asked for; each process asks for itself, and not for each scrape.
"""

from __future__ import annotations

from collections.abc import Callable

from ..process import PerProcess
from ..settings.config import Config
from .backends import build_cache_store


def cache_bytes_of(config: Config) -> Callable[[], int]:
    """A function that gives the bytes of the cache as they were at most a minute ago; raises Unavailable."""

    def make() -> Callable[[], int]:
        from ..proxy.space import Space

        return Space(build_cache_store(config, is_serving=False), None).size

    size = PerProcess(make)
    return lambda: size.get()()
