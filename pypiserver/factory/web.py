"""The web of an application: its handlers, and the few settings of responses.

**Invariants:** a private project's name never leaves this server; what a login protects is never marked as public.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from packaging.utils import NormalizedName

from ..access.guard import Access
from ..access.patterns import Matcher
from ..backend.backend import Backend, Sign
from ..distributions.filename import normalize
from ..errors import ConfigError, PypiServerError
from ..index.fallback import Fallback
from ..index.publish import PublishingService
from ..index.read import Repository
from ..observability.metrics import Metrics
from ..observability.uploaders import Uploaders
from ..server.contract import Options as ServerOptions
from ..settings.config import Config
from ..settings.path_parsers import Content
from ..upstream.private_names import read_private_names
from ..web.admission import Admission
from ..web.api.files import KEPT_BYTES, Files, accel_header, accel_path, file_cache_control
from ..web.api.health import Status
from ..web.api.legacy_json import JsonPages
from ..web.api.offload import Deliver, redirecting, through_nginx
from ..web.api.page_responses import PageResponses
from ..web.api.simple import Simple
from ..web.api.upload import Uploads
from ..web.html.file_list import AllFiles
from ..web.html.pages import Frame
from ..web.html.renderer import Renderer
from ..web.html.welcome import Welcome
from ..web.http.body_limit import BodyLimiter
from ..web.http.cors import CrossOrigin
from ..web.http.page_cache import PageMemory
from ..web.http.problem_details import Elsewhere
from ..web.http.visible_names import visible_to
from ..web.routes import Web
from .access import build_access
from .file_options import FileOptions

if TYPE_CHECKING:
    from .proxy import Asking


def build_web(
    config: Config,
    backend: Backend,
    repository: Repository,
    intake: PublishingService,
    status: Status,
    asking: Asking | None,
) -> Web:
    """All handlers of an application over these use cases; ``asking`` asks other indexes, None if clients do."""
    server = _server(config)
    half = most_waiting(config)
    bodies = config.max_uploads if server.is_on_loop else min(config.max_uploads, half)
    access = build_access(config, waiting=half)
    frame = Frame(config.title) if config.title else Frame()
    redirects = _redirects(config, build_fallback(config, backend, repository))
    names = visible_to(access)
    private, memory = access.is_protected("list"), PageMemory()
    pages = merged = None
    if asking is not None:
        responses = PageResponses(private=private, server_base_url=config.root_url)
        pages = asking.pages(responses, memory)
        merged = asking.merged(repository, pages, responses, memory)
    return Web(
        repository=repository,
        memory=memory,
        access=access,
        admission=Admission(access, repository),
        simple=Simple(
            repository,
            memory,
            fallback=redirects,
            private=private,
            server_base_url=config.root_url,
            names=names,
            proxied=pages,
            merged=merged,
        ),
        json_pages=JsonPages(repository, memory, private=private, server_base_url=config.root_url),
        all_files=AllFiles(repository, memory, private=private, frame=frame, names=names),
        files=Files(
            repository,
            cache_control=_cache_control(config, access),
            private_files=access.is_protected("download"),
            accel=accel_header(config.accel, config.accel_location, backend.offload.local_path),
            deliver=_delivery(config, backend, _cache_control(config, access)),
            proxied=asking.downloads(_file_options(config, access)) if asking is not None else None,
        ),
        uploads=Uploads(intake, access, max_bytes=config.max_upload_size, max_form_bytes=config.max_form_size),
        welcome=Welcome(_welcome_text(config), frame),
        status=status,
        server_base_url=config.root_url,
        health_endpoint=config.health_endpoint,
        gate=BodyLimiter(bodies),
        max_search_size=config.max_search_size,
        renderer=Renderer(),
        cross_origin=CrossOrigin(config.allow_origin),
        frame=frame,
        # Only users who log in see them.
        uploaders=Uploaders(config.audit_log) if config.audit_log and private else None,
        elsewhere=_elsewhere(config, redirects),
        names=names,
        indexes=asking.for_people(repository, pages) if asking is not None and pages is not None else None,
    )


def build_fallback(config: Config, backend: Backend, repository: Repository) -> Fallback:
    """Which names other indexes may be asked for."""
    private = read_private_names(config.private, config.private_file)
    merged = Matcher(str(normalize(each)) for each in config.merge)
    return Fallback(repository, backend.claims, private.__contains__, merged=merged)


def most_waiting(config: Config) -> int:
    """How many uploads may stall, or logins and other indexes be waited for: half of the threads remain for others."""
    return max(1, _server(config).thread_count // 2)


def _server(config: Config) -> ServerOptions:
    return ServerOptions(server=config.server, threads=config.threads, tells_names_apart=config.believes_address)


def _file_options(config: Config, access: Access) -> FileOptions:
    return FileOptions(
        cache_control=_cache_control(config, access),
        private_files=access.is_protected("download"),
        accel=accel_path(config.accel, config.accel_location),
        accel_above=KEPT_BYTES,
        deliver=partial(_delivered, config, _cache_control(config, access)),
    )


def build_status(
    config: Config,
    repository: Repository,
    backend: Backend,
    exposition: Callable[[], bytes],
    metrics: Metrics | None,
) -> Status:
    """The health of the server, with the metrics unless they have an address of their own."""
    if metrics is None or config.metrics_address is not None:
        return Status(repository, backend)
    return Status(repository, backend, exposition=exposition, content_type=metrics.content_type)


def _delivery(config: Config, backend: Backend, cache_control: str) -> Deliver | None:
    """How files of a bucket are sent; None for the files of folders, which are on this disk."""
    if backend.offload.local_path is not None:
        return None
    return _delivered(config, cache_control, backend.offload.sign)


def _delivered(config: Config, cache_control: str, sign: Sign | None) -> Deliver:
    """How files of a bucket are sent whose addresses ``sign`` gives, if the bucket has any."""
    way = config.downloads if config.downloads != "auto" else "redirect" if sign is not None else "stream"
    if way == "stream":
        return lambda environ, path: None
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


def _redirects(config: Config, fallback: Fallback) -> Callable[[NormalizedName], str | None]:
    """The redirect target of an unknown project; it raises NotFound for a name that is ours."""
    if config.mode != "redirect":
        return lambda name: None
    base = (config.fallback_address or "").rstrip("/")

    def target(name: NormalizedName) -> str:
        fallback.require(name)
        return f"{base}/{quote(name)}/"

    return target


def _elsewhere(
    config: Config, redirects: Callable[[NormalizedName], str | None]
) -> Callable[[NormalizedName], Elsewhere | None]:
    """A link for people to an unknown project: its page on PyPI, or on any other index the page that clients read."""

    def look(name: NormalizedName) -> Elsewhere | None:
        try:
            address = redirects(name)
        except PypiServerError:
            return None
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
