"""What ``pypi-server`` says when it is ready: where to reach it, what it serves, and who may do what."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..backend.stored_file import Held
from ..server.run import is_hardened
from ..settings.config import Config
from ..text import printable

_EVERY_INTERFACE = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to
_NOT_HARDENED = " (works, but is not hardened; see the docs on servers)"


@dataclass(frozen=True, slots=True)
class Facts:
    """What only a server that runs knows: how many files each folder has (and how many of those are damaged), the
    catalog's file, its ports.

    ``catalog`` is None for one in memory, ``metrics_port`` where metrics have no address of their own.
    ``storage_fault`` says why the bucket does not answer yet; ``config_file`` and ``log_conf`` are what was read.
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

    def url(self, config: Config) -> str:
        """The address of the index, without a slash at its end."""
        scheme = "https" if config.certificate else "http"
        host = "localhost" if config.host in _EVERY_INTERFACE else config.host
        return (config.root_url or f"{scheme}://{_joined(host, self.port)}{config.root_path}").rstrip("/")

    def listens_on(self, config: Config) -> str:
        """``HOST:PORT`` where the address of the index does not tell the port of this server, else nothing."""
        address = urlsplit(self.url(config))
        port = address.port or (443 if address.scheme == "https" else 80)
        return "" if port == self.port else _joined(config.host, self.port)


def render(config: Config, facts: Facts) -> str:
    """The banner."""
    url = facts.url(config)
    listens = facts.listens_on(config)
    notes = [
        *([f"listens on {listens}"] if listens else []),
        *(["all interfaces"] if config.host in _EVERY_INTERFACE else []),
    ]
    rows = [
        ("index", f"{url}/simple/" + (f" ({', '.join(notes)})" if notes else "")),
        *[(_kind(held.place), _held(held, is_answering=not facts.storage_fault)) for held in facts.files],
        *([("not ready", printable(facts.storage_fault))] if facts.storage_fault else []),
        *([("damaged", _damaged(facts.damaged))] if facts.damaged else []),
        ("uploads", _who(config, "update")),
        ("downloads", _who(config, "download")),
        ("listing", _who(config, "list")),
        ("server", facts.server + ("" if is_hardened(facts.server) else _NOT_HARDENED)),
        ("catalog", printable(facts.catalog or "in memory")),
        *[
            (name, printable(str(file)))
            for name, file in (("settings", facts.config_file), ("log conf", facts.log_conf))
            if file is not None
        ],
        *([("metrics", _metrics(config, facts, url))] if config.counts_metrics else []),
    ]
    return f"pypiserver is serving at {url}/\n" + "".join(f"  {name + ':':<11}{value}\n" for name, value in rows)


def _held(held: Held, *, is_answering: bool) -> str:
    """A folder or bucket with what is known of its number of files."""
    place = printable(str(held.place))
    if not is_answering:
        return f"{place} (does not answer, so how many files it has is not known)"
    if held.files is None:
        return f"{place} (not read yet, so how many files it has is not known)"
    return f"{place}: {_files(held.files)}" + ("" if held.is_all else ", and what could not be read")


def _damaged(damaged: Sequence[tuple[Path | str, int]]) -> str:
    count = sum(number for _, number in damaged)
    where = " ".join(shlex.quote(printable(str(root))) for root, _ in damaged)
    return f"{_files(count)} {'is' if count == 1 else 'are'} not served: pypi-server check {where}"


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _kind(root: Path | str) -> str:
    return "folder" if isinstance(root, Path) else "bucket"


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _metrics(config: Config, facts: Facts, url: str) -> str:
    if config.metrics_address is None or facts.metrics_port is None:
        return f"{url}/metrics"
    return f"http://{_joined(config.metrics_address[0], facts.metrics_port)}/metrics"


def _who(config: Config, action: str) -> str:
    if action in config.refused_to_everyone:
        return "nobody (no password file; give one with -P FILE, or open everything with -P . -a .)"
    if action not in config.authenticate:
        return "everybody, without a password"
    return f"the users in {config.htpasswd}" if config.htpasswd else "whoever the auther accepts"
