"""The meaning of a project's status file (PEP 792), and which statuses changed.

``private`` is no status of PEP 792: it claims the name of a deleted project (see :mod:`claims`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..catalog.queries import PRIVATE
from ..distributions import filename
from ..model import ProjectStatus
from ..text import MAX_REASON, line_of

STATUSES = ("active", "archived", "deprecated", "quarantined", PRIVATE)


def changed_statuses(
    texts: Mapping[str, str], known: Mapping[str, ProjectStatus], say: Callable[[str, str], None]
) -> dict[str, ProjectStatus]:
    """The statuses that differ from the ``known`` ones, by normalized project.

    A project in ``known`` without a text becomes active. ``say`` is called with the name of an unusable text, and why.
    """
    wanted: dict[str, ProjectStatus] = {}
    for name, text in texts.items():
        word, _, reason = text.strip().partition("\n")
        status = word.strip().lower()
        if status not in STATUSES:
            say(name, f"its first line must be one of {', '.join(STATUSES)}")
        elif status != "active":
            wanted[filename.normalize(name)] = ProjectStatus(status, line_of(reason, MAX_REASON))
    changed = {name: status for name, status in wanted.items() if known.get(name) != status}
    changed.update({name: ProjectStatus("active") for name in known if name not in wanted})
    return changed
