"""Health checks for people, load balancers and orchestrators, and the metrics page.

**Invariants:** health is open to everyone, because probes cannot log in; ``live`` and ``ready`` never wait, because a
probe that times out counts as failed; a server that is not ready yet is alive, so that no orchestrator restarts it
while it scans its folders. Any client may ask, so an answer never names the place of packages or catalog, or the role
of this process; the log does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import bottle

from ...backend.backend import Backend
from ...catalog import FAILURES
from ...errors import CatalogUnavailable, PypiServerError, Unavailable
from ...index.read import Repository
from ...server.graceful_shutdown import ENVIRON_KEY
from ...text import printable
from ..http.responses import text, unkept

_LOG = logging.getLogger(__name__)
ENDING = "The server is about to end."
# These facts are public.
_TOLD = ("starting", "ending")
# What a client reads instead of any other reason.
NOT_READY = "The packages cannot be read right now; the server's log says why."


class Status:
    """Handlers of the health endpoint, what is below it, and the metrics; ``exposition`` gives these, None none."""

    def __init__(
        self,
        repository: Repository,
        backend: Backend,
        *,
        exposition: Callable[[], bytes] | None = None,
        content_type: str = "",
    ) -> None:
        self._repository = repository
        self._storage = backend.storage
        self._catalog = backend.catalog
        self._indexer = backend.indexer
        self._exposition = exposition
        self._content_type = content_type
        self._last_reason = ""

    @property
    def has_metrics(self) -> bool:
        """Whether metrics are served here."""
        return self._exposition is not None

    def metrics(self) -> bottle.HTTPResponse:
        """``/metrics``: what Prometheus scrapes."""
        body = self._exposition() if self._exposition else b""
        headers = {"Content-Type": self._content_type, "Content-Length": str(len(body))}
        headers |= {"Cache-Control": "no-store", **unkept("private")}
        return bottle.HTTPResponse(body, headers=headers)

    def health(self) -> bottle.HTTPResponse:
        """Whether the folders can be read, once they have been: 200, or 503."""
        self._repository.serial()
        self._storage.check()
        return text("Ok")

    def live(self) -> bottle.HTTPResponse:
        """``/live``: the process answers."""
        return text("Ok")

    def ready(self) -> bottle.HTTPResponse:
        """``/ready``: 200 when requests can be answered, or 503 with a sentence; the log has the reason, once."""
        is_ending = bottle.request.environ.get(ENVIRON_KEY)
        failure = Unavailable(ENDING, public=True, kind="ending") if is_ending else self._why_not()
        reason = "" if failure is None else str(failure)
        if reason != self._last_reason:
            self._last_reason = reason
            _LOG.log(logging.WARNING if reason else logging.INFO, "Ready: %s", printable(reason or "yes."))
        if failure is None:
            return text("Ok")
        shown = reason if failure.kind in _TOLD else NOT_READY
        return text(shown, status=503, headers={"Retry-After": "2"})

    def _why_not(self) -> PypiServerError | None:
        try:
            state = self._indexer.state()
            self._storage.check()
            self._catalog.serial()
        except PypiServerError as error:
            return error
        except FAILURES as error:
            return CatalogUnavailable(f"The catalog cannot be read: {error}.")
        return state
