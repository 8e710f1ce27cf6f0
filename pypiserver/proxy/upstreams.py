"""The other indexes in their order: which of them may be asked for a project.

**Invariants:** an index is asked for its own projects only; with lists of known names, a name that is not in the list
of an index is not asked for there, and a list that cannot be read is an outage, never a question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from packaging.utils import NormalizedName

from .source import Source


class Names(Protocol):
    """The names that an index lists."""

    def has(self, project: NormalizedName) -> bool:
        """Whether the index lists this project; raises NotAnswered if its list is not known."""

    def close(self) -> None:
        """Let go of the list."""


class Upstreams:
    """Indexes in order; ``names`` has their lists by the index's name, of those that are not asked for any name."""

    def __init__(self, sources: Sequence[Source], names: Mapping[str, Names] | None = None) -> None:
        self._sources = tuple(sources)
        self._names = dict(names or {})

    def of(self, project: NormalizedName) -> tuple[Source, ...]:
        """The indexes that this project may come from, in order."""
        return tuple(each for each in self._sources if each.upstream.projects.matches(project))

    def is_listed(self, source: Source, project: NormalizedName) -> bool:
        """Whether this index may be asked for a project of which it has said nothing yet; raises NotAnswered."""
        names = self._names.get(source.name)
        return names is None or names.has(project)

    def close(self) -> None:
        """Let go of the lists."""
        for names in self._names.values():
            names.close()


def before(sources: Sequence[Source], source: Source) -> tuple[str, ...]:
    """The names of the indexes that come before this one."""
    return tuple(each.name for each in sources[: sources.index(source)])
