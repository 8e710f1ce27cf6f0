"""The legacy JSON API: ``/pypi/<project>/json`` and its relatives, as PyPI answers and pip-compile reads it.

It is no standard; the keys are PyPI's, those that say something here. One value per project, made from the same files
as the simple page and the metadata in the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ..distfile import canonical_version, is_final, parse_filename, same_version, version_key
from ..errors import NotFound
from ..metadata import CoreMetadata, parse_metadata, valid_requires_python
from ..model import File, Project


def render(project: Project, version: str | None, *, metadata: Callable[[File], bytes | None], base_url: str) -> bytes:
    """The JSON of a project, or of one ``version`` of it; ``base_url`` is our root as the client sees it.

    Raises NotFound for a version that is not here.
    """
    releases = _releases(project)
    chosen = _latest(releases) if version is None else _named(project, version)
    files = releases.get(chosen, [])
    value: dict[str, Any] = {
        "info": _info(project, chosen, files, metadata=metadata, base_url=base_url),
        "last_serial": project.serial,
        "urls": [_file(file, base_url) for file in files],
        "vulnerabilities": [],
    }
    if version is None:
        value["releases"] = {each: [_file(file, base_url) for file in releases[each]] for each in project.versions}
    return json.dumps(value, separators=(",", ":")).encode()


def _releases(project: Project) -> dict[str, list[File]]:
    """The files of each version, whichever way their names spell it; files without one are those of the version ''."""
    spelled = {canonical_version(version): version for version in project.versions}
    releases: dict[str, list[File]] = {version: [] for version in project.versions}
    for file in project.files:
        releases.setdefault(spelled.get(canonical_version(file.version), ""), []).append(file)
    return releases


def _latest(releases: Mapping[str, Sequence[File]]) -> str:
    """The highest final release, else the highest of all; a yanked one only where there is no other, as on PyPI."""
    return max(
        releases,
        key=lambda version: (not _is_yanked(releases[version]), is_final(version), version_key(version)),
        default="",
    )


def _is_yanked(files: Sequence[File]) -> bool:
    return bool(files) and all(file.yanked is not None for file in files)


def _named(project: Project, version: str) -> str:
    for each in project.versions:
        if same_version(each, version):
            return each
    raise NotFound(f"There is no release {version!r} of {project.name} here.")


def _info(
    project: Project,
    version: str,
    files: Sequence[File],
    *,
    metadata: Callable[[File], bytes | None],
    base_url: str,
) -> dict[str, Any]:
    # A wheel's metadata is what will be installed; that of an old sdist often says little.
    best_first = sorted(files, key=lambda file: file.kind != "bdist_wheel")
    core = next((parse_metadata(raw) for raw in map(metadata, best_first) if raw is not None), CoreMetadata())
    is_yanked = _is_yanked(files)
    page = f"{base_url}simple/{project.name}/"
    return {
        "author": core.author,
        "author_email": core.author_email,
        "classifiers": list(core.classifiers),
        "description": core.description,
        "description_content_type": core.description_content_type or None,
        "download_url": core.download_url or None,
        "home_page": core.home_page,
        "keywords": core.keywords,
        "license": core.license,
        "license_expression": core.license_expression or None,
        "maintainer": core.maintainer,
        "maintainer_email": core.maintainer_email,
        "name": core.name or project.display_name,
        "package_url": page,
        "platform": ", ".join(core.platform),
        "project_url": page,
        "project_urls": dict(_url(text) for text in core.project_urls) or None,
        "provides_extra": list(core.provides_extra) or None,
        "release_url": page,
        "requires_dist": list(core.requires_dist) or None,
        "requires_python": valid_requires_python(core.requires_python),
        "summary": core.summary,
        "version": version,
        "yanked": is_yanked,
        "yanked_reason": next((file.yanked for file in files if file.yanked), None) if is_yanked else None,
    }


def _url(text: str) -> tuple[str, str]:
    label, _, address = text.partition(",")
    return label.strip(), address.strip()


def _file(file: File, base_url: str) -> dict[str, Any]:
    algorithm, _, digest = file.link_digest.partition("=")
    digests = {"sha256": file.sha256, **({algorithm: digest} if algorithm else {})}
    uploaded = file.uploaded_at
    return {
        "comment_text": "",
        "digests": digests,
        "downloads": -1,
        "filename": file.filename,
        "has_sig": file.has_signature,
        "md5_digest": digests.get("md5"),
        "packagetype": file.kind,
        "python_version": parse_filename(file.filename).pyversion,
        "requires_python": file.requires_python,
        "size": file.size,
        "upload_time": uploaded.strftime("%Y-%m-%dT%H:%M:%S"),
        "upload_time_iso_8601": uploaded.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "url": f"{base_url}packages/{quote(file.path)}",
        "yanked": file.yanked is not None,
        "yanked_reason": file.yanked or None,
    }
