"""The table of settings and their value: name, default, flag, parser, unit, help text and older names of each.

**Invariants:** the fields of ``Config`` are the only table; the command line, ``app(**keywords)``,
``PYPISERVER_<NAME>`` variables, paste files, completion and the reference documentation are loops over it, and
``sources`` merges what they give. One ``ConfigError`` names every mistake. Settings end at ``factory``.
"""

# ruff: noqa: RUF009 - setting() is dataclasses.field with typed metadata
# A setting takes few lines when the table is laid out by hand.
# fmt: off

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError, Mistake
from . import parsers as types
from .setting import Setting, setting
from .sources import Given, Sources

# The servers with runners of our own, then bottle's adapters (bottle.server_names of 0.13).
SERVER_NAMES = (
    "auto", "granian", "waitress", "aiohttp", "bjoern", "cgi", "cheroot", "cherrypy", "diesel", "eventlet", "fapws3",
    "flup", "gae", "gevent", "gunicorn", "meinheld", "paste", "tornado", "twisted", "uvloop", "wsgiref",
)
# Servers that drop headers with an underscore in the name; WSGI cannot tell them from headers with a hyphen.
TELLS_NAMES_APART = ("waitress", "gunicorn")
ACCELS = ("off", "nginx", "sendfile")
DOWNLOADS = ("auto", "redirect", "stream", "accel")
BACKENDS = ("auto", "simple-dir", "cached-dir")
LOG_STREAMS = types.LOG_STREAMS
LOG_FORMATS = ("text", "json")
GROUPS = ("Folders", "Server", "Access", "Index", "Logging")
# A running server cannot change these; a reload refuses to.
FIXED_AT_START = (
    "host", "port", "server", "workers", "threads", "certificate", "key", "max_upload_size", "metrics",
    "metrics_address", "drain_seconds", "forwarded_headers", "pid_file",
)
OPEN_TO_ALL = Path()  # '-P .': no password file, on purpose


def default_roots() -> tuple[Path, ...]:
    """``~/packages``; raises ``ConfigError`` when the user has no home folder."""
    try:
        return types.paths("~/packages")
    except ValueError as fault:
        raise ConfigError(f"No folder was given, and the default {fault}.", kind="missing", setting="roots") from None


def default_fallback_url() -> str:
    """The URL of the public index's simple page, taken from pip; raises ``ConfigError`` when pip is not installed."""
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        message = "pip is not installed, so the address of the public index is unknown; pass --fallback-url."
        raise ConfigError(message, kind="missing", setting="fallback_url") from None
    return f"{PyPI.simple_url}/"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, parsed. Sizes are bytes, times seconds; the help text says what ``None`` means.

    Raises ``ConfigError`` when settings contradict each other. ``roots_are_default`` is true when no folder was given;
    only then may the folder be created. ``roots`` is empty when ``storage`` is set.
    """

    roots: tuple[Path, ...] = setting(
        factory=default_roots, parse=types.paths, flags=("-r", "--root"), metavar="DIR", action="repeat",
        group="Folders", default_text="~/packages", aliases=("root",),
        help="Serve the packages in this folder; same as naming it without the flag. Uploads go to the first folder.",
    )
    storage: str | None = setting(
        None, parse=types.bucket_address, flags=("--storage",), metavar="URL", group="Folders", aliases=("store_url",),
        help="Keep the packages in this bucket instead of folders: s3://BUCKET/PREFIX, gs://... or az://...; needs "
        "pypiserver[objectstore]. Reads credentials and endpoint from AWS_*, GOOGLE_* and AZURE_* variables.",
    )
    overwrite: bool = setting(
        False, parse=types.boolean, flags=("-o", "--overwrite"), action="switch", group="Folders",
        help="Allow uploads to replace existing files.",
    )
    max_upload_size: int = setting(
        4 << 30, parse=types.size, flags=("--max-upload-size",), metavar="SIZE", unit="bytes", group="Folders",
        default_text="4G", help="Refuse larger uploads. SIZE is a number of bytes, or a number with K, M, G or T.",
    )
    max_form_size: int = setting(
        16 << 20, parse=types.size, flags=("--max-form-size",), metavar="SIZE", unit="bytes", group="Folders",
        default_text="16M", help="Refuse uploads whose form fields, without the file, are larger than this.",
    )
    catalog: Path | str | None = setting(
        None, parse=types.catalog_place, flags=("--catalog",), metavar="FILE", group="Folders",
        default_text="a file in the user's cache folder",
        help="Keep the catalog in this file, which can be deleted at any time, or in a database that several servers "
        "share: postgresql://USER@HOST/DATABASE; needs pypiserver[postgres].",
    )
    stale_for: int = setting(
        300, parse=types.whole_number(0, 86_400), flags=("--stale-for",), metavar="SECONDS", unit="seconds",
        group="Folders",
        help="Keep serving the last known pages for this many seconds while the catalog database is down.",
    )
    backend: str = setting(
        "auto", parse=types.one_of(BACKENDS, "backend"), flags=("--backend",), metavar="BACKEND", choices=BACKENDS,
        group="Folders", aliases=("backend_arg",),
        help="Accepted for compatibility; has no effect.",
    )
    host: str = setting(
        "0.0.0.0", parse=types.host, flags=("-i", "--interface", "-H", "--host"), metavar="HOST",  # noqa: S104
        group="Server", aliases=("interface",), help="Listen on this address; 0.0.0.0 is every IPv4 interface.",
    )
    port: int = setting(
        8080, parse=types.whole_number(0, 65535), flags=("-p", "--port"), metavar="PORT", group="Server",
        help="Listen on this port; 0 picks a free one.",
    )
    server: str = setting(
        "auto", parse=types.one_of(SERVER_NAMES, "server"), flags=("--server",), metavar="METHOD", group="Server",
        choices=SERVER_NAMES, aliases=("server_method",),
        help="Run this web server; auto is granian, or waitress if granian is not installed.",
    )
    workers: int = setting(
        1, parse=types.whole_number(1, 1024), flags=("--workers",), metavar="N", group="Server",
        help="Serve with this many processes, if the web server can.",
    )
    threads: int | None = setting(
        None, parse=types.whole_number_or_auto, flags=("--threads",), metavar="N", group="Server", default_text="auto",
        help="Answer at most this many requests at once in each process.",
    )
    max_connections: int = setting(
        1500, parse=types.whole_number(1, 1_000_000), flags=("--max-connections",), metavar="N", group="Server",
        help="Keep at most this many connections open in each process.",
    )
    max_uploads: int = setting(
        80, parse=types.whole_number(1, 100_000), flags=("--max-uploads",), metavar="N", group="Server",
        help="Receive at most this many uploads at once in each process, with at most half of --threads; answer "
        "others with 503 and Retry-After.",
    )
    max_header_size: int = setting(
        1 << 16, parse=types.size, flags=("--max-header-size",), metavar="SIZE", unit="bytes", group="Server",
        default_text="64K", help="Refuse requests with larger headers; at least 8K.",
    )
    max_search_size: int = setting(
        1 << 20, parse=types.size, flags=("--max-search-size",), metavar="SIZE", unit="bytes", group="Server",
        default_text="1M", help="Refuse larger XML-RPC search requests.",
    )
    stall_timeout: int = setting(
        60, parse=types.whole_number(1, 86_400), flags=("--stall-timeout",), metavar="SECONDS", unit="seconds",
        group="Server", help="Close connections that transfer almost no data for this many seconds.",
    )
    drain_seconds: int = setting(
        0, parse=types.whole_number(0, 86_400), flags=("--drain-seconds",), metavar="N", unit="seconds",
        group="Server",
        help="After SIGTERM, report not ready and keep serving for this many seconds before shutting down.",
    )
    pid_file: Path | None = setting(
        None, parse=types.path, flags=("--pid-file",), metavar="FILE", group="Server",
        help="Write the server's process id to this file while it runs.",
    )
    certificate: Path | None = setting(
        None, parse=types.path, flags=("--certificate",), metavar="FILE", group="Server",
        help="Serve HTTPS with this certificate chain (PEM); needs --key.",
    )
    key: Path | None = setting(
        None, parse=types.path, flags=("--key",), metavar="FILE", group="Server",
        help="The private key of --certificate (PEM).",
    )
    server_base_url: str | None = setting(
        None, parse=types.base_address, flags=("--server-base-url",), metavar="URL", group="Server",
        help="The URL clients use, if the request does not show it, or only its path: /PREFIX/. The server answers "
        "requests with and without that path prefix.",
    )
    trusted_proxy: tuple[types.Network, ...] = setting(
        types.networks("127.0.0.0/8,::1/128"), parse=types.networks, flags=("--trusted-proxy",), metavar="ADDRESS",
        action="repeat", group="Server", default_text="loopback", aliases=("trusted_proxies",), split=types.words,
        help="Trust forwarding headers from these addresses or networks; may be repeated; 'none' trusts no proxy.",
    )
    forwarded_headers: tuple[str, ...] = setting(
        ("proto", "for"), parse=types.forwarding_headers, flags=("--forwarded-headers",), metavar="NAMES",
        choices=types.FORWARDING, group="Server", default_text="proto,for", split=types.words,
        help="Trust these headers of trusted proxies, separated by commas: proto, for, host, prefix (of "
        "X-Forwarded), forwarded (RFC 7239), or none. Name only headers that your proxy sets on every request.",
    )
    health_endpoint: str = setting(
        "/health", parse=types.url_path, flags=("--health-endpoint",), metavar="PATH", group="Server",
        help="Answer health checks at this path, and at PATH/live and PATH/ready.",
    )
    metrics: bool = setting(
        False, parse=types.boolean, flags=("--metrics",), action="switch", group="Server",
        help="Serve Prometheus metrics at /metrics to users who may list; needs pypiserver[metrics].",
    )
    metrics_address: tuple[str, int] | None = setting(
        None, parse=types.address, flags=("--metrics-address",), metavar="HOST:PORT", group="Server",
        help="Serve the metrics at this address instead, without a login.",
    )
    authenticate: frozenset[str] = setting(
        frozenset({"update"}), parse=types.actions, flags=("-a", "--authenticate"), metavar="ACTIONS", action="repeat",
        group="Access", choices=types.ACTIONS, default_text="update", aliases=("authenticated",), split=types.words,
        help="Require a password for these actions: update, download, list, separated by commas. "
        "Open everything to everyone with: -P . -a .",
    )
    password_file: Path | None = setting(
        None, parse=types.path, flags=("-P", "--passwords"), metavar="FILE", group="Access", aliases=("passwords",),
        help="Read users and password hashes from this file, in Apache's htpasswd format (see pypi-server passwd). "
        "Without it, protected actions are refused to everyone. Open everything to everyone with: -P . -a .",
    )
    max_logins: int | None = setting(
        None, parse=types.whole_number_or_auto, flags=("--max-logins",), metavar="N", group="Access",
        default_text="one for each processor",
        help="Verify at most this many slow password hashes at once; other logins wait up to five seconds.",
    )
    allow_origin: tuple[str, ...] = setting(
        (), parse=types.origins, flags=("--allow-origin",), metavar="ORIGIN", action="repeat", group="Access",
        split=types.words,
        help="Allow web pages of this origin to read pages and files (CORS), such as a notebook that installs with "
        "micropip: https://notebooks.example; may be repeated; '*' is every origin.",
    )
    auther: Callable[[str, str], bool] | None = setting(
        None, parse=types.login_check, group="Access",
        help="Only from Python: a function that takes user and password and returns whether they are valid.",
    )
    fallback: bool = setting(
        True, parse=types.boolean, flags=("--disable-fallback",), action="off", group="Index",
        aliases=("redirect_to_fallback",), opposites=("disable_fallback",),
        help="Do not redirect requests for unknown projects to the public index.",
    )
    fallback_url: str | None = setting(
        None, parse=types.web_address, flags=("--fallback-url",), metavar="URL", group="Index",
        default_text="the public index",
        help="Redirect requests for unknown projects to this index.",
    )
    private: tuple[str, ...] = setting(
        (), parse=types.patterns, flags=("--private",), metavar="PATTERN", action="repeat", group="Index",
        split=types.words,
        help="Never redirect requests for projects that match this pattern, nor look for updates of them: 'acme-*'; "
        "may be repeated.",
    )
    private_file: Path | None = setting(
        None, parse=types.path, flags=("--private-file",), metavar="FILE", group="Index",
        help="Read more patterns for --private from this file, one per line.",
    )
    hash_algo: str | None = setting(
        "sha256", parse=types.hash_algorithm, flags=("--hash-algo",), metavar="ALGO", group="Index", none_is_value=True,
        help="Put this hash into the fragment of links, any fixed-length hash of hashlib; off, no, false or 0 omit it.",
    )
    welcome: Path | types.Content | None = setting(
        None, parse=types.path_or_content, flags=("--welcome",), metavar="HTML_FILE", group="Index",
        aliases=("welcome_file", "welcome_msg"),
        help="Show this page at the root URL.",
    )
    title: str | None = setting(
        None, parse=types.title, flags=("--title",), metavar="TEXT", group="Index", default_text="pypiserver",
        help="Call the index so on its pages, in their titles and in the feed: 'Acme packages'.",
    )
    cache_control: int | None = setting(
        None, parse=types.whole_number(0), flags=("--cache-control",), metavar="AGE", unit="seconds", group="Index",
        help='Send "Cache-Control: public, max-age=AGE" with package files: clients and proxies keep them for AGE '
        "seconds and fail to install a file that is replaced meanwhile. By default they revalidate each time.",
    )
    accel: str = setting(
        "off", parse=types.one_of(ACCELS, "way"), flags=("--accel",), metavar="WAY", choices=ACCELS, group="Index",
        help="Let the reverse proxy send package files: nginx (X-Accel-Redirect), or sendfile (Apache's X-Sendfile).",
    )
    accel_location: str = setting(
        "/protected", parse=types.url_path, flags=("--accel-location",), metavar="PATH", group="Index",
        help="The internal nginx location that maps to the package files.",
    )
    downloads: str = setting(
        "auto", parse=types.one_of(DOWNLOADS, "way"), flags=("--downloads",), metavar="WAY", choices=DOWNLOADS,
        group="Index",
        help="How to send files of a bucket: redirect (to a signed URL of the bucket), stream (through this server) "
        "or accel (nginx fetches and caches them); auto is redirect.",
    )
    signed_url_ttl: int = setting(
        3600, parse=types.whole_number(60, 604_800), flags=("--signed-url-ttl",), metavar="SECONDS", unit="seconds",
        group="Index", help="Let signed URLs of a bucket expire after this many seconds.",
    )
    public_storage_endpoint: str | None = setting(
        None, parse=types.web_address, flags=("--public-storage-endpoint",), metavar="URL", group="Index",
        default_text="the one of AWS_ENDPOINT_URL",
        help="Redirect clients to the S3 store at this URL, if they cannot use the one this server uses.",
    )
    verbosity: int = setting(
        0, parse=types.whole_number(0), flags=("-v", "--verbose"), action="count", group="Logging",
        default_text="warnings, and a line for each request", aliases=("verbose",),
        help="Log more: -v what the server does, -vv debug messages, -vvv those of other libraries too.",
    )
    log_conf: Path | None = setting(
        None, parse=types.path, flags=("--log-conf",), metavar="FILE", group="Logging",
        default_text="log.conf in the working directory, if no other user can have put it there",
        help="Configure logging from this file, in the format of Python's logging.config.fileConfig.",
    )
    log_file: Path | None = setting(
        None, parse=types.path, flags=("--log-file",), metavar="FILE", group="Logging",
        help="Write the log to this file too.",
    )
    log_stream: str = setting(
        "stderr", parse=types.log_stream, flags=("--log-stream",), metavar="STREAM",
        choices=LOG_STREAMS, group="Logging", help="Write the log to stdout, stderr or none.",
    )
    log_format: str = setting(
        "text", parse=types.one_of(LOG_FORMATS, "log format"), flags=("--log-format",), metavar="FORMAT",
        choices=LOG_FORMATS, group="Logging", help="Write log lines as text, formatted by --log-frmt, or as JSON.",
    )
    access_log: bool = setting(
        True, parse=types.boolean, flags=("--access-log",), metavar="on|off", group="Logging", default_text="on",
        help="Log a line for each request: address, user, method and path, status, bytes, milliseconds.",
    )
    audit_log: Path | None = setting(
        None, parse=types.path, flags=("--audit-log",), metavar="FILE", group="Logging",
        help="Append a JSON line to this file for every upload, delete, yank and unyank; changes are refused while "
        "the file cannot be written.",
    )
    stats: Path | None = setting(
        None, parse=types.path, flags=("--stats",), metavar="FILE", group="Logging",
        help="Count downloads per day, project, version and client in this file; records no user and no address.",
    )
    log_frmt: str = setting(
        "%(asctime)s|%(name)s|%(levelname)s|%(thread)d|%(message)s", parse=types.record_format, flags=("--log-frmt",),
        metavar="FORMAT", group="Logging", help="Format string of log lines (fields of logging.LogRecord).",
    )
    log_req_frmt: str = setting(
        "%(bottle.request)s", parse=types.line_format, flags=("--log-req-frmt",), metavar="FORMAT", group="Logging",
        help="Format string of the line for a request; '%s' shows every property.",
    )
    log_res_frmt: str = setting(
        "%(status)s", parse=types.line_format, flags=("--log-res-frmt",), metavar="FORMAT", group="Logging",
        help="Format string of the line for a response; '%s' shows every property.",
    )
    log_err_frmt: str = setting(
        "%(body)s: %(exception)s \n%(traceback)s", parse=types.line_format, flags=("--log-err-frmt",),
        metavar="FORMAT", group="Logging", help="Format string of the line for an error; '%s' shows every property.",
    )
    roots_are_default: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        faults = list(_contradictions(self))
        if faults:
            raise ConfigError.of(faults)

    @classmethod
    def default_with_overrides(cls, **overrides: object) -> Config:
        """The settings of these keywords, like ``make_config``; the name 2.x has for it."""
        return make_config(**overrides)

    @property
    def htpasswd(self) -> Path | None:
        """The password file to read; None if none is set, and for ``-P .``."""
        return None if self.password_file == OPEN_TO_ALL else self.password_file

    @property
    def root_url(self) -> str:
        """The absolute URL of the server's root from ``server_base_url``; empty if that is unset or only a path."""
        return self.server_base_url if self.server_base_url and "://" in self.server_base_url else ""

    @property
    def root_path(self) -> str:
        """The URL path of the server's root from ``server_base_url``, with a slash at both ends."""
        return f"{urlsplit(self.server_base_url or '').path.rstrip('/')}/"

    @property
    def counts_metrics(self) -> bool:
        """Whether metrics are served, on the main or their own address."""
        return self.metrics or self.metrics_address is not None

    @property
    def believes_address(self) -> bool:
        """Whether proxy headers decide the server's own URL; clients must not be able to send them then."""
        return not {"host", "prefix"}.isdisjoint(self.forwarded_headers)

    @property
    def refused_to_everyone(self) -> frozenset[str]:
        """The protected actions that are refused to everyone, because no password file or ``auther`` is set."""
        return frozenset() if self.htpasswd or self.auther else self.authenticate

    @property
    def fallback_address(self) -> str | None:
        """The URL of the index to redirect to for unknown projects; None when redirects are off."""
        return (self.fallback_url or default_fallback_url()) if self.fallback else None



def _declared(each: Field[Any]) -> Setting:
    """The setting of a field, with its name and the text for its default."""
    declared: Setting = each.metadata["setting"]
    shown = each.default if isinstance(each.default, str | int) and not isinstance(each.default, bool) else ""
    default_text = declared.default_text or str(shown).replace("\n", "\\n")
    return replace(declared, name=each.name, default_text=default_text)


def default_of(name: str) -> object:
    """The default of a setting, as a value."""
    (found,) = [each for each in fields(Config) if each.name == name]
    return found.default if found.default_factory is MISSING else found.default_factory()


SETTINGS: Mapping[str, Setting] = {each.name: _declared(each) for each in fields(Config) if each.metadata}
SOURCES = Sources(SETTINGS, default_of)


def make_config(**keywords: object) -> Config:
    """The settings of ``pypiserver.app(**keywords)``, by their current or older names.

    Raises ``ConfigError`` for unknown names, for invalid values, and for an old and a new name of one setting together
    (unless one of them has the default value, as every name in ``default_config()`` has). ``None`` means the default,
    except for ``hash_algo``, where it means off; an empty string means the default where it is no valid value.
    """
    faults: list[Mistake] = []
    written = {name: Given(f"{name}=", value) for name, value in keywords.items()}
    return build(SOURCES.resolve_keywords(written, faults), faults)


def default_config(**overrides: object) -> dict[str, object]:
    """Every keyword with its default or the given value, as a mapping for ``pypiserver.app(**mapping)``."""
    config = make_config(**overrides)
    # A bucket replaces the folders; naming both is a mistake.
    left_out = {"roots"} if config.storage is not None else set()
    return {name: getattr(config, name) for name in SETTINGS if name not in left_out}


def from_paste(local_conf: Mapping[str, str]) -> Config:
    """The settings of a section of a paste file; each line of ``root`` is a folder. Raises ``ConfigError``."""
    faults: list[Mistake] = []
    given = SOURCES.resolve_keywords({name: Given(name, value) for name, value in local_conf.items()}, faults)
    return build({name: SOURCES.divided(name, each, types.lines) for name, each in given.items()}, faults)


def from_environ(environ: Mapping[str, str]) -> Config:
    """The settings of the ``PYPISERVER_<NAME>`` variables alone; raises ``ConfigError``."""
    return from_sources({}, environ)


def from_sources(
    flags: Mapping[str, Given], environ: Mapping[str, str], written: Mapping[str, Given] | None = None
) -> Config:
    """The settings of the command line (by setting name), over those of the environment, over those of a file.

    Raises ``ConfigError`` for unknown names and invalid values.
    """
    faults: list[Mistake] = []
    return build(SOURCES.gather(flags, environ, written or {}, faults), faults)


def build(given: Mapping[str, Given], faults: list[Mistake]) -> Config:
    """Parse values by setting name; raises one ``ConfigError`` for ``faults`` and every invalid value."""
    values: dict[str, object] = {}
    for name, each in given.items():
        declared = SETTINGS[name]
        if each.value is None and not declared.none_is_value:
            continue
        try:
            value = declared.parse(each.value)
        except ValueError as fault:
            faults.append(Mistake(f"{each.label}: {fault}.", "value", name, each.value, each.label))
        else:
            values[name] = not value if each.negate else value
    if faults:
        raise ConfigError.of(faults)
    are_default = "roots" not in values
    if are_default and values.get("storage") is not None:
        values["roots"] = ()
    return Config(**values, roots_are_default=are_default)  # type: ignore[arg-type]


def _contradictions(config: Config) -> Iterator[Mistake]:
    """Settings that contradict each other, each mistake under the setting to change."""
    for name, sentence in _contradicting(config):
        yield Mistake(sentence, "contradiction", name, getattr(config, name))


def _contradicting(config: Config) -> Iterator[tuple[str, str]]:
    if not config.authenticate and config.auther is None and config.password_file != OPEN_TO_ALL:
        wrong = (
            "'-a .' protects no action; add '-P .' to confirm it."
            if config.password_file is None
            else f"'-a .' protects no action, so the password file {str(config.password_file)!r} would never be used."
        )
        yield (
            "authenticate",
            f"{wrong} To open everything to everyone: -P . -a . To protect uploads: -P FILE -a update",
        )
    if config.max_header_size < 8192:
        yield "max_header_size", "--max-header-size must be at least 8K (8192 bytes); browsers send as much."
    if config.storage is not None and not config.roots_are_default:
        yield "storage", "--storage keeps the packages in a bucket instead of folders; remove DIR or --storage."
    if config.storage is None and config.downloads != "auto":
        yield "downloads", "--downloads needs --storage; for files in folders use --accel."
    if config.storage is not None and config.accel != "off":
        yield "accel", "--accel is for files in folders; for files in a bucket use --downloads."
    if config.public_storage_endpoint is not None and not (config.storage or "").startswith(("s3:", "s3a:")):
        sentence = "--public-storage-endpoint needs a --storage of S3 (s3://BUCKET); remove it."
        yield "public_storage_endpoint", sentence
    elif config.public_storage_endpoint is not None and config.downloads not in ("auto", "redirect"):
        sentence = "--public-storage-endpoint is only used by --downloads redirect; remove it, or change --downloads."
        yield "public_storage_endpoint", sentence
    if config.believes_address and config.server not in ("auto", *TELLS_NAMES_APART):
        yield (
            "forwarded_headers",
            f"--forwarded-headers host or prefix is unsafe with --server {config.server}, which takes a client's "
            f"X_Forwarded_Host for X-Forwarded-Host; use --server {' or '.join(TELLS_NAMES_APART)}, or "
            "--server-base-url.",
        )
    if (config.certificate is None) != (config.key is None):
        yield "certificate", "--certificate and --key need each other; pass both, or neither."
    if config.stats and config.catalog and os.path.realpath(config.stats) == os.path.realpath(config.catalog):
        yield "stats", "--stats and --catalog need a file each, because the catalog may be deleted; name another one."
