"""A project's releases: their files, the newest one, and its metadata.

**Invariants:** pages for people and the legacy JSON both use this module, so they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import NotFound
from ..model import File, Project
from .core_metadata import CoreMetadata
from .versions import canonical_version, newest_version, same_version


def releases_of(project: Project) -> dict[str, list[File]]:
    """The files of each version, in any spelling of it; files without a version are under ''."""
    spelled = {canonical_version(version): version for version in project.versions}
    releases: dict[str, list[File]] = {version: [] for version in project.versions}
    for file in project.files:
        releases.setdefault(spelled.get(canonical_version(file.version), ""), []).append(file)
    return releases


def newest(releases: Mapping[str, Sequence[File]]) -> str:
    """The highest final release, else the highest of all; a yanked one only if there is no other, as on PyPI."""
    return newest_version(releases, {version for version, files in releases.items() if not is_yanked(files)})


def is_yanked(files: Sequence[File]) -> bool:
    """Whether a release is yanked: every file of it is."""
    return bool(files) and all(file.yanked is not None for file in files)


def named(project: Project, version: str) -> str:
    """The version in the project's spelling; raises NotFound for an unknown version."""
    for each in project.versions:
        if same_version(each, version):
            return each
    raise NotFound(f"There is no release {version!r} of {project.name} here.", kind="release", project=project.name)


def core_metadata(files: Sequence[File], metadata: Callable[[File], CoreMetadata | None]) -> CoreMetadata:
    """A release's metadata, from a wheel if there is one: an old sdist often says little."""
    best_first = sorted(files, key=lambda file: file.kind != "bdist_wheel")
    return next((core for core in map(metadata, best_first) if core is not None), CoreMetadata())
