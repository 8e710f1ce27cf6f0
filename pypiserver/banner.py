"""What ``pypi-server`` says when it is ready: where to reach it, what it serves, and who may do what."""

from __future__ import annotations

from pathlib import Path

from .config import Config
from .servers import is_hardened

_EVERY_INTERFACE = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to


def render(config: Config, *, server: str, port: int, files: list[tuple[Path, int]], catalog: Path | None) -> str:
    """The banner; ``files`` are the folders with their number of files, ``catalog`` is None for one in memory."""
    scheme = "https" if config.certificate else "http"
    host = "localhost" if config.host in _EVERY_INTERFACE else config.host
    url = (config.server_base_url or f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}").rstrip("/")
    interfaces = " (all interfaces)" if config.host in _EVERY_INTERFACE else ""
    rows = [
        ("index", f"{url}/simple/{interfaces}"),
        *[("folder", f"{root}: {count} file{'' if count == 1 else 's'}") for root, count in files],
        ("uploads", _who(config, "update")),
        ("downloads", _who(config, "download")),
        ("listing", _who(config, "list")),
        ("server", server + ("" if is_hardened(server) else " (works, but is not hardened; see the docs on servers)")),
        ("catalog", str(catalog) if catalog else "in memory"),
    ]
    return f"pypiserver is serving at {url}/\n" + "".join(f"  {name + ':':<11}{value}\n" for name, value in rows)


def _who(config: Config, action: str) -> str:
    if action in config.refused_to_everyone:
        return "nobody (no password file; give one with -P FILE, or open everything with -P . -a .)"
    if action not in config.authenticate:
        return "everybody, without a password"
    return f"the users in {config.htpasswd}" if config.htpasswd else "whoever the auther accepts"
