"""The Simple Repository API's wire format: values to JSON or HTML (PEP 503, 691, 700, 740).

**Invariants:** JSON and HTML come from the same values, so they cannot disagree; functions are pure; every text from
outside is escaped; links are relative, so any mount point works (except the provenance link, see below); the API
version is one whose requirements every file meets, and what is not known is left out; a page has no counter of ours, so
its bytes and ETag survive a restart and a rebuild of the catalog (``_last-serial`` is a file's time).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from urllib.parse import quote

from ..model import Indexed, last_serial
from .listed import UNKNOWN_HASH, ListedFile, ListedProject
from .negotiation import Form

# 1.1 requires versions and size (PEP 700), 1.3 provenance if known (PEP 740), 1.4 project-status (PEP 792): every page
# of our own files has all of them. 1.5 would promise namespaces (PEP 752).
API_VERSION = "1.4"
# Of a page with a file of unknown size.
LOWEST_VERSION = "1.0"
_PLAIN = re.compile(r"[A-Za-z0-9._ -]*")
# These need no quoting in a path; '+' and '!' occur in versions, '@' begins the path of a file of another index.
_SAFE = "/!+~@"
# Of such a path nothing changes.
_QUOTED = re.compile(r"[A-Za-z0-9_.~/!+@-]*")


def etag(body: bytes, *suffixes: str) -> str:
    """A strong validator for these bytes (RFC 9110 section 8.8.3); ``suffixes`` distinguish types and encodings."""
    return f'"{"-".join([hashlib.sha256(body).hexdigest()[:40], *suffixes])}"'


def index_serial(projects: Sequence[Indexed]) -> int:
    """The ``last_serial`` of the list of projects: the highest of them."""
    return max([project[2] for project in projects], default=last_serial(0))


def render_index(projects: Sequence[Indexed], form: Form) -> bytes:
    """The list of projects with display names (PEP 503, 691); the JSON has ``_last-serial``, PyPI's key for mirrors."""
    # Display names come from metadata; almost always, no character of them means anything in JSON or HTML.
    is_plain = _PLAIN.fullmatch("".join([project[1] for project in projects])) is not None
    if form is Form.JSON:
        meta = _json({"api-version": API_VERSION, "_last-serial": index_serial(projects)}).decode()
        if is_plain:
            listed = ",".join([f'{{"name":"{display}","_last-serial":{serial}}}' for _, display, serial in projects])
        else:
            entries = [{"name": display, "_last-serial": serial} for _, display, serial in projects]
            listed = _json(entries).decode()[1:-1]
        return f'{{"meta":{meta},"projects":[{listed}]}}'.encode()
    if is_plain:
        links = [f'<a href="{name}/">{display}</a><br>' for name, display, _ in projects]
    else:
        links = [f'<a href="{name}/">{escape(display)}</a><br>' for name, display, _ in projects]
    return _page("Simple index", "", "\n".join(links))


def render_project(
    project: ListedProject,
    form: Form,
    *,
    files_url: str,
    secure_files_url: str = "",
    private: Mapping[str, object] | None = None,
) -> bytes:
    """A project's page (PEP 503, PEP 691); ``files_url`` is the relative URL of ``/packages/`` from that page.

    ``secure_files_url`` is its absolute URL at a secure origin, or empty; without it the page advertises no provenance
    (PEP 740: "MUST be a fully qualified URL", "MUST represent a secure origin"). ``private`` are further keys of the
    JSON, which begin with "_".
    """
    is_complete = all(file.size is not None for file in project.files)
    version = API_VERSION if is_complete else LOWEST_VERSION
    if form is Form.JSON:
        serial = {"_last-serial": project.last_serial} if project.last_serial else {}
        return _json(
            {
                "meta": {"api-version": version, **serial},
                "name": project.name,
                "project-status": _status(project),
                "versions": list(project.versions),
                "files": [_file(file, files_url, secure_files_url) for file in project.files],
                **(private or {}),
            }
        )
    metas = f'<meta name="pypi:project-status" content="{escape(project.status.status)}">\n'
    if project.status.reason:
        metas += f'<meta name="pypi:project-status-reason" content="{escape(project.status.reason)}">\n'
    anchors = "\n".join(_anchor(file, files_url, secure_files_url) for file in project.files)
    return _page(f"Links for {project.name}", metas, anchors, version)


def _status(project: ListedProject) -> dict[str, str]:
    status = {"status": project.status.status}
    if project.status.reason:
        status["reason"] = project.status.reason
    return status


def _file(file: ListedFile, files_url: str, secure_files_url: str) -> dict[str, object]:
    path = _url_path(file.path)
    digest = file.metadata_sha256
    core_metadata: object = digest == UNKNOWN_HASH or ({"sha256": digest} if digest else False)
    value: dict[str, object] = {
        "filename": file.filename,
        "url": files_url + path,
        "hashes": _hashes(file),
    }
    if file.size is not None:
        value["size"] = file.size
    if file.uploaded_at is not None:
        value["upload-time"] = _time(file.uploaded_at)
    value |= {
        "yanked": False if file.yanked is None else file.yanked or True,
        "gpg-sig": file.has_signature,
        # The key of PEP 714, and the older one in PyPI's spelling: "dist-info-metadata" breaks pip 22.3 to 23.1.
        "core-metadata": core_metadata,
        "data-dist-info-metadata": core_metadata,
    }
    if file.requires_python is not None:
        value["requires-python"] = file.requires_python
    if file.has_provenance and secure_files_url:
        value["provenance"] = f"{secure_files_url}{path}.provenance"
    return value


def _url_path(path: str) -> str:
    return path if _QUOTED.fullmatch(path) else quote(path, safe=_SAFE)


def _hashes(file: ListedFile) -> dict[str, str]:
    hashes = {"sha256": file.sha256} if file.sha256 else {}
    algorithm, _, digest = file.link_digest.partition("=")
    if algorithm:
        hashes[algorithm] = digest
    return hashes


def _time(uploaded_at: datetime) -> str:
    """PEP 700: UTC, with a Z, at most six decimals."""
    return uploaded_at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _anchor(file: ListedFile, files_url: str, secure_files_url: str) -> str:
    path = _url_path(file.path)
    url = escape(files_url + path)
    fragment = f"#{file.link_digest}" if file.link_digest else ""
    more = "" if fragment.startswith("#sha256=") or not file.sha256 else f' data-sha256="{file.sha256}"'
    if file.requires_python is not None:
        more += f' data-requires-python="{escape(file.requires_python)}"'
    if file.metadata_sha256:
        is_known = file.metadata_sha256 != UNKNOWN_HASH
        digest = f'"sha256={file.metadata_sha256}"' if is_known else f'"{UNKNOWN_HASH}"'
        more += f" data-core-metadata={digest} data-dist-info-metadata={digest}"
    if file.yanked is not None:
        more += f' data-yanked="{escape(file.yanked)}"'
    if file.has_signature:
        more += ' data-gpg-sig="true"'
    if file.has_provenance and secure_files_url:
        more += f' data-provenance="{escape(secure_files_url + path)}.provenance"'
    return f'<a href="{url}{fragment}"{more}>{escape(file.filename)}</a><br>'


def _page(title: str, metas: str, body: str, version: str = API_VERSION) -> bytes:
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="pypi:repository-version" content="{version}">\n{metas}'
        f"<title>{escape(title)}</title>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    ).encode("utf-8", "replace")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode("ascii")
