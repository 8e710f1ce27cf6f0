"""The other indexes that settings name, in the order in which they are asked, and their credentials.

**Invariants:** a password is in no :class:`Upstream`, message or address. The variables of an index come before a login
in the URL that the operator wrote, and that before netrc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ..access.patterns import read_patterns
from ..errors import ConfigError
from ..settings.config import Config, default_fallback_url
from ..settings.sources import ENVIRON_PREFIX
from ..settings.upstream_tables import UpstreamTable
from ..upstream.client import shown_url
from ..upstream.http_client import login_in
from ..upstream.netrc_file import Login, login_for
from ..upstream.values import ALL, Upstream

# The name of the public index.
PUBLIC = "pypi"
LONGEST = 40


def upstreams_of(config: Config) -> tuple[Upstream, ...]:
    """The tables in their order, and then the index of ``--fallback-url``, unless a table has it for all projects.

    Raises ConfigError.
    """
    named = tuple(map(_upstream, config.upstream))
    last = shown_url(config.fallback_url or default_fallback_url())
    if any(each.url == last and each.projects == ALL for each in named):
        return named
    return (*named, Upstream(_name_of(last, {each.name for each in named}), last))


def logins_of(config: Config, upstreams: tuple[Upstream, ...], environ: Mapping[str, str]) -> dict[str, Login]:
    """User and password of each index that has them, by its name; raises ConfigError."""
    written = {each.name: each.url for each in config.upstream}
    found = {}
    for each in upstreams:
        login = _in_variables(each.name, environ)
        login = login or login_in(written.get(each.name) or config.fallback_url or each.url)
        login = login or login_for(urlsplit(each.url).hostname or "")
        if login is not None:
            found[each.name] = login
    known = {_variable(each.name) for each in upstreams}
    for name in environ:
        match = re.fullmatch(rf"{ENVIRON_PREFIX}UPSTREAM_(.+?)_(USER|PASSWORD|PASSWORD_FILE)", name)
        if match and match[1] not in known:
            raise ConfigError(
                f"{name} is for an index that does not exist; the indexes are {', '.join(_names(upstreams))}.",
                kind="unknown",
                setting="upstream",
                source=name,
            )
    return found


def _names(upstreams: tuple[Upstream, ...]) -> Iterator[str]:
    for each in upstreams:
        yield f"{each.name} ({ENVIRON_PREFIX}UPSTREAM_{_variable(each.name)}_USER)"


def _variable(name: str) -> str:
    """The name of an index as variables have it."""
    return name.upper().replace("-", "_")


def _upstream(table: UpstreamTable) -> Upstream:
    return Upstream(
        name=table.name,
        url=shown_url(table.url),
        projects=read_patterns(table.projects),
        missing=frozenset(table.missing),
        hosts=frozenset(table.hosts),
        min_age=table.min_age,
        unknown_age=table.unknown_age,
        formats=table.formats,
        platforms=table.platforms,
        pythons=table.pythons,
        max_file_size=table.max_file_size,
    )


def _name_of(url: str, taken: set[str]) -> str:
    """The name of the last index: ``pypi`` for the public one, else that of its host, and a number if it is taken."""
    try:
        is_public = url == shown_url(default_fallback_url())
    except ConfigError:
        is_public = False
    parts = urlsplit(url)
    host = f"{parts.hostname or ''}{f'-{parts.port}' if parts.port else ''}"
    name = PUBLIC if is_public else re.sub(r"[^a-z0-9]+", "-", host.lower()).strip("-")[:LONGEST].strip("-")
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *numbered) if each not in taken)


def _in_variables(name: str, environ: Mapping[str, str]) -> Login | None:
    """The login in ``PYPISERVER_UPSTREAM_<NAME>_USER`` and ``_PASSWORD`` or ``_PASSWORD_FILE``."""
    prefix = f"{ENVIRON_PREFIX}UPSTREAM_{_variable(name)}"
    user, password = environ.get(f"{prefix}_USER", ""), environ.get(f"{prefix}_PASSWORD", "")
    file = environ.get(f"{prefix}_PASSWORD_FILE", "")
    if not user and not password and not file:
        return None
    if not user or bool(password) == bool(file):
        raise ConfigError(
            f"The index {name} needs {prefix}_USER and one of {prefix}_PASSWORD and {prefix}_PASSWORD_FILE.",
            kind="missing",
            setting="upstream",
            source=prefix,
        )
    if file:
        try:
            password = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror or error if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(
                f"{prefix}_PASSWORD_FILE: the file {file} cannot be read ({why}).",
                kind="unreadable",
                setting="upstream",
                source=f"{prefix}_PASSWORD_FILE",
            ) from error
    return user, password
