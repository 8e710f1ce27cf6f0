"""The lists of projects that one client may see, for those who know nothing of rights, such as XML-RPC.

**Invariants:** no project outside ``names`` is in any list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..catalog.name_filter import NameFilter
from ..model import Indexed
from .read import Repository


@dataclass(frozen=True, slots=True)
class VisibleProjects:
    """The lists of a ``repository`` as a client sees them who may see ``names``."""

    repository: Repository
    names: NameFilter

    def summaries(self) -> Sequence[tuple[str, str, str]]:
        """(name, version, summary) of every project."""
        return self.repository.summaries(self.names)

    def projects(self) -> Sequence[Indexed]:
        """Every project, sorted by normalized name."""
        return self.repository.projects(self.names)
