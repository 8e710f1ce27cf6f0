"""The legacy JSON API: ``/pypi/<project>/json`` and its relatives, as PyPI answers and pip-compile reads it.

No standard defines it; the keys are those of PyPI that apply here. **Invariants:** one value per project, made from the
same files as the simple page and from the metadata in the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from ..distributions.core_metadata import CoreMetadata
from ..distributions.filename import parse_filename
from ..distributions.releases import core_metadata, is_yanked, named, newest, releases_of
from ..model import File, Project


def render(
    project: Project, version: str | None, *, metadata: Callable[[File], CoreMetadata | None], base_url: str
) -> bytes:
    """The JSON of a project, or of one ``version`` of it; ``base_url`` is the server's absolute root URL.

    Raises NotFound for an unknown version.
    """
    releases = releases_of(project)
    chosen = newest(releases) if version is None else named(project, version)
    files = releases.get(chosen, [])
    value: dict[str, Any] = {
        "info": _info(project, chosen, files, metadata=metadata, base_url=base_url),
        "last_serial": project.last_serial,
        "urls": [_file(file, base_url) for file in files],
        "vulnerabilities": [],
    }
    if version is None:
        value["releases"] = {each: [_file(file, base_url) for file in releases[each]] for each in project.versions}
    return json.dumps(value, separators=(",", ":")).encode()


def _info(
    project: Project,
    version: str,
    files: Sequence[File],
    *,
    metadata: Callable[[File], CoreMetadata | None],
    base_url: str,
) -> dict[str, Any]:
    core = core_metadata(files, metadata)
    yanked = is_yanked(files)
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
        "requires_python": core.requires_python,
        "summary": core.summary,
        "version": version,
        "yanked": yanked,
        "yanked_reason": next((file.yanked for file in files if file.yanked), None) if yanked else None,
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
