"""Pages of an index as other programs write them: JSON (PEP 691, 700, 714, 740, 792), HTML (PEP 503)."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
TEXT = "text/html; charset=utf-8"
UPLOADED = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=timezone.utc)


@dataclass
class FakeFile:
    """A file of the upstream; what is None or '' is not on its page. ``extra`` replaces fields of its row in JSON.

    ``path`` is where it is served. ``claimed`` is the sha256 on the page: a test changes it to make the page lie.
    """

    filename: str
    data: bytes
    path: str
    url: str
    uploaded: datetime | None = UPLOADED
    size: int | None = None
    claimed: str = ""
    requires_python: str | None = None
    yanked: str | None = None
    metadata: bytes | None = None
    provenance: bytes | None = None
    provenance_url: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """The true one."""
        return hashlib.sha256(self.data).hexdigest()

    def row(self) -> dict[str, Any]:
        """Its row on a page in JSON."""
        row: dict[str, Any] = {"filename": self.filename, "url": self.url, "hashes": {}}
        if self.claimed:
            row["hashes"] = {"sha256": self.claimed}
        if self.size is not None:
            row["size"] = self.size
        if self.uploaded is not None:
            row["upload-time"] = self.uploaded.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        row["requires-python"] = self.requires_python
        row["yanked"] = False if self.yanked is None else self.yanked or True
        metadata: object = False if self.metadata is None else {"sha256": hashlib.sha256(self.metadata).hexdigest()}
        row["core-metadata"] = row["data-dist-info-metadata"] = metadata
        row["provenance"] = self.provenance_url or None
        row.update(self.extra)
        return {name: value for name, value in row.items() if value is not ...}

    def anchor(self) -> str:
        """Its link on a page in HTML."""
        attributes = {"href": self.url + (f"#sha256={self.claimed}" if self.claimed else "")}
        if self.requires_python is not None:
            attributes["data-requires-python"] = self.requires_python
        if self.yanked is not None:
            attributes["data-yanked"] = self.yanked
        if self.metadata is not None:
            digest = f"sha256={hashlib.sha256(self.metadata).hexdigest()}"
            attributes["data-core-metadata"] = attributes["data-dist-info-metadata"] = digest
        if self.provenance_url:
            attributes["data-provenance"] = self.provenance_url
        said = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
        return f"<a {said}>{html.escape(self.filename)}</a><br />"


@dataclass
class FakeProject:
    """A project of the upstream; ``page`` replaces its page whole: (content type, bytes)."""

    name: str
    files: list[FakeFile] = field(default_factory=list)
    versions: list[str] | None = None
    status: str = ""
    reason: str = ""
    page: tuple[str, bytes] | None = None


def json_page(project: FakeProject, *, api_version: str = "1.4", serial: int = 0) -> bytes:
    meta: dict[str, Any] = {"api-version": api_version}
    if serial:
        meta["_last-serial"] = serial
    page: dict[str, Any] = {"meta": meta, "name": project.name, "files": [file.row() for file in project.files]}
    if project.versions is not None:
        page["versions"] = project.versions
    if project.status:
        page["project-status"] = {"status": project.status, **({"reason": project.reason} if project.reason else {})}
    return json.dumps(page).encode()


def html_page(project: FakeProject, *, base: str = "", api_version: str = "1.4") -> bytes:
    metas = {"pypi:repository-version": api_version} if api_version else {}
    if project.status:
        metas["pypi:project-status"] = project.status
    if project.reason:
        metas["pypi:project-status-reason"] = project.reason
    head = "".join(f'<meta name="{name}" content="{html.escape(value)}">' for name, value in metas.items())
    head += f'<base href="{html.escape(base)}">' if base else ""
    links = "\n".join(file.anchor() for file in project.files)
    return f"<!DOCTYPE html>\n<html><head>{head}</head>\n<body>\n{links}\n</body></html>\n<!--SERIAL 7-->\n".encode()


def json_names(names: Iterable[str], *, serial: int = 0) -> bytes:
    """The list of all projects."""
    meta: Mapping[str, object] = {"api-version": "1.4", **({"_last-serial": serial} if serial else {})}
    return json.dumps({"meta": meta, "projects": [{"name": name} for name in names]}).encode()


def html_names(names: Iterable[str]) -> bytes:
    links = "\n".join(f'<a href="{html.escape(name)}/">{html.escape(name)}</a>' for name in names)
    return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()


def large_page(name: str, size: int) -> bytes:
    """A right page in JSON of at least this many bytes, like those of projects with many nightly builds."""
    rows, length, number = [], 0, 0
    while length < size:
        digest = hashlib.sha256(b"%d" % number).hexdigest()
        filename = f"{name}-0.0.1.dev{number}-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
        row = json.dumps(
            {
                "filename": filename,
                "url": f"../../packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}",
                "hashes": {"sha256": digest},
                "size": 1000 + number,
                "upload-time": "2024-05-06T07:08:09.123456Z",
                "requires-python": ">=3.9",
                "yanked": False,
                "core-metadata": {"sha256": digest},
                "data-dist-info-metadata": {"sha256": digest},
                "provenance": None,
            }
        )
        rows.append(row)
        length += len(row) + 2
        number += 1
    head = json.dumps({"meta": {"api-version": "1.4"}, "name": name, "versions": ["0.0.1"]})[:-1]
    return f'{head}, "files": [{", ".join(rows)}]}}'.encode()


def large_html_page(name: str, size: int) -> bytes:
    """A right page in HTML of at least this many bytes."""
    links, length, number = [], 0, 0
    while length < size:
        digest = hashlib.sha256(b"%d" % number).hexdigest()
        filename = f"{name}-0.0.1.dev{number}-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
        link = f'<a href="/whl/{filename}#sha256={digest}" data-core-metadata="sha256={digest}">{filename}</a><br>'
        links.append(link)
        length += len(link) + 1
        number += 1
    return ("<!DOCTYPE html><html><body>" + "\n".join(links) + "</body></html>").encode()
