"""The composition root: settings become a backend, an index, access, observers, and finally a WSGI application.

**Invariants:** settings end here; everything below takes plain arguments, so two applications in one process share
nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ._version import __version__
from .access.authentication import Access, Auther, HtpasswdFile
from .backend.backend import Backend
from .backend.copy_endpoint import Endpoint
from .backend.protocols import Tell
from .backend.stored_file import Held
from .catalog import FAILURES, Catalog
from .catalog.sqlite.places import catalog_identity, catalog_path, usable_place
from .errors import ConfigError, PypiServerError, Unavailable
from .folder.backend import make_backend as make_folder_backend
from .folder.copy_endpoint import FolderEndpoint
from .folder.storage import Folders
from .index.publish import PublishingService
from .index.read import Repository
from .native_names import say_other_locale
from .observability.access_log import AccessLog
from .observability.audit_log import AuditLog
from .observability.download_statistics import Downloads
from .observability.logging_setup import wrap
from .observability.metrics import Metrics, State
from .observability.request_events import Observer, Observers, observe
from .observability.uploaders import Uploaders
from .server import tls_files
from .server.contract import Options as ServerOptions
from .settings.config import Config, default_of
from .settings.parsers import Content
from .upstream.private_names import read_private_names
from .web.api.change_recorder import Recorder
from .web.api.files import Files, accel_header, file_cache_control
from .web.api.health import Status
from .web.api.legacy_json import JsonPages
from .web.api.offload import Deliver, redirecting, through_nginx
from .web.api.simple import Simple
from .web.api.upload import Uploads
from .web.html.file_list import AllFiles
from .web.html.pages import Frame
from .web.html.renderer import Renderer
from .web.html.welcome import Welcome
from .web.http.body_limit import BodyLimiter
from .web.http.cors import CrossOrigin
from .web.http.forwarded import TrustedProxy
from .web.http.problem_details import Elsewhere
from .web.routes import Web, build

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
            self.backend,
            overwrite=config.overwrite,
            recorder=Recorder(AuditLog(config.audit_log) if config.audit_log else None),
        )
        auther = build_auther(config)
        access = Access(auther, config.authenticate)
        self.metrics = _metrics(config, self.backend)
        self.observers = Observers(list(_observers(config, self.metrics, self.stats)))
        # However many uploads stall, half of the server's threads remain for other requests.
        threads = ServerOptions(
            server=config.server, threads=config.threads, tells_names_apart=config.believes_address
        ).thread_count
        frame = Frame(config.title) if config.title else Frame()
        fallback = _fallback(config)
        self.web = Web(
            repository=self.repository,
            access=access,
            simple=Simple(
                self.repository,
                fallback=fallback,
                private=access.is_protected("list"),
                server_base_url=config.root_url,
            ),
            json_pages=JsonPages(
                self.repository,
                private=access.is_protected("list"),
                server_base_url=config.root_url,
            ),
            all_files=AllFiles(self.repository, private=access.is_protected("list"), frame=frame),
            files=Files(
                self.repository,
                cache_control=_cache_control(config, access),
                private_files=access.is_protected("download"),
                accel=accel_header(config.accel, config.accel_location, self.backend.offload.local_path),
                deliver=_delivery(config, self.backend, _cache_control(config, access)),
            ),
            uploads=Uploads(self.intake, max_bytes=config.max_upload_size, max_form_bytes=config.max_form_size),
            welcome=Welcome(_welcome_text(config), frame),
            status=_status(config, self.repository, self.backend, self.exposition, self.metrics),
            server_base_url=config.root_url,
            health_endpoint=config.health_endpoint,
            gate=BodyLimiter(min(config.max_uploads, max(1, threads // 2))),
            max_search_size=config.max_search_size,
            renderer=Renderer(),
            cross_origin=CrossOrigin(config.allow_origin),
            frame=frame,
            # A user name is half of a login: only users who log in see it.
            uploaders=Uploaders(config.audit_log) if config.audit_log and access.is_protected("list") else None,
            elsewhere=_elsewhere(config, fallback),
        )
        self.routes = self.web.routes()
        logged: WSGI = wrap(
            TrustedProxy(
                build(self.web),
                config.trusted_proxy,
                named=config.forwarded_headers,
                base_url=config.server_base_url or "",
            ),
            request_format=_line_format(config, "log_req_frmt"),
            response_format=_line_format(config, "log_res_frmt"),
            error_format=_line_format(config, "log_err_frmt"),
        )
        self._wsgi: WSGI = observe(logged, self.observers) if self.observers else logged

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        return self._wsgi(environ, start_response)

    def check(self) -> None:
        """Raise ConfigError for faults that show only later: in password file, statistics, audit log or certificate."""
        if self.config.htpasswd is not None:
            HtpasswdFile(self.config.htpasswd).check()
        if self.stats is not None:
            self.stats.check()
        if self.config.audit_log is not None:
            try:
                AuditLog(self.config.audit_log).check()
            except Unavailable as error:
                raise ConfigError(
                    str(error), kind="unwritable", setting="audit_log", value=self.config.audit_log
                ) from error
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
        self.web.renderer.close()
        self.backend.close()


def _line_format(config: Config, name: str) -> str:
    """A format of lines about requests; empty if it is the default and the access log has a line for each request."""
    chosen = str(getattr(config, name))
    is_usual = chosen == default_of(name)
    return "" if is_usual and config.access_log and AccessLog.is_wanted() else chosen


def _observers(config: Config, metrics: Metrics | None, stats: Downloads | None) -> Iterator[Observer]:
    """The observers of every request."""
    if config.access_log and AccessLog.is_wanted():
        yield AccessLog()
    if metrics is not None:
        yield metrics
    if stats is not None:
        yield stats


def _metrics(config: Config, backend: Backend) -> Metrics | None:
    """Counts requests, and asks the catalog for the state of the index: only what it already knows; starts nothing."""
    catalog, indexer = backend.catalog, backend.indexer
    return (
        Metrics(lambda: State(*catalog.counts(), catalog.serial(), indexer.last_scan()), __version__)
        if config.counts_metrics
        else None
    )


def _status(
    config: Config,
    repository: Repository,
    backend: Backend,
    exposition: Callable[[], bytes],
    metrics: Metrics | None,
) -> Status:
    if metrics is None or config.metrics_address is not None:
        return Status(repository, backend)
    return Status(repository, backend, exposition=exposition, content_type=metrics.content_type)


def build_backend(config: Config, *, is_serving: bool = True) -> Backend:
    """The backend over the folders of ``config``, or its bucket; starts nothing.

    Without ``is_serving`` it is for a command that changes packages: it has no catalog of folders, and uses the catalog
    of a bucket as it is.
    """
    return (
        _over_folders(config, is_serving)
        if config.storage is None
        else _over_bucket(config, config.storage, is_serving)
    )


def _over_folders(config: Config, is_serving: bool) -> Backend:
    roots = [Path(os.path.abspath(root)) for root in config.roots]  # noqa: PTH100 - resolve() would follow links
    identity = catalog_identity(roots, config.hash_algo)
    place = (usable_place(config.catalog) or catalog_path(identity)) if is_serving else None
    catalog = Catalog(place, identity)
    return make_folder_backend(Folders(roots), catalog, hash_algo=config.hash_algo, is_serving=is_serving)


def _over_bucket(config: Config, url: str, is_serving: bool) -> Backend:
    from .bucket.backend import make_backend
    from .bucket.catalog import BucketCatalog
    from .bucket.object_store import ObjectStoreClient
    from .bucket.storage import Bucket

    identity = catalog_identity([url], config.hash_algo)
    place = usable_place(config.catalog) or catalog_path(identity)
    if place is None:
        raise ConfigError(
            "There is no place for the catalog, which a bucket needs; name a file with --catalog.",
            kind="missing",
            setting="catalog",
        )
    return make_backend(
        Bucket(ObjectStoreClient(url, public_endpoint=config.public_storage_endpoint)),
        BucketCatalog(place, identity),
        hash_algo=config.hash_algo,
        overwrite=config.overwrite,
        is_serving=is_serving,
    )


def build_endpoint(place: Path | str) -> Endpoint:
    """The source or destination of a copy: a folder, or the bucket at an address."""
    if isinstance(place, Path):
        return FolderEndpoint(place.absolute())
    from .bucket.copy_endpoint import BucketEndpoint
    from .bucket.object_store import ObjectStoreClient, require
    from .bucket.storage import Bucket

    require()
    return BucketEndpoint(Bucket(ObjectStoreClient(place)))


def _delivery(config: Config, backend: Backend, cache_control: str) -> Deliver | None:
    """How files of a bucket are sent; None for the files of folders, which are on this disk."""
    if backend.offload.local_path is not None:
        return None
    sign = backend.offload.sign
    way = config.downloads if config.downloads != "auto" else "redirect" if sign is not None else "stream"
    if way == "stream":
        return lambda environ, file: None
    if sign is None:
        raise ConfigError(
            f"--downloads {way}: {config.storage} signs no addresses; use stream.",
            kind="contradiction",
            setting="downloads",
            value=way,
        )
    if way == "accel":
        return through_nginx(sign, config.signed_url_ttl, location=config.accel_location, cache_control=cache_control)
    return redirecting(sign, config.signed_url_ttl, age=config.cache_control)


def build_auther(config: Config) -> Auther | None:
    """The password check: a callable, an htpasswd file, or None if neither is set."""
    if config.auther is not None:
        return config.auther
    if config.htpasswd is None:
        return None
    return HtpasswdFile(config.htpasswd, slow_checks=config.max_logins)


def _fallback(config: Config) -> Callable[[str], str | None]:
    """The redirect target of an unknown project; a private name never leaves this server."""
    fallback_address = config.fallback_address
    if fallback_address is None:
        return lambda name: None
    base = fallback_address.rstrip("/")
    private = read_private_names(config.private, config.private_file)
    return lambda name: None if name in private else f"{base}/{quote(name)}/"


def _elsewhere(config: Config, fallback: Callable[[str], str | None]) -> Callable[[str], Elsewhere | None]:
    """A link for people to an unknown project: its page on PyPI, or on any other index the page that clients read."""

    def look(name: str) -> Elsewhere | None:
        address = fallback(name)
        if address is None:
            return None
        if config.fallback_url is None:
            return Elsewhere(address.replace("/simple/", "/project/", 1), "PyPI")
        return Elsewhere(address, urlsplit(address).hostname or "")

    return look


def _cache_control(config: Config, access: Access) -> str:
    return file_cache_control(age=config.cache_control, private=access.is_protected("download"))


def _welcome_text(config: Config) -> str | None:
    if config.welcome is None or isinstance(config.welcome, Content):
        return config.welcome
    try:
        return config.welcome.read_text("utf-8", "replace")
    except OSError as error:
        raise ConfigError(
            f"The welcome page {config.welcome} cannot be read: {error.strerror}.",
            kind="unreadable",
            setting="welcome",
            value=config.welcome,
        ) from error
