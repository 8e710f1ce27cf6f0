"""The table of rights: which principals may do what with which projects, whether a file or ``-a`` says it.

**Invariants:** a principal may do what one of the lines that fit him allows, and nothing else; a decision depends on
the table, the principal and the name alone, never on what exists; what is remembered is bounded in bytes, and dies with
its table.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from packaging.utils import NormalizedName

from ..bounded_cache import BoundedCache
from ..catalog.name_filter import NOTHING, NameFilter
from .patterns import Patterns, read_patterns
from .principal import ACTIONS, Principal

# Limits, in bytes, of what a table remembers of principals, and of decisions.
ALLOWED_BYTES = 128 << 20
DECISION_BYTES = 4 << 20
SCOPED_BYTES = 16 << 20
# The approximate bytes that a pattern takes in what is compiled for a principal.
PATTERN_BYTES = 350
# The words of ``-a``, and the actions that each of them protects.
CLASSIC: Mapping[str, frozenset[str]] = {
    "list": frozenset({"list"}),
    "download": frozenset({"download"}),
    "update": frozenset({"upload", "overwrite", "delete", "yank"}),
}


@dataclass(frozen=True, slots=True)
class Who:
    """The users of a line: ``everyone``, ``authenticated``, the user or the group called ``name``."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return {"user": self.name, "group": f"@{self.name}"}.get(self.kind, self.kind)


EVERYONE = Who("everyone")
AUTHENTICATED = Who("authenticated")


@dataclass(frozen=True, slots=True)
class Grant:
    """One line: its number, its text, and what it allows."""

    number: int
    text: str
    who: Who
    actions: frozenset[str]
    patterns: Patterns


class Allowed:
    """What principals whom the same lines fit may do; all of them share it."""

    __slots__ = ("_lines", "_listed", "actions", "number")

    def __init__(self, number: int, grants: Iterable[Grant]) -> None:
        self.number = number
        lines: dict[str, list[Patterns]] = {}
        for grant in grants:
            for action in grant.actions:
                lines.setdefault(action, []).append(grant.patterns)
        merged: dict[tuple[Patterns, ...], tuple[Patterns, ...]] = {}
        for same in map(tuple, lines.values()):
            if same not in merged:
                merged[same] = _merged(same)
        self._lines = {action: merged[tuple(patterns)] for action, patterns in lines.items()}
        self.actions = frozenset(self._lines)
        self._listed: NameFilter | None = None

    def may(self, action: str, project: NormalizedName) -> bool:
        """Whether it may be done with this project."""
        return any(patterns.matches(project) for patterns in self._lines.get(action, ()))

    def listed(self) -> NameFilter:
        """The projects that may be listed."""
        if self._listed is None:
            self._listed = NameFilter.of(self._lines.get("list", ()))
        return self._listed


def _merged(lines: Iterable[Patterns]) -> tuple[Patterns, ...]:
    """Fewer lines that cover the same projects: those with equal exceptions become one."""
    by_excluded: dict[frozenset[str], dict[str, None]] = {}
    for line in lines:
        by_excluded.setdefault(frozenset(line.excluded), {}).update(dict.fromkeys(line.included))
    return tuple(Patterns(tuple(included), tuple(sorted(excluded))) for excluded, included in by_excluded.items())


class Rights:
    """A table of grants and groups; ``groups`` has the members of each group, users and other groups."""

    def __init__(self, grants: Iterable[Grant], groups: Mapping[str, Collection[Who]] | None = None) -> None:
        self.grants = tuple(grants)
        self.groups = groups or {}
        self._by_who: dict[Who, list[Grant]] = {}
        for grant in self.grants:
            self._by_who.setdefault(grant.who, []).append(grant)
        self._parents: dict[Who, list[str]] = {}
        for name, members in self.groups.items():
            for member in members:
                self._parents.setdefault(member, []).append(name)
        # By principal, and by the numbers of the lines that fit it.
        self._allowed: BoundedCache[object, Allowed] = BoundedCache(ALLOWED_BYTES)
        # What a token leaves of a filter, which keeps its condition.
        self._scoped: BoundedCache[tuple[str, Patterns], NameFilter] = BoundedCache(SCOPED_BYTES)
        self._numbers = itertools.count()
        self._decisions: BoundedCache[tuple[int, str, str], bool] = BoundedCache(DECISION_BYTES)

    def may(self, principal: Principal, action: str, project: NormalizedName) -> bool:
        """Whether the principal may do it with this project."""
        scope = principal.scope
        if scope is not None and (action not in scope.actions or not _covers(scope.projects, project)):
            return False
        allowed = self.allowed(principal)
        key = (allowed.number, action, project)
        known = self._decisions.get(key)
        if known is None:
            known = allowed.may(action, project)
            self._decisions.put(key, known, size=0)
        return known

    def is_known_to_be_allowed(self, principal: Principal, action: str, project: NormalizedName) -> bool:
        """Whether :meth:`may` said yes before; False also for what was not asked."""
        scope = principal.scope
        if scope is not None and (action not in scope.actions or not _covers(scope.projects, project)):
            return False
        allowed = self._allowed.get(_key(principal))
        return allowed is not None and self._decisions.get((allowed.number, action, project)) is True

    def may_some(self, principal: Principal, actions: Collection[str]) -> bool:
        """Whether the principal may do one of these actions with projects of some names."""
        scope, possible = principal.scope, self.allowed(principal).actions
        return any(action in possible and (scope is None or action in scope.actions) for action in actions)

    def listed(self, principal: Principal) -> NameFilter:
        """The projects that the principal may list."""
        scope, found = principal.scope, self.allowed(principal).listed()
        if scope is None:
            return found
        if "list" not in scope.actions:
            return NOTHING
        if scope.projects is None:
            return found
        key = found.key, scope.projects
        scoped = self._scoped.get(key)
        if scoped is None:
            scoped = found.within(NameFilter.of([scope.projects]))
            self._scoped.put(key, scoped, size=PATTERN_BYTES * scope.projects.count)
        return scoped

    def allowed(self, principal: Principal) -> Allowed:
        """What principals like this one may do, before a token takes something from it."""
        key = _key(principal)
        known = self._allowed.get(key)
        return known if known is not None else self._compile(principal, key)

    def _compile(self, principal: Principal, key: object) -> Allowed:
        grants = self.grants_of(principal)
        numbers = array("I", [grant.number for grant in grants]).tobytes()
        size = PATTERN_BYTES * sum(grant.patterns.count for grant in grants)
        allowed = self._allowed.get(numbers)
        if allowed is None:
            allowed = Allowed(next(self._numbers), grants)
            self._allowed.put(numbers, allowed, size=size)
        # The size counts again, as this entry keeps the value when the other is dropped.
        self._allowed.put(key, allowed, size=size + sum(map(len, principal.groups)))
        return allowed

    def grants_of(self, principal: Principal) -> list[Grant]:
        """The lines that fit the principal, in their order."""
        fitting = [EVERYONE, *(Who("group", group) for group in self.groups_of(principal))]
        if principal.name is not None:
            fitting += [AUTHENTICATED, Who("user", principal.name)]
        found = [grant for who in fitting for grant in self._by_who.get(who, ())]
        return sorted(found, key=lambda grant: grant.number)

    def groups_of(self, principal: Principal) -> set[str]:
        """The groups of the principal: those it came with, those that name it, and those that contain one of these."""
        found = set(principal.groups)
        waiting = [Who("group", group) for group in found]
        waiting += [Who("user", principal.name)] if principal.name is not None else []
        while waiting:
            new = [group for group in self._parents.get(waiting.pop(), ()) if group not in found]
            found.update(new)
            waiting += [Who("group", group) for group in new]
        return found


@dataclass(frozen=True, slots=True)
class FixedRights:
    """A table that never changes, as a source of rights."""

    table: Rights

    def __call__(self) -> Rights:
        """The table."""
        return self.table

    def known(self) -> Rights:
        """The table."""
        return self.table


def _key(principal: Principal) -> object:
    """What principals whom the same lines fit have in common."""
    return (principal.name, principal.groups) if principal.groups else principal.name


def _covers(projects: Patterns | None, project: NormalizedName) -> bool:
    return projects is None or projects.matches(project)


def classic_rights(protected: Collection[str], *, overwrite: bool) -> Rights:
    """The table of ``-a``: everyone may do what is not protected, users who log in may do all; ``-o`` overwrites."""
    everything = read_patterns(["*"])
    closed = frozenset[str]().union(*(CLASSIC[word] for word in protected))
    possible = frozenset(ACTIONS) if overwrite else frozenset(ACTIONS) - {"overwrite"}
    return Rights(
        [
            Grant(1, "everyone", EVERYONE, possible - closed, everything),
            Grant(2, "authenticated", AUTHENTICATED, possible, everything),
        ]
    )
