"""``--metrics-address``: a listener of its own that serves nothing but the metrics, in the parent of all workers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

from ..server.contract import reserved
from ..supervisor import Loop, say
from ..text import printable

_LOG = logging.getLogger(__name__)
PATHS = ("/", "/metrics")


class _Server(HTTPServer):
    """One whose failures go to our log: as a rule a client that went away."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say what failed; debugging alone tells of clients."""
        _LOG.debug("A request for the metrics failed.", exc_info=True)


@contextlib.contextmanager
def listening(host: str, port: int, exposition: Callable[[], bytes], content_type: str) -> Iterator[int]:
    """Serve the metrics while the block runs; gives the port. Raises ConfigError when the address cannot be had."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # seconds; it answers one client at a time
        server_version, sys_version = "pypiserver", ""

        def do_GET(self) -> None:
            """Answer with the metrics."""
            found = self.path.partition("?")[0] in PATHS
            try:
                body = exposition() if found else b"The metrics are at /metrics.\n"
            except Exception as error:  # noqa: BLE001 - logged with its traceback
                say("metrics", error, "the metrics were not given")
                self.send_error(500)
                return
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", content_type if found else "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, form: str, *values: object) -> None:
            """Leave the log to the index, but for debugging."""
            _LOG.debug("%s", printable(form % values))

    with reserved(host, port) as bound:
        server = _Server((host, port), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = bound
        server.server_address = bound.getsockname()[:2]
        server.server_activate()
        thread = Loop("metrics", server.serve_forever)
        thread.start()
        try:
            yield int(bound.getsockname()[1])
        finally:
            server.shutdown()
            thread.join(5)
