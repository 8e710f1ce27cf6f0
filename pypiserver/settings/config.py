"""The value of all settings: the rows of ``*_settings`` together, read from what is given.

**Invariants:** the fields of ``Config`` are the only table; the command line, ``app(**keywords)``,
``PYPISERVER_<NAME>`` variables, paste files, completion and the reference documentation are loops over it, and
``sources`` merges what they give. One ``ConfigError`` names every mistake. Settings end at ``factory``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError, Mistake
from . import parsers
from .access_settings import AccessSettings
from .folder_settings import FolderSettings
from .index_settings import IndexSettings
from .logging_settings import LoggingSettings
from .proxy_settings import ASKING, ProxySettings
from .server_settings import ServerSettings
from .setting import Setting
from .sources import Given, Sources

# Servers that drop headers with an underscore in the name; WSGI cannot tell them from headers with a hyphen.
TELLS_NAMES_APART = ("waitress", "gunicorn", "granian") if sys.platform == "linux" else ("waitress", "gunicorn")
GROUPS = ("Folders", "Server", "Access", "Index", "Fallback", "Logging")
# A running server cannot change these; a reload refuses to.
FIXED_AT_START = (
    *("host", "port", "server", "workers", "threads", "certificate", "key", "max_upload_size", "metrics"),
    *("metrics_address", "drain_seconds", "forwarded_headers", "pid_file"),
)
# The words of -a, and the actions of a rights file that they protect.
_IN_RIGHTS_FILE = {"list": "list", "download": "download", "update": "upload,delete,yank"}
OPEN_TO_ALL = Path()  # '-P .': no password file, on purpose


def default_fallback_url() -> str:
    """The URL of the public index's simple page, taken from pip; raises ``ConfigError`` when pip is not installed."""
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        message = "pip is not installed, so the address of the public index is unknown; pass --fallback-url."
        raise ConfigError(message, kind="missing", setting="fallback_url") from None
    return f"{PyPI.simple_url}/"


# The fields of the last base come first.
@dataclass(frozen=True)
class Config(LoggingSettings, ProxySettings, IndexSettings, AccessSettings, ServerSettings, FolderSettings):
    """All settings, parsed. Sizes are bytes, times seconds; the help text says what ``None`` means.

    Raises ``ConfigError`` when settings contradict each other. ``roots_are_default`` is true when no folder was given;
    only then may the folder be created. ``roots`` is empty when ``storage`` is set.
    """

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
        """The protected actions that are refused to everyone, because nothing is set that checks logins."""
        checks = (self.htpasswd, self.tokens, self.auther, self.auth, self.rights)
        return frozenset() if any(checks) else self.authenticate

    @property
    def mode(self) -> str:
        """What happens to requests for unknown projects: ``redirect``, ``proxy``, ``cache`` or ``off``."""
        return self.fallback_mode if self.fallback else "off"

    @property
    def asks_others(self) -> bool:
        """Whether this server itself asks other indexes."""
        return self.mode in ASKING

    @property
    def fallback_address(self) -> str | None:
        """The URL of the index for unknown projects; None when they are not found."""
        return (self.fallback_url or default_fallback_url()) if self.mode != "off" else None


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
    return build({name: SOURCES.divided(name, each, parsers.lines) for name, each in given.items()}, faults)


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
    if values.get("rights") is not None and "authenticate" in given and "authenticate" in values:
        each = given["authenticate"]
        # Keywords of default_config() say the default too.
        if values["authenticate"] == default_of("authenticate") and not each.label.endswith("="):
            sentence = _in_rights_file(frozenset({"update"}), None)
            faults.append(Mistake(sentence, "contradiction", "authenticate", each.value, each.label))
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


def _in_rights_file(protected: frozenset[str], actions: str | None) -> str:
    """What to write into the rights file in place of -a, or of a flag that means these ``actions``."""
    logged_in = [action for word, action in _IN_RIGHTS_FILE.items() if word in protected]
    everyone = [action for word, action in _IN_RIGHTS_FILE.items() if word not in protected]
    if actions is not None:
        who = "authenticated" if "update" in protected else "everyone"
        return f"-o and --rights exclude each other; remove -o, and write into the file: '{who} {actions} *'."
    lines = [("authenticated", logged_in), ("everyone", everyone)]
    said = " and ".join(f"'{who} {','.join(words)} *'" for who, words in lines if words)
    return f"-a and --rights exclude each other; remove -a, and write into the file: {said}."


def _against_rights(config: Config) -> Iterator[tuple[str, str]]:
    if config.authenticate != default_of("authenticate"):
        yield "authenticate", _in_rights_file(config.authenticate, None)
    if config.overwrite:
        yield "overwrite", _in_rights_file(config.authenticate, "overwrite")


# These are about what this server asks other indexes for; without a proxy, clients ask them themselves.
_NEED_A_PROXY = {
    "offline": "--offline",
    "merge": "--merge",
    "known_names": "--known-names",
    "min_age": "--min-age",
    "not_after": "--not-after",
    "allow": "--allow",
    "allow_projects": "--allow-projects",
    "deny_projects": "--deny-projects",
    "upstream": "[[upstream]]",
}


def _about_others(config: Config) -> Iterator[tuple[str, str]]:
    if not config.fallback and config.fallback_mode in ASKING:
        yield (
            "fallback",
            f"--disable-fallback and --fallback-mode {config.fallback_mode} exclude each other; remove one.",
        )
    elif not config.asks_others:
        does = "sends clients to the other index themselves" if config.mode == "redirect" else "asks no other index"
        for name, flag in _NEED_A_PROXY.items():
            if getattr(config, name) not in (None, (), False):
                yield name, f"{flag} needs --fallback-mode proxy or cache; --fallback-mode {config.mode} {does}."
    elif config.mode == "proxy" and config.offline:
        yield "offline", "--offline needs --fallback-mode cache; with proxy no file is kept."
    if config.allow is not None and config.asks_others and not _withholds(config):
        yield "allow", "--allow has exceptions from --min-age and --not-after; pass one of them, or remove --allow."


def _withholds(config: Config) -> bool:
    """Whether some files are withheld because of their age."""
    return config.min_age is not None or config.not_after is not None or any(each.min_age for each in config.upstream)


def _contradicting(config: Config) -> Iterator[tuple[str, str]]:
    is_checked = config.auther is not None or config.auth is not None
    if config.rights is not None:
        yield from _against_rights(config)
    elif not config.authenticate and not is_checked and config.password_file != OPEN_TO_ALL:
        wrong = (
            "'-a .' protects no action; add '-P .' to confirm it."
            if config.password_file is None
            else f"'-a .' protects no action, so the password file {str(config.password_file)!r} would never be used."
        )
        yield (
            "authenticate",
            f"{wrong} To open everything to everyone: -P . -a . To protect uploads: -P FILE -a update",
        )
    if config.auth is not None and config.auther is not None:
        yield "auth", "--auth and auther= both check passwords; remove one of them."
    if config.auth is not None and not config.authenticate:
        yield "authenticate", "'-a .' protects no action, so --auth would never be used; remove one of them."
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
    yield from _about_others(config)
    if (config.certificate is None) != (config.key is None):
        yield "certificate", "--certificate and --key need each other; pass both, or neither."
    if config.stats and config.catalog and os.path.realpath(config.stats) == os.path.realpath(config.catalog):
        yield "stats", "--stats and --catalog need a file each, because the catalog may be deleted; name another one."
