"""Which names other indexes may be asked for: the order of questions, in one place.

Rights come first, in the guard, before any handler runs. Then: is a file here? Is the name private? Is it that of a
deleted project (a claim)? Only then other indexes are asked, or clients are redirected to one.

**Invariants:** a name that is ours is never sent anywhere, in any spelling, for any file; what cannot be found out now
is Unavailable, never a question to another index.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress

from packaging.utils import NormalizedName

from ..access.patterns import Matcher
from ..backend.claims import Claims
from ..distributions.filename import projects_of
from ..distributions.versions import canonical_version
from ..errors import NotFound, Withholding
from .absences import Absences
from .read import Repository

NO_MERGE = Matcher(())


class Fallback:
    """Says of names that are not here whether other indexes may have them.

    ``private`` says of a name that it never leaves this server; ``merged`` matches those whose other versions may come
    from elsewhere although the project is here.
    """

    def __init__(
        self, repository: Repository, claims: Claims, private: Callable[[str], bool], *, merged: Matcher = NO_MERGE
    ) -> None:
        self._repository = repository
        self._absences = Absences(repository)
        self._claims = claims
        self._private = private
        self._merged = merged

    def require(self, project: NormalizedName) -> None:
        """Raise NotFound, with the reason, for a name that is ours; only call it for a project that is not here."""
        if self._private(project):
            raise NotFound(f"There is no project {project!r} here.", kind="project", project=project)
        reason = "" if self._merged(project) else self._claims.find(project)
        if reason:
            raise NotFound(
                f"There is no project {project!r} here, and no other index is asked for it: {reason}. An administrator "
                f"can release the name: pypi-server unclaim {project}",
                kind="project",
                project=project,
            )

    def may_ask(self, project: NormalizedName) -> bool:
        """Whether other indexes may be asked for this project.

        Raises Unavailable, and Withholding for a project that is here in quarantine and would be merged.
        """
        mark = self._absences.mark()
        if self._absences.has(project, mark):
            return True
        if self._private(project):
            return False
        with suppress(NotFound):
            here = self._repository.project(project)
            if self.is_merged(project) and here.status.status == "quarantined":
                raise Withholding(
                    f"The project {project} is quarantined; none of its files can be downloaded.",
                    kind="quarantined",
                    project=project,
                )
            return self.is_merged(project)
        if not self._merged(project) and self._claims.find(project):
            return False
        self._absences.note(project, mark)
        return True

    def may_ask_for_file(self, filename: str, mark: Hashable | None = None) -> Callable[[NormalizedName], bool]:
        """Which of the projects that a file of this name may belong to others may be asked for.

        None if one of them is reserved: its name is a part of the others. ``mark`` is that of
        absences (:class:`.absences.Absences`) if the request has read it.
        """
        if mark is None:
            mark = self._absences.mark()
        # No name of a project has a dot, and every file name has one.
        if self._absences.has(filename, mark):
            return _always
        projects = projects_of(filename)
        if len(projects) == 1 and self.may_ask(projects[0]):
            self._absences.note(filename, mark)
        if len(projects) > 1 and any(map(self.is_reserved, projects)):
            return _never
        return self.may_ask

    def require_version(self, project: NormalizedName, version: str) -> None:
        """Raise NotFound for a version of a merged project that is here: then only its files here count."""
        if self.is_merged(project) and canonical_version(version) in self._repository.versions_here(project):
            raise NotFound(
                f"The version {version} of {project} is here without this file, and no other index is asked for it.",
                kind="file",
                project=project,
            )

    def is_private(self, project: NormalizedName) -> bool:
        """Whether the name never leaves this server."""
        return self._private(project)

    def is_reserved(self, project: NormalizedName) -> bool:
        """Whether the name is private, or that of a deleted project."""
        return self._private(project) or (not self._merged(project) and bool(self._claims.find(project)))

    def is_merged(self, project: NormalizedName) -> bool:
        """Whether versions of this project that are not here may come from elsewhere; never for a private name."""
        return self._merged(project) and not self._private(project)


def _always(project: NormalizedName) -> bool:
    return True


def _never(project: NormalizedName) -> bool:
    return False
