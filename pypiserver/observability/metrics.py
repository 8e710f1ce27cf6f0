"""Metrics in Prometheus' text format: counts of requests and answers, the state of the index, and a separate listener.

**Invariants:** every label has few values (a route is the rule of the table, never a path); the counts of workers are
added up in the files of Prometheus' own multi-process mode if ``PROMETHEUS_MULTIPROC_DIR`` names a folder for them; any
worker reads the state of the index from the catalog when it is scraped; the listener disconnects a silent client.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TextIO

from ..catalog import FAILURES
from ..errors import ConfigError, PypiServerError, Unavailable
from ..server.contract import first_address, refusals
from ..supervisor import say
from .request_events import RequestEvent, exchange, exchanged_again

_LOG = logging.getLogger(__name__)
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
METHODS = ("GET", "HEAD", "POST")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PREFIX = "pypiserver_"
TRIES = 50
BACKLOG = 128

# name without the prefix: what it counts, and its labels.
COUNTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "requests": ("Requests that were answered.", ("route", "method", "status")),
    "response_bytes": ("Bytes of answers' bodies that were sent.", ("route",)),
    "page_cache_requests": ("Requests for a page by whether it was ready in the cache.", ("result",)),
    "auth_failures": ("Requests whose user name or password was refused.", ()),
    "proxy_requests": (
        "Requests for pages and files of other indexes, by index, and whether they were in the cache.",
        ("index", "result"),
    ),
    "proxy_response_bytes": (
        "Bytes of answers' bodies that are of other indexes, by index, and whether they were in the cache.",
        ("index", "result"),
    ),
    "proxy_fetches": ("Requests to other indexes, by how they ended.", ("index", "result")),
    "proxy_fetched_bytes": ("Bytes that other indexes sent.", ("index",)),
    "proxy_wrong_files": ("Files of other indexes that were not what their page says.", ("index",)),
    "changes": ("Files that were uploaded, deleted, yanked and unyanked by requests.", ("action",)),
}
TIMED = ("request_seconds", "How long answers took until their last byte was handed to the server.", ("route",))
# name: what it says. An index that cannot tell leaves it out.
STATES = {
    "files": "Files that are listed.",
    "projects": "Projects that are listed.",
    "catalog_serial": "The number of the catalog's last change.",
    "scan_seconds": "How long the last scan of the folders took.",
    "scan_age_seconds": "Seconds since the last scan of the folders began.",
    "proxy_cache_bytes": "Bytes of the cache of other indexes.",
}
INFO = ("build", "The version of pypiserver.")


class State(NamedTuple):
    """The state of the index; ``scan`` is the last scan's begin (seconds since the epoch) and duration (seconds)."""

    files: int
    projects: int
    serial: int
    scan: tuple[float, float] | None


class Metrics:
    """Counts requests, and writes the counts; raises ConfigError without prometheus_client.

    ``state`` returns the state of the index, ``clock`` seconds since the epoch, ``cache_bytes`` the size of the cache
    of other indexes; it is None where there is none.
    """

    def __init__(
        self,
        state: Callable[[], State],
        version: str,
        *,
        clock: Callable[[], float] = time.time,
        cache_bytes: Callable[[], int] | None = None,
    ) -> None:
        try:
            import prometheus_client as prometheus
            from prometheus_client import multiprocess
        except ImportError as error:
            raise ConfigError(
                "Metrics need prometheus_client; install pypiserver[metrics], or leave --metrics out.",
                kind="not-installed",
                setting="metrics",
            ) from error
        self._prometheus: Any = prometheus
        self._state = state
        self._version = version
        self._clock = clock
        self._cache_bytes = cache_bytes
        self._registry = prometheus.CollectorRegistry()
        own: Any = self._registry
        if os.environ.get(FOLDER):
            own = prometheus.CollectorRegistry()
            multiprocess.MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
        self._counted = {
            name: prometheus.Counter(PREFIX + name, text, labels, registry=own)
            for name, (text, labels) in COUNTED.items()
        }
        name, text, labels = TIMED
        self._timed = prometheus.Histogram(PREFIX + name, text, labels, registry=own, buckets=BUCKETS)
        self._registry.register(_States(self._states))
        self.content_type: str = prometheus.exposition.CONTENT_TYPE_LATEST

    note = staticmethod(exchange)
    again = staticmethod(exchanged_again)

    def observe(self, exchanges: Sequence[RequestEvent]) -> None:
        """Count these requests."""
        counted = self._counted
        for each in exchanges:
            route = route_label(each.route)
            method = each.method if each.method in METHODS else "other"
            counted["requests"].labels(route, method, str(each.status)).inc()
            counted["response_bytes"].labels(route).inc(each.sent)
            self._timed.labels(route).observe(each.seconds)
            if each.page:
                counted["page_cache_requests"].labels(each.page).inc()
            if each.elsewhere:
                counted["proxy_requests"].labels(*each.elsewhere).inc()
                counted["proxy_response_bytes"].labels(*each.elsewhere).inc(each.sent)
            if each.change:
                counted["changes"].labels(each.change).inc()
            if each.status == 401 and each.has_credentials:
                counted["auth_failures"].inc()

    def note_fetch(self, index: str, result: str, received: int) -> None:
        """Count a request to another index."""
        self._counted["proxy_fetches"].labels(index, result).inc()
        self._counted["proxy_fetched_bytes"].labels(index).inc(received)

    def note_wrong_file(self, index: str) -> None:
        """Count a file of another index that is not given out, because it is not what its page says."""
        self._counted["proxy_wrong_files"].labels(index).inc()

    def close(self) -> None:
        """Do nothing: no count is held back."""

    def exposition(self) -> bytes:
        """All metrics as text; raises Unavailable if the files of other workers cannot be read."""
        text: bytes = self._prometheus.generate_latest(self)
        return text

    def collect(self) -> list[Any]:
        """All metrics as families of prometheus_client; raises Unavailable like :meth:`exposition`."""
        for _ in range(TRIES):
            # Another worker may be creating its file, which is empty for a moment.
            with contextlib.suppress(struct.error, RuntimeError, OSError):
                return list(self._registry.collect())
            time.sleep(0.01)
        raise Unavailable(f"The metrics of other workers cannot be read in {os.environ.get(FOLDER)}.")

    def _states(self) -> Iterator[Any]:
        from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily

        yield InfoMetricFamily(PREFIX + INFO[0], INFO[1], {"version": self._version})
        values: dict[str, float] = {}
        with contextlib.suppress(*FAILURES):
            state = self._state()
            values = {"files": state.files, "projects": state.projects, "catalog_serial": state.serial}
            if state.scan is not None:
                began, values["scan_seconds"] = state.scan
                values["scan_age_seconds"] = max(0.0, self._clock() - began)
        with contextlib.suppress(PypiServerError, OSError):
            if self._cache_bytes is not None:
                values["proxy_cache_bytes"] = self._cache_bytes()
        for name, value in values.items():
            yield GaugeMetricFamily(PREFIX + name, STATES[name], value)


@contextlib.contextmanager
def listening(host: str, port: int, collect: Callable[[], Iterable[Any]]) -> Iterator[int]:
    """``--metrics-address``: serve only the metrics while the block runs, in the parent of all workers.

    Yields the port. Raises ConfigError if the address cannot be bound.
    """
    from prometheus_client import start_http_server

    with refusals(host, port):
        server, thread = start_http_server(port, first_address(host, port), _Told(collect))
    # socketserver queues five new connections; the next client would wait a second or three for its turn (TCP repeats).
    server.socket.listen(BACKLOG)
    # A client may connect before this line: the default handler then serves that one connection.
    theirs: Any = server.RequestHandlerClass
    server.RequestHandlerClass = type("Handler", (_Handler, theirs), {})
    server.handle_error = _client_failed  # type: ignore[method-assign]
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Handler:
    """Completes the listener of prometheus_client: the timeout of a silent client, and where errors go."""

    timeout = 5  # seconds

    def get_stderr(self) -> TextIO:
        """A stream that is dropped: errors are in our log already."""
        return io.StringIO()


def _client_failed(request: object, client_address: object) -> None:
    """Log a failed request at debug level only, because the usual cause is a client that disconnected."""
    _LOG.debug("A request for the metrics failed.", exc_info=True)


class _Told:
    """A registry, in the form the listener needs, that logs its failures."""

    def __init__(self, collect: Callable[[], Iterable[Any]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Any]:
        """The families; a failure becomes status 500 for the client."""
        try:
            return self._collect()
        except Exception as error:
            say("metrics", error, "the metrics were not given")
            raise

    def restricted_registry(self, names: Iterable[str]) -> _Told:
        """The families that have one of the names, as ``?name[]=`` asks."""
        wanted = set(names)
        return _Told(lambda: [each for each in self.collect() if wanted & {sample.name for sample in each.samples}])


class _States:
    """A collector, in the form prometheus_client needs: it reads the state only when it is scraped."""

    def __init__(self, collect: Callable[[], Iterator[Any]]) -> None:
        self.collect = collect

    def describe(self) -> list[Any]:
        """An empty list, so that registering reads no state."""
        return []


def route_label(rule: str | None) -> str:
    """A rule of the route table as a label, without its patterns; ``other`` for a request that matches no row."""
    return re.sub(r"<([a-z]+)[^>]*>", r"<\1>", rule) if rule else "other"
