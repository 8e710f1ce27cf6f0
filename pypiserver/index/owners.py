"""Whose a file is whose name fits several projects, as far as a sender's rights need to know.

Metadata says it, and a damaged file has none.

**Invariants:** what is not known to be of one project may be of each that its name fits, so the rights to all count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from ..access.guard import Permit
from ..distributions.filename import FilenameParts, projects_of
from ..errors import NotFound
from ..model import File


def permitted(action: str, files: Sequence[File], permit: Permit, *, faulty: Collection[str]) -> list[File]:
    """The files of a release without those that may be of a project with which the action is not permitted.

    ``faulty`` are the paths of damaged files. Raises NotFound when none is left.
    """
    left = [
        file
        for file in files
        if (file.sha256 and file.path not in faulty)
        or all(permit.may(action, project) for project in projects_of(file.filename))
    ]
    if not left:
        first = files[0]
        message = f"There is no release {first.version!r} of a project {first.project!r} here."
        raise NotFound(message, kind="release", project=first.project)
    return left


def may_be_of_others(dist: FilenameParts, permit: Permit, rows_of: Callable[[str], Iterable[File]]) -> bool:
    """Whether one of the rows has this name, and may be of a project that takes no upload from this sender."""
    projects = (dist.project, *dist.others)
    if not dist.others or all(permit.may("upload", project) for project in projects):
        return False
    return any(row.filename == dist.filename for project in projects for row in rows_of(project))
