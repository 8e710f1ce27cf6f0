"""What ``config check`` says of the lists about other indexes.

**Invariants:** nothing is asked of another index; a mistake would end a start, a warning would not.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress

from packaging.utils import NormalizedName

from ..access.patterns import Matcher, is_exact
from ..errors import PypiServerError
from ..proxy.list_text import ListKind, ListLine
from ..proxy.policy import Policy
from ..settings.config import Config

# This many lines of a kind are named.
_SHOWN = 10


def warnings_about_lists(policy: Policy, *, known: Collection[NormalizedName] | None, now: float) -> Iterator[str]:
    """Sentences about exceptions that ended, and lines that cover none of the ``known`` projects of other indexes.

    ``known`` is None if no names are known: then nothing is said of it. Raises ConfigError for a list that cannot be
    used, with a mistake for each line.
    """
    lists = policy.check()
    files: Mapping[ListKind, object] = {
        "allow": policy.settings.allow,
        "allow-projects": policy.settings.allow_projects,
        "deny-projects": policy.settings.deny_projects,
    }
    for kind, found in lists.items():
        where = f"of the list {files[kind]} (--{kind})"
        ended = [line for line in found.lines if line.end is not None and line.end <= now]
        yield from _told(ended, where, "ended; remove it, or write another day")
        if known is not None and kind != "deny-projects":
            current = [line for line in found.lines if line not in ended]
            yield from _told(_covering_none(current, known), where, "covers no project that is known here")


def warnings_of(config: Config) -> list[str]:
    """The same for the settings of a server; nothing for lists that cannot be used, which are mistakes."""
    if not config.asks_others:
        return []
    from ..factory.backends import build_cache_store
    from ..factory.proxy import build_policy

    with suppress(PypiServerError):
        with closing(build_cache_store(config, is_serving=False)) as store:
            # Names of pages are normalized.
            known = frozenset(NormalizedName(project) for _, project in store.pages())
        return list(warnings_about_lists(build_policy(config), known=known or None, now=time.time()))
    return []


def _covering_none(lines: Iterable[ListLine], known: Collection[NormalizedName]) -> list[ListLine]:
    names = frozenset(known)
    return [
        line
        for line in lines
        if line.pattern not in names and (is_exact(line.pattern) or not any(map(Matcher((line.pattern,)), names)))
    ]


def _told(lines: list[ListLine], where: str, what: str) -> Iterator[str]:
    for line in lines[:_SHOWN]:
        yield f"Line {line.number} {where}, {line}, {what}."
    if len(lines) > _SHOWN:
        yield f"{len(lines) - _SHOWN} more lines {where} are like that."
