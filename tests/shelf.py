"""An index of a few projects, for what asks for their names and summaries."""

from __future__ import annotations

from collections.abc import Sequence

from pypiserver.distributions.filename import normalize
from pypiserver.model import Indexed

Summaries = Sequence[tuple[str, str, str]]


class Shelf:
    """Projects by (name, version, summary); all of them were changed at 7."""

    def __init__(self, summaries: Summaries) -> None:
        self._summaries = summaries

    def summaries(self) -> Summaries:
        return self._summaries

    def projects(self) -> list[Indexed]:
        return [(normalize(name), name, 7) for name, _, _ in self._summaries]
