"""Turns a page of another index (PEP 503, 592, 629, 658, 691, 700, 714, 740, 792) into values.

**Invariants:** every field is checked, no text of the page is passed on as it is; a row is a file of this project
by our own parser of names, or is dropped and counted; of two rows with one name the first counts; a page that cannot be
understood whole is an error, because half a page would hide releases.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from packaging.utils import NormalizedName

from ..distributions.filename import as_filed
from ..errors import InvalidFilename
from ..model import ACTIVE, ProjectStatus
from ..text import one_line
from . import page_fields as fields
from .addresses import MAX_URL, absolute, in_ascii
from .errors import UpstreamError
from .html_page import Attributes, has_base, read_html
from .json_page import read_json
from .page_headers import max_age, validator
from .values import RemoteFile, RemotePage, Upstream

# Of one project. The largest of PyPI have some ten thousand; more would fit neither in the memory for pages nor in the
# file of one.
MAX_FILES = 40_000
MAX_CHARACTERS = 40 << 20  # of all texts of its files, as JSON in ASCII
MAX_ROWS = 2 * MAX_FILES  # with those that are no files of the project
_JSON = "application/vnd.pypi.simple.v1+json"
_HTML = frozenset({"application/vnd.pypi.simple.v1+html", "text/html"})
# PyPI's own form: the digest of the file, cut in three.
_PYPI_FORM = re.compile(r"/([0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60})/([^/?]+)(?:\?.*)?")
_TAIL = 2 * 3 + 62 + 260  # characters of that at the end of an address
_FRAGMENT = re.compile(r"[#&]([a-z0-9_]+)=([0-9A-Fa-f]+)")


def parse_page(
    content_type: str,
    data: bytes,
    *,
    url: str,
    project: NormalizedName,
    upstream: Upstream,
    now_ns: int,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> RemotePage:
    """What the page at ``url`` says about the project; raises UpstreamError (kinds ``content-type`` and ``page``).

    ``headers`` are those of the response, by lower-case names; ``now_ns`` becomes ``first_seen_ns`` of every file.
    """
    kind = one_line(content_type[:200]).partition(";")[0].strip().lower()
    if kind != _JSON and kind not in _HTML:
        raise UpstreamError(
            f"The index {upstream.url} answered with {kind[:80] or 'something'}, which is no page of an index.",
            kind="content-type",
        )
    try:
        page = _Page(project, upstream, in_ascii(url), now_ns)
        if kind == _JSON:
            page.read_json(data)
        else:
            page.read_html(data, is_framed=not headers or "content-length" in headers or "transfer-encoding" in headers)
    except (ValueError, RecursionError) as fault:
        raise UpstreamError(
            f"The index {upstream.url} answered with a page that cannot be read.", kind="page"
        ) from fault
    return RemotePage(
        project=project,
        upstream=upstream.name,
        url=url,
        files=tuple(page.files.values()),
        versions=page.versions,
        status=page.status,
        etag=validator(headers.get("etag")),
        last_modified=validator(headers.get("last-modified")),
        max_age=max_age(headers),
        last_serial=page.serial or fields.serial(headers.get("x-pypi-last-serial")),
        dropped=page.dropped,
    )


class _Page:
    """A page while it is read."""

    def __init__(self, project: NormalizedName, upstream: Upstream, url: str, now_ns: int) -> None:
        self.files: dict[str, RemoteFile] = {}
        self.versions: tuple[str, ...] = ()
        self.status: ProjectStatus = ACTIVE
        self.serial = 0
        self.dropped = 0
        self._project, self._upstream, self._url, self._now_ns = project, upstream, url, now_ns
        self._base = url
        self._rows = 0
        self._characters = 0

    def read_json(self, data: bytes) -> None:
        """Read a page in JSON; raises ValueError."""
        for name, value in read_json(data):
            if name == "file":
                self._add(value)
            elif reader := _MEMBERS.get(name):
                reader(self, value)

    def read_html(self, data: bytes, *, is_framed: bool) -> None:
        """Read a page in HTML; ``is_framed`` says that its length is certain. Raises ValueError."""
        if not is_framed and not re.search(rb"</(?:body|html)\s*>", data[-4096:], re.IGNORECASE):
            raise ValueError("it may have been cut")
        if has_base(data):
            bases = (each["href"] for name, each in read_html(data) if name == "base" and each.get("href"))
            self._base = absolute(self._url, next(bases, "")) or self._url
        meta: dict[str, str] = {}
        for name, attributes in read_html(data):
            if name == "a":
                self._add(_row(attributes))
            elif name == "meta":
                meta.setdefault(attributes.get("name", "").lower(), attributes.get("content", ""))
        _check_version(meta.get("pypi:repository-version", "1.0"))
        self.status = fields.project_status(
            meta.get("pypi:project-status", "").lower(), meta.get("pypi:project-status-reason")
        )

    def _add(self, row: Any) -> None:
        file = self._file(row) if isinstance(row, dict) else None
        if file is None:
            self.dropped += 1
        else:
            self.files.setdefault(file.filename, file)
            self._characters += _characters(file)
        self._rows += 1
        if len(self.files) > MAX_FILES or self._rows > MAX_ROWS or self._characters > MAX_CHARACTERS:
            raise ValueError("too many files")

    def _file(self, row: Mapping[str, Any]) -> RemoteFile | None:
        filename, link = row.get("filename"), row.get("url")
        if not isinstance(filename, str) or not isinstance(link, str):
            return None
        try:
            dist = as_filed(filename, self._project)
        except InvalidFilename:
            return None
        address = absolute(self._base, link) if dist.project == self._project else ""
        if not address:
            return None
        has_metadata, metadata_sha256 = fields.metadata(row)
        provenance = row.get("provenance")
        return RemoteFile(
            filename=filename,
            project=self._project,
            version=dist.version,
            kind=dist.kind,
            upstream=self._upstream.name,
            url=address,
            path=_path(address, filename) or f"@{self._upstream.name}/{self._project}/{filename}",
            size=fields.integer(row.get("size")),
            hashes=fields.hashes(row.get("hashes")),
            uploaded_ns=fields.time_ns(row.get("upload-time")),
            first_seen_ns=self._now_ns,
            requires_python=fields.requires_python(row.get("requires-python")),
            yanked=fields.yanked(row.get("yanked")),
            has_metadata=has_metadata,
            metadata_sha256=metadata_sha256,
            provenance=absolute(self._base, provenance) if isinstance(provenance, str) else "",
            has_signature=row.get("gpg-sig") is True,
        )

    def _set_meta(self, value: Any) -> None:
        if isinstance(value, dict):
            _check_version(value.get("api-version", "1.0"))
            self.serial = fields.integer(value.get("_last-serial")) or 0

    def _set_versions(self, value: Any) -> None:
        self.versions = fields.versions(value)

    def _set_status(self, value: Any) -> None:
        if isinstance(value, dict):
            self.status = fields.project_status(value.get("status"), value.get("reason"))


_MEMBERS: Mapping[str, Callable[[_Page, Any], None]] = {
    "meta": _Page._set_meta,
    "versions": _Page._set_versions,
    "project-status": _Page._set_status,
}


def _characters(file: RemoteFile) -> int:
    reason = file.yanked or ""
    texts = (file.filename, file.url, file.path, file.requires_python or "", file.provenance)
    # A character outside of ASCII becomes up to twelve.
    return sum(map(len, texts)) + len(reason) * (1 if reason.isascii() else 12)


def _check_version(version: Any) -> None:
    """The major version of the interface is ours (PEP 629); raises ValueError."""
    if str(version)[:20].partition(".")[0] != "1":
        raise ValueError("another major version of the interface")


def _path(url: str, filename: str) -> str:
    """The file's place at PyPI if its address has that form, else ''."""
    match = _PYPI_FORM.fullmatch(url, max(url.rfind("/", 0, url.find("?") if "?" in url else None) - 67, 0))
    return f"{match[1]}/{filename}" if match and (match[2] == filename or unquote(match[2]) == filename) else ""


def _row(attributes: Attributes) -> Mapping[str, Any]:
    """The row that a page in JSON would have in place of this link."""
    link = attributes.get("href", "")
    if len(link) > MAX_URL:
        return {}
    address, _, fragment = link.partition("#")
    row: dict[str, Any] = {
        "filename": unquote(address.partition("?")[0].rpartition("/")[2].strip(" \t\n\r\f")),
        "url": address,
        "hashes": dict(_FRAGMENT.findall(f"#{fragment}")),
        "requires-python": attributes.get("data-requires-python"),
        "provenance": attributes.get("data-provenance"),
        "gpg-sig": attributes.get("data-gpg-sig") == "true",
    }
    if "data-yanked" in attributes:
        row["yanked"] = attributes["data-yanked"] or True
    for name in ("data-core-metadata", "data-dist-info-metadata"):
        if name in attributes:
            algorithm, is_hash, value = attributes[name].partition("=")
            row[name] = {algorithm: value} if is_hash else algorithm == "true"
    return row
