"""Who is told of each request: access log, metrics and statistics, as settings ask for.

**Invariants:** what is off is not built.
"""

from __future__ import annotations

from collections.abc import Iterator

from .._version import __version__
from ..backend.backend import Backend
from ..observability.access_log import AccessLog
from ..observability.download_statistics import Downloads
from ..observability.metrics import Metrics, State
from ..observability.request_events import Observer
from ..settings.config import Config, default_of


def line_format(config: Config, name: str) -> str:
    """A format of lines about requests; empty if it is the default and the access log has a line for each request."""
    chosen = str(getattr(config, name))
    is_usual = chosen == default_of(name)
    return "" if is_usual and config.access_log and AccessLog.is_wanted() else chosen


def build_observers(config: Config, metrics: Metrics | None, stats: Downloads | None) -> Iterator[Observer]:
    """The observers of every request."""
    if config.access_log and AccessLog.is_wanted():
        yield AccessLog()
    if metrics is not None:
        yield metrics
    if stats is not None:
        yield stats


def build_metrics(config: Config, backend: Backend) -> Metrics | None:
    """Counts requests, and asks the catalog for the state of the index: only what it already knows; starts nothing."""
    if not config.counts_metrics:
        return None
    catalog, indexer = backend.catalog, backend.indexer
    cache_bytes = None
    if config.mode == "cache":
        from .cache_size import cache_bytes_of

        cache_bytes = cache_bytes_of(config)
    return Metrics(
        lambda: State(*catalog.counts(), catalog.serial(), indexer.last_scan()), __version__, cache_bytes=cache_bytes
    )
