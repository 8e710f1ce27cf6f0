"""The text ``pypi-server`` prints when it is ready: its address, what it serves, and who may do what."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..backend.stored_file import Held
from ..server.run import is_hardened
from ..settings.config import Config
from ..text import LOOPBACK, printable, url_host
from . import fallback_lines
from .output import count_of

_EVERY_INTERFACE = (*LOOPBACK, "")
_NOT_HARDENED = " (works, but is not hardened; see the docs on servers)"


@dataclass(frozen=True, slots=True)
class StartupInfo:
    """The facts of a running server: the number of files and of damaged ones in each folder, its catalog, its ports.

    ``catalog`` is None for a catalog in memory, ``metrics_port`` if metrics have no address of their own.
    ``storage_fault`` says why the bucket does not answer yet; ``config_file`` and ``log_conf`` are the files that were
    read. ``users`` is the number of usable users in the password file, None without a file; ``elsewhere`` the address
    for other machines; ``unread`` the number of files that are read only while it serves; ``warnings`` say what will
    not work.
    """

    server: str
    port: int
    files: Sequence[Held]
    catalog: str | None
    damaged: Sequence[tuple[Path | str, int]] = ()
    metrics_port: int | None = None
    storage_fault: str = ""
    config_file: Path | None = None
    log_conf: Path | None = None
    users: int | None = None
    elsewhere: str = ""
    warnings: Sequence[str] = ()
    unread: int = 0

    def url(self, config: Config) -> str:
        """The address of the index, without a slash at its end."""
        scheme = "https" if config.certificate else "http"
        host = "localhost" if config.host in _EVERY_INTERFACE else config.host
        return (config.root_url or f"{scheme}://{url_host(host)}:{self.port}{config.root_path}").rstrip("/")

    def listens_on(self, config: Config) -> str:
        """``HOST:PORT`` if the address of the index does not tell the port of this server, else ''."""
        address = urlsplit(self.url(config))
        port = address.port or (443 if address.scheme == "https" else 80)
        return "" if port == self.port else f"{url_host(config.host)}:{self.port}"


def render(config: Config, facts: StartupInfo) -> str:
    """The banner."""
    url = facts.url(config)
    listens = facts.listens_on(config)
    notes = [
        *([f"listens on {listens}"] if listens else []),
        *(["all interfaces"] if config.host in _EVERY_INTERFACE else []),
    ]
    rows = [
        ("index", f"{url}/simple/" + (f" ({', '.join(notes)})" if notes else "")),
        *([("elsewhere", f"{facts.elsewhere}/simple/")] if facts.elsewhere else []),
        *[(_kind(held.place), _held(held, is_answering=not facts.storage_fault)) for held in facts.files],
        *([("not ready", printable(facts.storage_fault))] if facts.storage_fault else []),
        *([("damaged", _damaged(facts.damaged))] if facts.damaged else []),
        *([("reading", _unread(facts.unread))] if facts.unread else []),
        ("uploads", _who(config, facts, "update")),
        ("downloads", _who(config, facts, "download")),
        ("listing", _who(config, facts, "list")),
        ("unknown", fallback_lines.unknown(config)),
        *fallback_lines.rows(config),
        ("server", facts.server + ("" if is_hardened(facts.server) else _NOT_HARDENED)),
        ("catalog", printable(facts.catalog or "in memory")),
        *[
            (name, printable(str(file)))
            for name, file in (("settings", facts.config_file), ("log conf", facts.log_conf))
            if file is not None
        ],
        *([("metrics", _metrics(config, facts, url))] if config.counts_metrics else []),
        *[("warning", printable(text)) for text in facts.warnings],
    ]
    return f"pypiserver is serving at {url}/\n" + "".join(f"  {name + ':':<11}{value}\n" for name, value in rows)


def as_data(config: Config, facts: StartupInfo) -> dict[str, object]:
    """The values of the banner, for a log in JSON."""
    return {
        "url": f"{facts.url(config)}/",
        "server": facts.server,
        "port": facts.port,
        "files": {str(held.place): held.files for held in facts.files},
        "damaged": sum(count for _, count in facts.damaged),
        "unread": facts.unread,
        "uploads": _who(config, facts, "update"),
        "downloads": _who(config, facts, "download"),
        "listing": _who(config, facts, "list"),
        "unknown": fallback_lines.unknown(config),
        **dict(fallback_lines.rows(config)),
        "catalog": facts.catalog,
        "settings": str(facts.config_file) if facts.config_file else None,
        "warnings": [*facts.warnings, *([facts.storage_fault] if facts.storage_fault else [])],
    }


def warnings(config: Config, users: int | None) -> list[str]:
    """What will not work, though it is no mistake; ``users`` is the number of usable users, None without a file."""
    found = []
    has_users = users != 0 or config.auth is not None
    may_upload = "update" not in config.refused_to_everyone and has_users
    root = config.roots[0] if config.roots else None
    if may_upload and root is not None and not os.access(root, os.W_OK):
        found.append(f"The folder {root} cannot be written by this user, so uploads fail.")
    if not has_users and config.authenticate:
        what = " and ".join(sorted(config.authenticate))
        found.append(f"{config.htpasswd} has no usable user, so every {what} is refused; add one: pypi-server passwd.")
    return found


def elsewhere(config: Config, port: int) -> str:
    """The address at which other machines of the network reach this one, if no setting tells it; else ''."""
    if config.root_url or config.host not in _EVERY_INTERFACE:
        return ""
    family, target = (socket.AF_INET6, "2001:db8::1") if config.host == "::" else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Nothing is sent: this only chooses the interface.
            probe.connect((target, 9))
            address = str(probe.getsockname()[0])
    except OSError:
        return ""
    if address.startswith("127.") or address in ("::1", *LOOPBACK):
        return ""
    scheme = "https" if config.certificate else "http"
    return f"{scheme}://{url_host(address)}:{port}{config.root_path}".rstrip("/")


def _held(held: Held, *, is_answering: bool) -> str:
    """A folder or bucket with its number of files, as far as it is known."""
    place = printable(str(held.place))
    if not is_answering:
        return f"{place} (does not answer, so how many files it has is not known)"
    if held.files is None:
        return f"{place} (not read yet, so how many files it has is not known)"
    return f"{place}: {count_of(held.files)}" + ("" if held.is_all else ", and what could not be read")


def _damaged(damaged: Sequence[tuple[Path | str, int]]) -> str:
    count = sum(number for _, number in damaged)
    where = " ".join(shlex.quote(printable(str(root))) for root, _ in damaged)
    return f"{count_of(count)} {'is' if count == 1 else 'are'} not served: pypi-server check {where}"


def _unread(count: int) -> str:
    return f"{count_of(count)} {'is' if count == 1 else 'are'} not read yet; the log names those that cannot be served"


def _kind(root: Path | str) -> str:
    return "folder" if isinstance(root, Path) else "bucket"


def _metrics(config: Config, facts: StartupInfo, url: str) -> str:
    if config.metrics_address is None or facts.metrics_port is None:
        return f"{url}/metrics"
    return f"http://{url_host(config.metrics_address[0])}:{facts.metrics_port}/metrics"


def _who(config: Config, facts: StartupInfo, action: str) -> str:
    if config.rights is not None:
        return f"by the rights file {printable(str(config.rights))}"
    if action in config.refused_to_everyone:
        return "refused to everyone (no password file; give one with -P FILE, or open everything with -P . -a .)"
    if action not in config.authenticate:
        return "everyone, without a password"
    tokens = ["clients with a token"] if config.tokens is not None else []
    if config.auther is not None:
        return " and ".join(["everyone the auther accepts", *tokens])
    who = []
    if config.htpasswd:
        who.append(f"the users in {config.htpasswd}" + (f" ({facts.users})" if facts.users is not None else ""))
    if config.auth:
        who.append(f"everyone that {config.auth.partition(':')[0]} accepts")
    return ", and ".join([*who, *tokens])
