"""The composition root: settings become a backend, an index, access, observers, and finally a WSGI application.

**Invariants:** settings end here; everything below takes plain arguments, so two applications in one process share
nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..access.password_file import HtpasswdFile
from ..backend.protocols import Tell
from ..backend.stored_file import Held
from ..catalog import FAILURES
from ..errors import ConfigError, PypiServerError, Unavailable
from ..index.publish import PublishingService
from ..index.read import Repository
from ..native_names import say_other_locale
from ..observability.audit_log import AuditLog
from ..observability.download_statistics import Downloads
from ..observability.request_events import Observers, observe
from ..observability.request_lines import wrap
from ..server import tls_files
from ..settings.config import Config
from ..web.api.change_recorder import Recorder
from ..web.application import build
from ..web.http.forwarded import TrustedProxy
from .access import token_source
from .backends import build_backend
from .observers import build_metrics, build_observers, line_format
from .web import build_fallback, build_status, build_web, most_waiting

if TYPE_CHECKING:
    from .proxy import Asking

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# This many files, of this many bytes together, are read before the server reports that it is ready.
READ_BEFORE = 200
BYTES_BEFORE = 1 << 25


class Application:
    """The WSGI application, with the parts that the command line needs.

    Nothing runs before the first request in a process; :meth:`close` ends what was started then.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        say_other_locale()
        self.backend = build_backend(config)
        self.stats = Downloads(config.stats) if config.stats else None
        self.repository = Repository(self.backend, stats=self.stats, stale_for=config.stale_for)
        self.intake = PublishingService(
            self.backend, recorder=Recorder(AuditLog(config.audit_log) if config.audit_log else None)
        )
        self.metrics = build_metrics(config, self.backend)
        self.asking = self._asking()
        self.observers = Observers(list(build_observers(config, self.metrics, self.stats)))
        self.web = build_web(
            config,
            self.backend,
            self.repository,
            self.intake,
            build_status(config, self.repository, self.backend, self.exposition, self.metrics),
            self.asking,
        )
        self.routes = self.web.routes()
        logged: WSGI = wrap(
            TrustedProxy(
                build(self.web),
                config.trusted_proxy,
                named=config.forwarded_headers,
                base_url=config.server_base_url or "",
            ),
            request_format=line_format(config, "log_req_frmt"),
            response_format=line_format(config, "log_res_frmt"),
            error_format=line_format(config, "log_err_frmt"),
        )
        self._wsgi: WSGI = observe(logged, self.observers) if self.observers else logged

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        return self._wsgi(environ, start_response)

    def _asking(self) -> Asking | None:
        if not self.config.asks_others:
            return None
        from .proxy import Asking

        fallback = build_fallback(self.config, self.backend, self.repository)
        return Asking(self.config, fallback, waiting=most_waiting(self.config), metrics=self.metrics)

    def check(self, *, makes: bool = True) -> None:
        """Raise ConfigError for faults that show only later: in files of access, statistics, audit log, TLS, lists.

        Without ``makes`` no file is made.
        """
        if self.config.htpasswd is not None:
            HtpasswdFile(self.config.htpasswd).check()
        if self.config.tokens is not None:
            with contextlib.closing(token_source(self.config.tokens)) as source:
                source.check()
        if self.stats is not None:
            self.stats.check(makes=makes)
        if self.config.audit_log is not None:
            try:
                AuditLog(self.config.audit_log).check(makes=makes)
            except Unavailable as error:
                raise ConfigError(
                    str(error), kind="unwritable", setting="audit_log", value=self.config.audit_log
                ) from error
        if self.asking is not None:
            self.asking.check(makes=makes)
        if self.config.certificate is not None and self.config.key is not None:
            tls_files.check(self.config.certificate, self.config.key)

    def survey(self, *, progress: Tell | None = None) -> tuple[list[Held], str | None]:
        """Bring the catalog up to date; returns what is known of the files in each folder, and where the catalog is.

        ``progress`` gets the number of files found. Raises Unavailable if the catalog fails.
        """
        indexer, catalog = self.backend.indexer, self.backend.catalog
        try:
            indexer.scan_once(progress=progress)
            counts, unread, is_complete = catalog.root_counts(), catalog.unread_roots(), catalog.was_scanned()
        except FAILURES as error:
            raise Unavailable(f"The catalog {catalog.connections.place()} cannot be used: {error}.") from error
        roots = self.backend.storage.roots
        held = [
            Held(path, counts.get(root, 0) if is_complete else None, is_all=root not in unread)
            for root, path in enumerate(roots)
        ]
        return held, catalog.connections.place()

    def storage_fault(self) -> str:
        """Why the bucket does not answer now, empty if it does; empty for folders.

        Raises ConfigError for what waiting does not mend: the bucket does not exist, or refuses us.
        """
        return self.backend.storage_fault()

    def damaged(self) -> list[tuple[Path | str, int]]:
        """The number of files that are known to be unfit for listing, for each folder that has some.

        If few files are pending, they are read first, so the answer is complete for a small folder; later faults show
        while it serves.
        """
        backend = self.backend
        pending = backend.catalog.pending(READ_BEFORE + 1)
        is_little = backend.reads_before_fork and len(pending) <= READ_BEFORE
        if is_little and sum(file.size for file in pending) <= BYTES_BEFORE:
            with contextlib.suppress(PypiServerError):
                backend.digester.digest_some()
        counts = backend.catalog.fault_counts()
        return [(path, counts[root]) for root, path in enumerate(backend.storage.roots) if root in counts]

    def unread(self) -> int:
        """The number of files whose faults are not known yet, because they are read while it serves."""
        return self.backend.catalog.pending_count()

    def start(self) -> None:
        """Start to keep the catalog current, in the process that serves; otherwise the first request starts it."""
        self.backend.indexer.start()

    def exposition(self) -> bytes:
        """The metrics as text, empty if metrics are off."""
        self.observers.flush()
        return self.metrics.exposition() if self.metrics else b""

    def metric_families(self) -> list[Any]:
        """The metrics as families of prometheus_client, empty if metrics are off."""
        self.observers.flush()
        return self.metrics.collect() if self.metrics else []

    def close(self) -> None:
        """End the threads that this process started."""
        self.observers.close()
        self.web.access.close()
        if self.asking is not None:
            self.asking.close()
        self.web.renderer.close()
        self.backend.close()
