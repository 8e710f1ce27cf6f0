"""Every setting once: name, default, flag, parser, unit, help text and the names it had before.

The fields of ``Config`` are the only table. The command line, ``app(**keywords)``, ``PYPISERVER_<NAME>`` variables,
paste files, completion and the reference documentation are loops over it. Faults are collected, so that one
``ConfigError`` names all of them. Nothing here opens a file; settings end at ``factory``.
"""

# ruff: noqa: RUF009 - setting() is dataclasses.field with typed metadata
# The table is read best with a setting in few lines, so this file is laid out by hand.
# fmt: off

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import ConfigError, Mistake
from . import parsers as types
from .parsers import hinting, nearest
from .setting import Setting, setting

# bottle's adapters (bottle.server_names of 0.13) after the ones we set up ourselves.
SERVER_NAMES = (
    "auto", "granian", "waitress", "aiohttp", "bjoern", "cgi", "cheroot", "cherrypy", "diesel", "eventlet", "fapws3",
    "flup", "gae", "gevent", "gunicorn", "meinheld", "paste", "tornado", "twisted", "uvloop", "wsgiref",
)
# Those that drop headers with an underscore in their name, which WSGI cannot tell from those with a hyphen.
TELLS_NAMES_APART = ("waitress", "gunicorn")
ACCELS = ("off", "nginx", "sendfile")
DOWNLOADS = ("auto", "redirect", "stream", "accel")
BACKENDS = ("auto", "simple-dir", "cached-dir")
LOG_STREAMS = types.LOG_STREAMS
LOG_FORMATS = ("text", "json")
GROUPS = ("Folders", "Server", "Access", "Index", "Logging")
ENVIRON_PREFIX = "PYPISERVER_"
# What a server is told when it starts, and cannot be told again while it runs.
FIXED_AT_START = (
    "host", "port", "server", "workers", "threads", "certificate", "key", "max_upload_size", "metrics",
    "metrics_address", "drain_seconds", "forwarded_headers", "pid_file",
)
OPEN_TO_ALL = Path()  # '-P .': there is no password file, on purpose

_IGNORED = ("VERSION",)  # 1.x had it among its defaults
# Kubernetes tells every container the address of a service called "pypiserver" in PYPISERVER_PORT.
_FOREIGN_VALUE = re.compile(r"(tcp|udp|sctp)://")


def default_roots() -> tuple[Path, ...]:
    """``~/packages``; raises ``ConfigError`` when there is no home folder."""
    try:
        return types.paths("~/packages")
    except ValueError as fault:
        raise ConfigError(f"No folder was given, and the default {fault}.", kind="missing", setting="roots") from None


def default_fallback_url() -> str:
    """The simple page of the public index, as pip knows it; the only place that asks."""
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        message = "pip is not installed, so the public index is not known; give --fallback-url."
        raise ConfigError(message, kind="missing", setting="fallback_url") from None
    return f"{PyPI.simple_url}/"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, parsed. Sizes are bytes, times seconds; ``None`` is what the help text says about the default.

    Raises ``ConfigError`` when settings contradict each other. ``roots_are_default`` is true when nobody named a
    folder; only then may the folder be created. There are no roots where there is a ``storage``.
    """

    roots: tuple[Path, ...] = setting(
        factory=default_roots, parse=types.paths, flags=("-r", "--root"), metavar="DIR", action="repeat",
        group="Folders", default_text="~/packages", aliases=("root",),
        help="Serve the packages in this folder; the same as naming it without a flag. The first folder gets uploads.",
    )
    storage: str | None = setting(
        None, parse=types.bucket_address, flags=("--storage",), metavar="URL", group="Folders", aliases=("store_url",),
        help="Keep the packages in this bucket instead of folders: s3://BUCKET/PREFIX, gs://... or az://...; needs "
        "pypiserver[objectstore]. Credentials and endpoint are those of AWS_*, GOOGLE_* and AZURE_*.",
    )
    overwrite: bool = setting(
        False, parse=types.boolean, flags=("-o", "--overwrite"), action="switch", group="Folders",
        help="Allow uploads to replace existing files.",
    )
    max_upload_size: int = setting(
        4 << 30, parse=types.size, flags=("--max-upload-size",), metavar="SIZE", unit="bytes", group="Folders",
        default_text="4G", help="Refuse larger uploads; a number of bytes, or one with K, M, G or T.",
    )
    max_form_size: int = setting(
        16 << 20, parse=types.size, flags=("--max-form-size",), metavar="SIZE", unit="bytes", group="Folders",
        default_text="16M", help="Refuse uploads with more than this besides the file.",
    )
    catalog: Path | str | None = setting(
        None, parse=types.catalog_place, flags=("--catalog",), metavar="FILE", group="Folders",
        default_text="a file in the user's cache folder",
        help="Keep what is known about the packages in this file, which can be deleted at any time, or in a database "
        "that several servers share: postgresql://USER@HOST/DATABASE; needs pypiserver[postgres].",
    )
    stale_for: int = setting(
        300, parse=types.whole_number(0, 86_400), flags=("--stale-for",), metavar="SECONDS", unit="seconds",
        group="Folders", help="Go on with pages as they were for so long when the database of --catalog fails.",
    )
    backend: str = setting(
        "auto", parse=types.one_of(BACKENDS, "backend"), flags=("--backend",), metavar="BACKEND", choices=BACKENDS,
        group="Folders", aliases=("backend_arg",),
        help="Accepted for compatibility; answers are the same with each of them.",
    )
    host: str = setting(
        "0.0.0.0", parse=types.host, flags=("-i", "--interface", "-H", "--host"), metavar="HOST",  # noqa: S104
        group="Server", aliases=("interface",), help="Listen on this address; 0.0.0.0 is every IPv4 interface.",
    )
    port: int = setting(
        8080, parse=types.whole_number(0, 65535), flags=("-p", "--port"), metavar="PORT", group="Server",
        help="Listen on this port; 0 takes any free one.",
    )
    server: str = setting(
        "auto", parse=types.one_of(SERVER_NAMES, "server"), flags=("--server",), metavar="METHOD", group="Server",
        choices=SERVER_NAMES, aliases=("server_method",),
        help="Run this web server; auto is granian, or waitress where granian is not installed.",
    )
    workers: int = setting(
        1, parse=types.whole_number(1, 1024), flags=("--workers",), metavar="N", group="Server",
        help="Serve with this many processes, where the server can.",
    )
    threads: int | None = setting(
        None, parse=types.whole_number_or_auto, flags=("--threads",), metavar="N", group="Server", default_text="auto",
        help="Answer this many requests at once in each process.",
    )
    max_connections: int = setting(
        1500, parse=types.whole_number(1, 1_000_000), flags=("--max-connections",), metavar="N", group="Server",
        help="Keep at most this many connections open in each process.",
    )
    max_uploads: int = setting(
        80, parse=types.whole_number(1, 100_000), flags=("--max-uploads",), metavar="N", group="Server",
        help="Receive at most this many uploads at once in each process, and with at most half of --threads; "
        "others are told to try again.",
    )
    max_header_size: int = setting(
        1 << 16, parse=types.size, flags=("--max-header-size",), metavar="SIZE", unit="bytes", group="Server",
        default_text="64K", help="Refuse requests with larger headers; at least 8K.",
    )
    max_search_size: int = setting(
        1 << 20, parse=types.size, flags=("--max-search-size",), metavar="SIZE", unit="bytes", group="Server",
        default_text="1M", help="Refuse larger searches (XML-RPC).",
    )
    stall_timeout: int = setting(
        60, parse=types.whole_number(1, 86_400), flags=("--stall-timeout",), metavar="SECONDS", unit="seconds",
        group="Server", help="End connections on which next to nothing moves for so long.",
    )
    drain_seconds: int = setting(
        0, parse=types.whole_number(0, 86_400), flags=("--drain-seconds",), metavar="N", unit="seconds",
        group="Server",
        help="After SIGTERM say for so long that the server is not ready, and go on serving, before it ends.",
    )
    pid_file: Path | None = setting(
        None, parse=types.path, flags=("--pid-file",), metavar="FILE", group="Server",
        help="Keep the number of the server's process in this file while it runs.",
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
        help="The address clients use, where it cannot be seen from the request, or its path alone: /PREFIX/. Requests "
        "are answered with that path in front and without.",
    )
    trusted_proxy: tuple[types.Network, ...] = setting(
        types.networks("127.0.0.0/8,::1/128"), parse=types.networks, flags=("--trusted-proxy",), metavar="ADDRESS",
        action="repeat", group="Server", default_text="loopback", aliases=("trusted_proxies",), split=types.words,
        help="Believe forwarding headers from these addresses or networks; may be repeated; 'none' believes nobody.",
    )
    forwarded_headers: tuple[str, ...] = setting(
        ("proto", "for"), parse=types.forwarding_headers, flags=("--forwarded-headers",), metavar="NAMES",
        choices=types.FORWARDING, group="Server", default_text="proto,for", split=types.words,
        help="Believe these headers of trusted proxies, with commas between them: proto, for, host, prefix (of "
        "X-Forwarded), forwarded (RFC 7239), or none. Name only those that your proxy sets in every request.",
    )
    health_endpoint: str = setting(
        "/health", parse=types.url_path, flags=("--health-endpoint",), metavar="PATH", group="Server",
        help="Answer health checks at this path; below it are live and ready.",
    )
    metrics: bool = setting(
        False, parse=types.boolean, flags=("--metrics",), action="switch", group="Server",
        help="Serve metrics for Prometheus at /metrics, to those who may list; needs pypiserver[metrics].",
    )
    metrics_address: tuple[str, int] | None = setting(
        None, parse=types.address, flags=("--metrics-address",), metavar="HOST:PORT", group="Server",
        help="Serve the metrics at this address instead, to whoever can reach it.",
    )
    authenticate: frozenset[str] = setting(
        frozenset({"update"}), parse=types.actions, flags=("-a", "--authenticate"), metavar="ACTIONS", action="repeat",
        group="Access", choices=types.ACTIONS, default_text="update", aliases=("authenticated",), split=types.words,
        help="Ask for a password for these actions: update, download, list, with commas between them. "
        "Open everything to everybody with: -P . -a .",
    )
    password_file: Path | None = setting(
        None, parse=types.path, flags=("-P", "--passwords"), metavar="FILE", group="Access", aliases=("passwords",),
        help="Users and passwords, in the form of Apache's htpasswd (see pypi-server passwd). "
        "Without it, protected actions are refused to everyone. Open everything to everybody with: -P . -a .",
    )
    max_logins: int | None = setting(
        None, parse=types.whole_number_or_auto, flags=("--max-logins",), metavar="N", group="Access",
        default_text="one for each processor",
        help="Check at most this many passwords with slow hashes at once; others wait, at most five seconds.",
    )
    allow_origin: tuple[str, ...] = setting(
        (), parse=types.origins, flags=("--allow-origin",), metavar="ORIGIN", action="repeat", group="Access",
        split=types.words,
        help="Let pages of this origin read pages and files here in a browser (CORS), such as a notebook that installs "
        "with micropip: https://notebooks.example; may be repeated; '*' is every origin.",
    )
    auther: Callable[[str, str], bool] | None = setting(
        None, parse=types.login_check, group="Access",
        help="From Python only: a function of user and password that tells whether they are right.",
    )
    fallback: bool = setting(
        True, parse=types.boolean, flags=("--disable-fallback",), action="off", group="Index",
        aliases=("redirect_to_fallback",), opposites=("disable_fallback",),
        help="Do not redirect to the public index for projects that are not here.",
    )
    fallback_url: str | None = setting(
        None, parse=types.web_address, flags=("--fallback-url",), metavar="URL", group="Index",
        default_text="the public index",
        help="Redirect to this index for projects that are not here.",
    )
    private: tuple[str, ...] = setting(
        (), parse=types.patterns, flags=("--private",), metavar="PATTERN", action="repeat", group="Index",
        split=types.words,
        help="Never redirect for projects with such names, nor ask for updates of them: 'acme-*'; may be repeated.",
    )
    private_file: Path | None = setting(
        None, parse=types.path, flags=("--private-file",), metavar="FILE", group="Index",
        help="Read more such patterns from this file, one on each line.",
    )
    hash_algo: str | None = setting(
        "sha256", parse=types.hash_algorithm, flags=("--hash-algo",), metavar="ALGO", group="Index", none_is_value=True,
        help="The hash in the fragment of links, any fixed-length one of hashlib; off, no, false or 0 leave it out.",
    )
    welcome: Path | types.Content | None = setting(
        None, parse=types.path_or_content, flags=("--welcome",), metavar="HTML_FILE", group="Index",
        aliases=("welcome_file", "welcome_msg"),
        help="Show this page at the root address.",
    )
    title: str | None = setting(
        None, parse=types.title, flags=("--title",), metavar="TEXT", group="Index", default_text="pypiserver",
        help="Call the index so on its pages, in their titles and in the feed: 'Acme packages'.",
    )
    cache_control: int | None = setting(
        None, parse=types.whole_number(0), flags=("--cache-control",), metavar="AGE", unit="seconds", group="Index",
        help='Send "Cache-Control: public, max-age=AGE" with package files: clients and proxies keep them for AGE '
        "seconds without asking, and cannot install a file that changes meanwhile. By default they ask each time.",
    )
    accel: str = setting(
        "off", parse=types.one_of(ACCELS, "way"), flags=("--accel",), metavar="WAY", choices=ACCELS, group="Index",
        help="Let the proxy in front send package files: nginx (X-Accel-Redirect), or sendfile (X-Sendfile of Apache).",
    )
    accel_location: str = setting(
        "/protected", parse=types.url_path, flags=("--accel-location",), metavar="PATH", group="Index",
        help="The internal location of nginx below which the files' own paths follow.",
    )
    downloads: str = setting(
        "auto", parse=types.one_of(DOWNLOADS, "way"), flags=("--downloads",), metavar="WAY", choices=DOWNLOADS,
        group="Index",
        help="How files of a bucket are sent: redirect (to a signed address of the bucket), stream (through this "
        "server) or accel (nginx fetches and keeps them); auto is redirect.",
    )
    signed_url_ttl: int = setting(
        3600, parse=types.whole_number(60, 604_800), flags=("--signed-url-ttl",), metavar="SECONDS", unit="seconds",
        group="Index", help="How long a signed address of a bucket can be used.",
    )
    public_storage_endpoint: str | None = setting(
        None, parse=types.web_address, flags=("--public-storage-endpoint",), metavar="URL", group="Index",
        default_text="the one of AWS_ENDPOINT_URL",
        help="Send clients to the S3 store at this address, where it is not the one this server reaches it at.",
    )
    verbosity: int = setting(
        0, parse=types.whole_number(0), flags=("-v", "--verbose"), action="count", group="Logging",
        default_text="warnings only", aliases=("verbose",),
        help="Log more: requests, with -vv debugging, with -vvv other libraries too.",
    )
    log_conf: Path | None = setting(
        None, parse=types.path, flags=("--log-conf",), metavar="FILE", group="Logging",
        default_text="log.conf in the working directory, if it exists and no one else can have put it there",
        help="Set up logging from this file, in the form of Python's logging.config.fileConfig.",
    )
    log_file: Path | None = setting(
        None, parse=types.path, flags=("--log-file",), metavar="FILE", group="Logging",
        help="Write the log to this file as well.",
    )
    log_stream: str = setting(
        "stderr", parse=types.log_stream, flags=("--log-stream",), metavar="STREAM",
        choices=LOG_STREAMS, group="Logging", help="Write the log to stdout, stderr or none.",
    )
    log_format: str = setting(
        "text", parse=types.one_of(LOG_FORMATS, "log format"), flags=("--log-format",), metavar="FORMAT",
        choices=LOG_FORMATS, group="Logging", help="Write log lines as text, in the form of --log-frmt, or as json.",
    )
    access_log: bool = setting(
        True, parse=types.boolean, flags=("--access-log",), metavar="on|off", group="Logging", default_text="on",
        help="Write a line about each request: address, user, method and path, status, bytes, milliseconds.",
    )
    audit_log: Path | None = setting(
        None, parse=types.path, flags=("--audit-log",), metavar="FILE", group="Logging",
        help="Append a JSON line to this file for every upload, delete, yank and unyank; none is done without it.",
    )
    stats: Path | None = setting(
        None, parse=types.path, flags=("--stats",), metavar="FILE", group="Logging",
        help="Count downloads per day, project, version and client in this file; nobody is recorded.",
    )
    log_frmt: str = setting(
        "%(asctime)s|%(name)s|%(levelname)s|%(thread)d|%(message)s", parse=types.record_format, flags=("--log-frmt",),
        metavar="FORMAT", group="Logging", help="Format-string of log lines (fields of logging.LogRecord).",
    )
    log_req_frmt: str = setting(
        "%(bottle.request)s", parse=types.line_format, flags=("--log-req-frmt",), metavar="FORMAT", group="Logging",
        help="Format-string of the line for a request; '%s' shows every property.",
    )
    log_res_frmt: str = setting(
        "%(status)s", parse=types.line_format, flags=("--log-res-frmt",), metavar="FORMAT", group="Logging",
        help="Format-string of the line for a response; '%s' shows every property.",
    )
    log_err_frmt: str = setting(
        "%(body)s: %(exception)s \n%(traceback)s", parse=types.line_format, flags=("--log-err-frmt",),
        metavar="FORMAT", group="Logging", help="Format-string of the line for an error; '%s' shows every property.",
    )
    roots_are_default: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        faults = list(_contradictions(self))
        if faults:
            raise ConfigError.of(faults)

    @classmethod
    def default_with_overrides(cls, **overrides: object) -> Config:
        """The settings of these keywords, as ``make_config`` gives them; what 2.x calls it."""
        return make_config(**overrides)

    @property
    def htpasswd(self) -> Path | None:
        """The password file to read; None without one, and for ``-P .``."""
        return None if self.password_file == OPEN_TO_ALL else self.password_file

    @property
    def root_url(self) -> str:
        """Our root as ``server_base_url`` gives it; empty where requests tell the host."""
        return self.server_base_url if self.server_base_url and "://" in self.server_base_url else ""

    @property
    def root_path(self) -> str:
        """The path of our root as ``server_base_url`` gives it, as it is in a URL, with a slash at both ends."""
        return f"{urlsplit(self.server_base_url or '').path.rstrip('/')}/"

    @property
    def counts_metrics(self) -> bool:
        """Whether there are metrics at all."""
        return self.metrics or self.metrics_address is not None

    @property
    def believes_address(self) -> bool:
        """Whether a header of a proxy may say at which address we are; no client may write that header then."""
        return not {"host", "prefix"}.isdisjoint(self.forwarded_headers)

    @property
    def refused_to_everyone(self) -> frozenset[str]:
        """The protected actions nobody can do, because there is nothing to check a password with."""
        return frozenset() if self.htpasswd or self.auther else self.authenticate

    @property
    def fallback_address(self) -> str | None:
        """The index to redirect to for unknown projects; None when that is switched off."""
        return (self.fallback_url or default_fallback_url()) if self.fallback else None



def _declared(each: Field[Any]) -> Setting:
    """The setting of a field, with its name, and its default as the help shows it."""
    declared: Setting = each.metadata["setting"]
    shown = each.default if isinstance(each.default, str | int) and not isinstance(each.default, bool) else ""
    default_text = declared.default_text or str(shown).replace("\n", "\\n")
    return replace(declared, name=each.name, default_text=default_text)


SETTINGS: Mapping[str, Setting] = {each.name: _declared(each) for each in fields(Config) if each.metadata}
_KEYWORDS: Mapping[str, Setting] = {
    keyword: each for each in SETTINGS.values() for keyword in (each.name, *each.aliases, *each.opposites)
}


class Given(NamedTuple):
    """A value as somebody wrote it.

    ``label`` is the flag, variable or keyword, ``negate`` says that it means the opposite, and ``source`` is where it
    was written when that is a file.
    """

    label: str
    value: object
    negate: bool = False
    source: str = ""


def declared(keyword: str) -> Setting | None:
    """The setting of that name, of today or yesterday."""
    return _KEYWORDS.get(keyword)


def make_config(**keywords: object) -> Config:
    """The settings of ``pypiserver.app(**keywords)``, by the names of today or yesterday.

    Raises ``ConfigError`` for unknown names, for an old and a new name of one setting together (unless one says what is
    the default anyway, as every name in ``default_config()`` does), and for values that cannot be used. ``None`` means
    the default, except for ``hash_algo``, where it means off; so does an empty text that means nothing else.
    """
    faults: list[Mistake] = []
    written = {name: Given(f"{name}=", value) for name, value in keywords.items()}
    return build(_resolve_keywords(written, faults), faults)


def default_config(**overrides: object) -> dict[str, object]:
    """Every keyword with its default or the given value, as a mapping for ``pypiserver.app(**mapping)``."""
    config = make_config(**overrides)
    # A bucket takes the place of folders, and nobody may name both.
    left_out = {"roots"} if config.storage is not None else set()
    return {name: getattr(config, name) for name in SETTINGS if name not in left_out}


def from_paste(local_conf: Mapping[str, str]) -> Config:
    """The settings of a paste section; folders are divided at line ends."""
    faults: list[Mistake] = []
    given = _resolve_keywords({name: Given(name, value) for name, value in local_conf.items()}, faults)
    return build({name: _divided(name, each, types.lines) for name, each in given.items()}, faults)


def from_environ(environ: Mapping[str, str]) -> Config:
    """The settings of the ``PYPISERVER_<NAME>`` variables alone."""
    return from_sources({}, environ)


def from_sources(
    flags: Mapping[str, Given], environ: Mapping[str, str], written: Mapping[str, Given] | None = None
) -> Config:
    """The settings of a command line (by setting name), then of the environment, then of a file (as it names them).

    Raises ``ConfigError`` for values that cannot be used.
    """
    faults: list[Mistake] = []
    return build(gather(flags, environ, written or {}, faults), faults)


def gather(
    flags: Mapping[str, Given], environ: Mapping[str, str], file: Mapping[str, Given], faults: list[Mistake]
) -> dict[str, Given]:
    """What is given for each setting, by the source that wins: flag, variable, file; an empty variable counts as unset.

    A variable that looks like a misspelled setting is a fault; in a file, every name that is no setting is one.
    ``PYPISERVER_<NAME>_FILE`` names a file with the value, as secrets are handed to containers.
    """
    written: dict[str, Given] = {}
    for variable, value in environ.items():
        name = variable[len(ENVIRON_PREFIX) :].lower()
        if not variable.startswith(ENVIRON_PREFIX) or not value:
            continue
        if name in _KEYWORDS and not _FOREIGN_VALUE.match(value):
            written[name] = Given(variable, value)
        elif name not in _KEYWORDS and name.removesuffix("_file") in _KEYWORDS:
            _read_value(Given(variable, value), environ, written, faults)
        elif name not in (*_KEYWORDS, "config") and (meant := nearest(name.upper(), map(str.upper, _KEYWORDS), 0.8)):
            sentence = f"{variable}: there is no such setting{hinting(meant)}"
            faults.append(Mistake(sentence, "unknown", name, value, variable, meant))
    variables = {name: _divided(name, each) for name, each in _resolve(written, faults).items()}
    return {**_resolve(file, faults), **variables, **flags}


def _read_value(each: Given, environ: Mapping[str, str], written: dict[str, Given], faults: list[Mistake]) -> None:
    """Put the value that is in the file of ``<variable>_FILE`` where that of the variable would stand."""
    variable = each.label.removesuffix("_FILE")
    if environ.get(variable):
        faults.append(_twice(variable[len(ENVIRON_PREFIX) :].lower(), each, variable))
        return
    try:
        value = Path(str(each.value)).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        words = getattr(error, "strerror", None) or "it is no text"
        sentence = f"{each.label}: the file {each.value} cannot be read ({words})."
        name = variable[len(ENVIRON_PREFIX) :].lower()
        faults.append(Mistake(sentence, "unreadable", name, each.value, each.label))
        return
    written[variable[len(ENVIRON_PREFIX) :].lower()] = Given(each.label, value)


def build(given: Mapping[str, Given], faults: list[Mistake]) -> Config:
    """Parse values by setting name; raises one ``ConfigError`` for these faults and all that come to light here."""
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


def _resolve_keywords(written: Mapping[str, Given], faults: list[Mistake]) -> dict[str, Given]:
    """Values by setting name, from keywords as 1.x and 2.x took them too.

    What says the default gives way to another name of the same setting, and folders of which this is true to a bucket.
    """
    used: dict[str, Given] = {}
    for keyword, each in written.items():
        if keyword == "welcome_msg" and isinstance(each.value, str):
            used[keyword] = each._replace(value=types.Content(each.value) if each.value else None)
        elif keyword not in _IGNORED:
            used[keyword] = each._replace(value=None) if _is_left_empty(keyword, each) else each
    names = [_KEYWORDS[keyword].name for keyword in used if keyword in _KEYWORDS]
    has_bucket = any(each in used and used[each].value is not None for each in ("storage", "store_url"))
    repeated = {name for name in names if names.count(name) > 1} | ({"roots"} if has_bucket else set())
    weak = [keyword for keyword, each in used.items() if _says_default(keyword, each, repeated)]
    first = {keyword: used.pop(keyword) for keyword in weak}
    if has_bucket:
        first = {keyword: each for keyword, each in first.items() if _KEYWORDS[keyword].name != "roots"}
    return _resolve({**first, **used}, faults, weak)


def _is_left_empty(keyword: str, given: Given) -> bool:
    """Whether a text is empty and means nothing; what is served and who may do what is never left open so."""
    declared = _KEYWORDS.get(keyword)
    if declared is None or given.value != "" or declared.name in ("roots", "authenticate"):
        return False
    try:
        declared.parse("")
    except ValueError:
        return True
    return False


def _says_default(keyword: str, given: Given, repeated: Collection[str]) -> bool:
    """Whether this is one of several values of a setting, and the default."""
    declared = _KEYWORDS.get(keyword)
    if declared is None or declared.name not in repeated:
        return False
    if given.value is None and not declared.none_is_value:
        return True
    try:
        value = declared.parse(given.value)
        return bool((not value if keyword in declared.opposites else value) == _default_of(declared.name))
    except (ValueError, ConfigError):
        return False


def _default_of(name: str) -> object:
    (found,) = [each for each in fields(Config) if each.name == name]
    return found.default if found.default_factory is MISSING else found.default_factory()


def _resolve(written: Mapping[str, Given], faults: list[Mistake], weak: Collection[str] = ()) -> dict[str, Given]:
    """Values by setting name, from keywords of today and yesterday; the ``weak`` ones give way to others."""
    given: dict[str, Given] = {}
    for keyword, each in written.items():
        declared = _KEYWORDS.get(keyword)
        if declared is None:
            meant = nearest(keyword, _KEYWORDS)
            sentence = f"{each.label}: there is no such setting{hinting(meant)}"
            faults.append(Mistake(sentence, "unknown", keyword, each.value, each.label, meant))
        elif declared.name in given and given[declared.name].label.removesuffix("=") not in weak:
            faults.append(_twice(declared.name, each, given[declared.name].label))
        else:
            given[declared.name] = each._replace(negate=keyword in declared.opposites)
    return given


def _twice(name: str, given: Given, other: str) -> Mistake:
    """A value of a setting that ``other`` gives already."""
    sentence = f"{given.label}: the same setting as {other}; give only one of them."
    return Mistake(sentence, "twice", name, given.value, given.label)


def _divided(name: str, given: Given, folders: Callable[[str], list[str]] = types.path_list) -> Given:
    """The values in one text, for settings that take several."""
    split = folders if name == "roots" else SETTINGS[name].split
    return given if split is None else given._replace(value=split(str(given.value)))


def _contradictions(config: Config) -> Iterator[Mistake]:
    """What does not go together, each under the setting that has to change."""
    for name, sentence in _contradicting(config):
        yield Mistake(sentence, "contradiction", name, getattr(config, name))


def _contradicting(config: Config) -> Iterator[tuple[str, str]]:
    if not config.authenticate and config.auther is None and config.password_file != OPEN_TO_ALL:
        wrong = (
            "'-a .' protects no action; '-P .' must stand beside it, to say that this is meant."
            if config.password_file is None
            else f"'-a .' protects no action, so the password file {str(config.password_file)!r} would never be used."
        )
        yield (
            "authenticate",
            f"{wrong} To open everything to everybody: -P . -a . To protect uploads: -P FILE -a update",
        )
    if config.max_header_size < 8192:
        yield "max_header_size", "--max-header-size: at least 8K (8192 bytes) are needed; browsers send as much."
    if config.storage is not None and not config.roots_are_default:
        yield "storage", "--storage: a bucket takes the place of folders; name no DIR, or leave --storage out."
    if config.storage is None and config.downloads != "auto":
        yield "downloads", "--downloads belongs to --storage; how files of folders are sent is said by --accel."
    if config.storage is not None and config.accel != "off":
        yield "accel", "--accel belongs to folders; how files of a bucket are sent is said by --downloads."
    if config.public_storage_endpoint is not None and not (config.storage or "").startswith(("s3:", "s3a:")):
        sentence = "--public-storage-endpoint belongs to a --storage of S3 (s3://BUCKET); leave it out."
        yield "public_storage_endpoint", sentence
    elif config.public_storage_endpoint is not None and config.downloads not in ("auto", "redirect"):
        sentence = "--public-storage-endpoint is where --downloads redirect sends clients; leave one of them out."
        yield "public_storage_endpoint", sentence
    if config.believes_address and config.server not in ("auto", *TELLS_NAMES_APART):
        yield (
            "forwarded_headers",
            f"--forwarded-headers host or prefix: --server {config.server} takes X_Forwarded_Host of a client for "
            f"X-Forwarded-Host; use --server {' or '.join(TELLS_NAMES_APART)}, or --server-base-url in its place.",
        )
    if (config.certificate is None) != (config.key is None):
        yield "certificate", "--certificate and --key belong together; give both, or neither."
