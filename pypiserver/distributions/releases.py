"""A project's releases: which files are of one, which is the newest, and what its metadata says.

Pages for people and the legacy JSON say the same, because they ask here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import NotFound
from ..model import File, Project
from .core_metadata import CoreMetadata
from .filename import canonical_version, is_final, same_version, version_key


def releases_of(project: Project) -> dict[str, list[File]]:
    """The files of each version, whichever way their names spell it; files without one are those of the version ''."""
    spelled = {canonical_version(version): version for version in project.versions}
    releases: dict[str, list[File]] = {version: [] for version in project.versions}
    for file in project.files:
        releases.setdefault(spelled.get(canonical_version(file.version), ""), []).append(file)
    return releases


def newest(releases: Mapping[str, Sequence[File]]) -> str:
    """The highest final release, else the highest of all; a yanked one only where there is no other, as on PyPI."""
    return max(
        releases,
        key=lambda version: (not is_yanked(releases[version]), is_final(version), version_key(version)),
        default="",
    )


def is_yanked(files: Sequence[File]) -> bool:
    """Whether a release is yanked: every file of it is."""
    return bool(files) and all(file.yanked is not None for file in files)


def named(project: Project, version: str) -> str:
    """The version as the project spells it; raises NotFound when it is not here."""
    for each in project.versions:
        if same_version(each, version):
            return each
    raise NotFound(f"There is no release {version!r} of {project.name} here.")


def core_metadata(files: Sequence[File], metadata: Callable[[File], CoreMetadata | None]) -> CoreMetadata:
    """What a release says about itself: a wheel says what will be installed, an old sdist often little."""
    best_first = sorted(files, key=lambda file: file.kind != "bdist_wheel")
    return next((core for core in map(metadata, best_first) if core is not None), CoreMetadata())
