"""The composition root: settings become storage, catalog, sync, repository, auther, and at last a WSGI application.

Settings end here: everything below takes plain arguments, so two applications in one process share nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from ._version import __version__
from .access.authentication import Access, Auther, HtpasswdFile
from .backend.digester import Digester
from .backend.protocols import Counted
from .backend.stored_file import Held
from .backend.writing import Writer
from .catalog import FAILURES, Catalog
from .catalog.postgres.leader_lock import Lease
from .catalog.postgres.pool import Pool
from .catalog.sqlite.leader_lock import ScanLock
from .catalog.sqlite.places import catalog_identity, catalog_path, usable_place
from .errors import ConfigError, PypiServerError, Unavailable
from .folder.indexer import Watch
from .folder.presence import Presence
from .folder.scanner import Sync
from .folder.storage import Folders
from .folder.writer import FolderWriter
from .index.publish import Intake
from .index.read import Repository
from .native_names import say_other_locale
from .observability.access_log import AccessLog
from .observability.audit_log import AuditLog
from .observability.download_statistics import Downloads
from .observability.logging_setup import wrap
from .observability.metrics import Metrics, State
from .observability.request_events import Observer, Observers, observe
from .server import tls_files
from .server.contract import Options as ServerOptions
from .settings.config import Config
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
from .web.http.body_limit import Gate
from .web.http.cors import CrossOrigin
from .web.http.forwarded import TrustedProxy
from .web.http.problem_details import Elsewhere
from .web.routes import Web, build

if TYPE_CHECKING:
    from .bucket.backend import BucketParts

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# So many files, of so many bytes together, are read before the server says that it is ready.
READ_BEFORE = 200
BYTES_BEFORE = 1 << 25
AnyCatalog = TypeVar("AnyCatalog", bound=Catalog)


class Application:
    """The WSGI application, with the parts the command line wants to speak to.

    Nothing runs before the first request in a process; :meth:`close` ends what then was started.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        say_other_locale()
        self.repository, writer = build_both(config)
        self.intake = Intake(
            self.repository,
            writer,
            overwrite=config.overwrite,
            recorder=Recorder(AuditLog(config.audit_log) if config.audit_log else None),
        )
        auther = build_auther(config)
        access = Access(auther, config.authenticate)
        self.metrics = _metrics(config, self.repository)
        self.observers = Observers(list(_observers(config, self.metrics, self.repository.stats)))
        # However many uploads stall, half of the server's threads are left for others.
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
                accel=accel_header(config.accel, config.accel_location),
                deliver=_delivery(config, self.repository, _cache_control(config, access)),
            ),
            uploads=Uploads(self.intake, max_bytes=config.max_upload_size, max_form_bytes=config.max_form_size),
            welcome=Welcome(_welcome_text(config), frame),
            status=_status(config, self.repository, self.exposition, self.metrics),
            server_base_url=config.root_url,
            health_endpoint=config.health_endpoint,
            gate=Gate(min(config.max_uploads, max(1, threads // 2))),
            max_search_size=config.max_search_size,
            renderer=Renderer(),
            cross_origin=CrossOrigin(config.allow_origin),
            frame=frame,
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
            request_format=config.log_req_frmt,
            response_format=config.log_res_frmt,
            error_format=config.log_err_frmt,
        )
        self._wsgi: WSGI = observe(logged, self.observers) if self.observers else logged

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        return self._wsgi(environ, start_response)

    def check(self) -> None:
        """Raise ConfigError for what would only be noticed later: a password file, audit log or certificate."""
        if self.config.htpasswd is not None:
            HtpasswdFile(self.config.htpasswd).check()
        if self.repository.stats is not None:
            self.repository.stats.check()
        if self.config.audit_log is not None:
            try:
                AuditLog(self.config.audit_log).check()
            except Unavailable as error:
                raise ConfigError(
                    str(error), kind="unwritable", setting="audit_log", value=self.config.audit_log
                ) from error
        if self.config.certificate is not None and self.config.key is not None:
            tls_files.check(self.config.certificate, self.config.key)

    def survey(self, *, counted: Counted = iter) -> tuple[list[Held], str | None]:
        """Bring the catalog up to date; gives what is known of the files in each folder, and where the catalog lives.

        Files go through ``counted`` as they are found.
        """
        watch, catalog = self.repository.watch, self.repository.catalog
        try:
            watch.scan_once(counted=counted)
            counts, unread, is_complete = catalog.root_counts(), catalog.unread_roots(), catalog.was_scanned()
        except FAILURES as error:
            raise Unavailable(f"The catalog {catalog.connections.place()} cannot be used: {error}.") from error
        roots = self.repository.folders.roots
        held = [
            Held(path, counts.get(root, 0) if is_complete else None, is_all=root not in unread)
            for root, path in enumerate(roots)
        ]
        return held, catalog.connections.place()

    def storage_fault(self) -> str:
        """Why the bucket does not answer now, empty when it does; for folders nothing is asked.

        Raises ConfigError for what will not heal: there is no such bucket, or it refuses us.
        """
        if self.config.storage is None:
            return ""
        from .bucket.probe import probe
        from .bucket.storage import Bucket

        bucket = self.repository.folders
        assert isinstance(bucket, Bucket)  # noqa: S101
        fault = probe(bucket)
        if fault is not None and fault.is_final:
            raise ConfigError(fault.message, kind="refused", setting="storage", value=bucket.objects.url)
        return fault.message if fault is not None else ""

    def damaged(self) -> list[tuple[Path | str, int]]:
        """How many files of each folder are known not to be fit to be listed, where there are any.

        Few files are read for that first, so that a small folder tells all; the rest shows while it serves.
        """
        repository = self.repository
        pending = repository.catalog.pending(READ_BEFORE + 1)
        is_little = isinstance(repository.folders, Folders) and len(pending) <= READ_BEFORE
        if is_little and sum(file.size for file in pending) <= BYTES_BEFORE:
            with contextlib.suppress(PypiServerError):
                repository.digester.digest_some()
        counts = repository.catalog.fault_counts()
        return [(path, counts[root]) for root, path in enumerate(repository.folders.roots) if root in counts]

    def start(self) -> None:
        """Begin to keep the catalog current, in the process that serves; otherwise the first request does that."""
        self.repository.watch.start()

    def exposition(self) -> bytes:
        """The metrics as text, empty where none are counted."""
        self.observers.flush()
        return self.metrics.exposition() if self.metrics else b""

    def close(self) -> None:
        """End the threads this process started."""
        self.observers.close()
        self.web.renderer.close()
        self.repository.watch.close()
        self.repository.catalog.close()


def _observers(config: Config, metrics: Metrics | None, stats: Downloads | None) -> Iterator[Observer]:
    """Those who write about every request."""
    if config.access_log and AccessLog.is_wanted():
        yield AccessLog()
    if metrics is not None:
        yield metrics
    if stats is not None:
        yield stats


def _metrics(config: Config, repository: Repository) -> Metrics | None:
    """What counts requests, and asks the catalog how the index is: only what it already knows, nothing is started."""
    catalog, watch = repository.catalog, repository.watch
    return (
        Metrics(lambda: State(*catalog.counts(), catalog.serial(), watch.last_scan()), __version__)
        if config.counts_metrics
        else None
    )


def _status(config: Config, repository: Repository, exposition: Callable[[], bytes], metrics: Metrics | None) -> Status:
    if metrics is None or config.metrics_address is not None:
        return Status(repository)
    return Status(repository, exposition=exposition, content_type=metrics.content_type)


def build_repository(config: Config) -> Repository:
    """Storage, catalog and what keeps them together; starts nothing."""
    return build_both(config)[0]


def build_both(config: Config) -> tuple[Repository, Writer]:
    """The repository, and who makes its changes, for the folders of ``config`` or its bucket."""
    if config.storage is not None:
        parts = build_bucket(config)
        in_bucket = bucket_repository(config, parts)
        return in_bucket, parts.writer(in_bucket)
    roots = [Path(os.path.abspath(root)) for root in config.roots]  # noqa: PTH100 - resolve() would follow links
    folders = Folders(roots)
    identity = catalog_identity(roots, config.hash_algo)
    catalog, lock = build_catalog(Catalog, usable_place(config.catalog) or catalog_path(identity), identity)
    presence = Presence(folders, catalog)
    sync = Sync(folders, catalog, presence=presence)
    digester = Digester(folders, catalog, hash_algo=config.hash_algo)
    watch = Watch(sync, digester, catalog, lock=lock)
    stats = Downloads(config.stats) if config.stats else None
    repository = Repository(
        folders=folders,
        catalog=catalog,
        sync=sync,
        digester=digester,
        watch=watch,
        stats=stats,
        stale_for=config.stale_for,
        presence=presence,
    )
    return repository, FolderWriter(repository, folders, sync)


def build_catalog(
    kind: Callable[..., AnyCatalog], place: Path | str | None, identity: str
) -> tuple[AnyCatalog, ScanLock | Lease]:
    """The catalog at ``place``, and the lock by which all that share it agree on one scanner."""
    if isinstance(place, str):
        catalog = kind(place, identity)
        assert isinstance(catalog.connections, Pool), "its place is an address"  # noqa: S101
        return catalog, Lease(catalog.connections)
    lock = ScanLock(Path(f"{place}.lock") if place else None)
    # While others may serve from it, a file is theirs, whatever it holds.
    return kind(place, identity, may_replace=lock.is_held), lock


def build_bucket(config: Config, *, is_serving: bool = True) -> BucketParts:
    """What there is over the bucket of ``config``; a command that does not serve starts nothing."""
    from .bucket.backend import build_parts
    from .bucket.catalog import ExclusiveCatalog
    from .bucket.object_store import Objects
    from .bucket.storage import Bucket

    assert config.storage is not None, "who asks has looked"  # noqa: S101
    identity = catalog_identity([config.storage], config.hash_algo)
    place = usable_place(config.catalog) or catalog_path(identity)
    if place is None:
        raise ConfigError(
            "There is no place for the catalog, which a bucket needs; name a file with --catalog.",
            kind="missing",
            setting="catalog",
        )
    catalog, lock = build_catalog(ExclusiveCatalog, place, identity)
    return build_parts(
        Bucket(Objects(config.storage, public_endpoint=config.public_storage_endpoint)),
        catalog,
        lock,
        hash_algo=config.hash_algo,
        overwrite=config.overwrite,
        is_serving=is_serving,
    )


def bucket_repository(config: Config, parts: BucketParts) -> Repository:
    """The repository over a bucket."""
    return Repository(
        folders=parts.bucket,
        catalog=parts.catalog,
        sync=parts.reindexer,
        digester=parts.digester,
        watch=parts.watch,
        stats=Downloads(config.stats) if config.stats else None,
        stale_for=config.stale_for,
    )


def _delivery(config: Config, repository: Repository, cache_control: str) -> Deliver | None:
    """How files of a bucket are sent; None for those of folders."""
    if config.storage is None:
        return None
    from .bucket.storage import Bucket

    bucket = repository.folders
    assert isinstance(bucket, Bucket)  # noqa: S101
    way = config.downloads if config.downloads != "auto" else "redirect" if bucket.objects.can_sign else "stream"
    if way == "stream":
        return lambda environ, file: None
    if not bucket.objects.can_sign:
        raise ConfigError(
            f"--downloads {way}: {config.storage} signs no addresses; use stream.",
            kind="contradiction",
            setting="downloads",
            value=way,
        )
    if way == "accel":
        return through_nginx(
            bucket.sign, config.signed_url_ttl, location=config.accel_location, cache_control=cache_control
        )
    return redirecting(bucket.sign, config.signed_url_ttl, age=config.cache_control)


def build_auther(config: Config) -> Auther | None:
    """Who knows the passwords: a callable, a htpasswd file, or nobody."""
    if config.auther is not None:
        return config.auther
    if config.htpasswd is None:
        return None
    return HtpasswdFile(config.htpasswd, slow_checks=config.max_logins)


def _fallback(config: Config) -> Callable[[str], str | None]:
    """Where an unknown project is sent; a private name never leaves this server."""
    fallback_address = config.fallback_address
    if fallback_address is None:
        return lambda name: None
    base = fallback_address.rstrip("/")
    private = read_private_names(config.private, config.private_file)
    return lambda name: None if name in private else f"{base}/{quote(name)}/"


def _elsewhere(config: Config, fallback: Callable[[str], str | None]) -> Callable[[str], Elsewhere | None]:
    """Where people may look for an unknown project: at PyPI its page, at any other index what clients read."""

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
