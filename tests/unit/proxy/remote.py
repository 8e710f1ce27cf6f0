"""Pages of other indexes for tests: their files by name, with an upload time."""

from __future__ import annotations

from datetime import datetime, timezone

from packaging.utils import NormalizedName

from pypiserver.distributions.filename import normalize, parse_filename
from pypiserver.model import ACTIVE, ProjectStatus
from pypiserver.upstream.values import RemoteFile, RemotePage, Upstream

DAY = 86_400.0
NOW = datetime(2026, 11, 30, 12, tzinfo=timezone.utc).timestamp()
PUBLIC = Upstream("public", "https://pypi.example/simple/")


def project(name: str) -> NormalizedName:
    return normalize(name)


def remote_file(filename: str, *, days: float | None = 30, **values: object) -> RemoteFile:
    """A file that was uploaded this many days before NOW, or at an unknown time."""
    parts = parse_filename(filename)
    given: dict[str, object] = {
        "filename": filename,
        "project": parts.project,
        "version": parts.version,
        "kind": parts.kind,
        "upstream": "public",
        "url": f"https://files.pypi.example/{filename}",
        "path": f"@public/{parts.project}/{filename}",
        "size": 1000,
        "hashes": (("sha256", "0" * 64),),
        "uploaded_ns": None if days is None else round((NOW - days * DAY) * 1e9),
        **values,
    }
    return RemoteFile(**given)  # type: ignore[arg-type]


def remote_page(*files: RemoteFile, name: str = "", status: ProjectStatus = ACTIVE) -> RemotePage:
    """The page of these files' project."""
    found = normalize(name) if name else files[0].project
    versions = tuple(dict.fromkeys(file.version for file in files))
    return RemotePage(found, "public", f"https://pypi.example/simple/{found}/", files, versions, status)
