"""Who sends a request, as the guard sees it: a user or an anonymous client, the groups, and the limits of a token.

**Invariants:** a principal says who it is, never what it may do; it is a value, so equal ones may share a cache entry.
"""

from __future__ import annotations

from dataclasses import dataclass

from .patterns import Patterns

ACTIONS = ("list", "download", "upload", "overwrite", "delete", "yank")
# The words of the settings and of the rights file, and the actions that each of them means.
WORDS: dict[str, frozenset[str]] = {
    **{action: frozenset({action}) for action in ACTIONS},
    "read": frozenset({"list", "download"}),
    "write": frozenset({"upload", "yank"}),
    "all": frozenset(ACTIONS),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token leaves of its owner's rights: these actions, on these projects (None: on all)."""

    actions: frozenset[str]
    projects: Patterns | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request: a user ``name`` (None: not logged in), and the ``groups`` of a plug-in, without ``@``.

    ``scope`` is that of a token, None for a password. ``label`` is what logs show in addition to the name, such as the
    id of a token.
    """

    name: str | None
    groups: frozenset[str] = frozenset()
    scope: Scope | None = None
    label: str = ""

    @property
    def is_authenticated(self) -> bool:
        """Whether this is a user who logged in."""
        return self.name is not None


ANONYMOUS = Principal(None)
