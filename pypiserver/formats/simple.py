"""The Simple Repository API's wire format: values to JSON or HTML, and content negotiation (PEP 503, 691, 700, 740).

**Invariants:** JSON and HTML come from the same values, so they cannot disagree; functions are pure; every text from
outside is escaped; links are relative, so any mount point works (except the provenance link, see below); the API
version is one whose requirements every file meets; a page has no counter of ours, so its bytes and ETag survive a
restart and a rebuild of the catalog (``_last-serial`` is a file's time).
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from ..model import File, Indexed, Project, last_serial

# 1.1 requires versions and size (PEP 700), 1.3 provenance if known (PEP 740), 1.4 project-status (PEP 792): every page
# has all of them. 1.5 would promise namespaces (PEP 752).
API_VERSION = "1.4"
# These need no quoting in a path; '+' and '!' occur in versions.
_SAFE = "/!+~"


class Form(enum.Enum):
    """A serialization, by its media type (PEP 691, "Content-Types")."""

    JSON = "application/vnd.pypi.simple.v1+json"
    HTML = "application/vnd.pypi.simple.v1+html"
    TEXT_HTML = "text/html"

    @property
    def content_type(self) -> str:
        """The Content-Type header of an answer in this form."""
        return self.value if self is Form.JSON else f"{self.value}; charset=utf-8"


_NAMES = {
    Form.JSON.value: Form.JSON,
    Form.HTML.value: Form.HTML,
    Form.TEXT_HTML.value: Form.TEXT_HTML,
    "application/vnd.pypi.simple.latest+json": Form.JSON,
    "application/vnd.pypi.simple.latest+html": Form.HTML,
}


# What PyPI offers for a wildcard, in its order.
_OFFERS = (Form.TEXT_HTML, Form.HTML, Form.JSON)
# Browsers send some hundred characters, others any number: longer headers are not cached, and read up to a limit.
_REMEMBERED = 256
_LONGEST_REMEMBERED = 512
_LONGEST_READ = 4096


def negotiate(accept: str | None, format_parameter: str | None) -> Form:
    """The form to answer in (PEP 691, "Version + format selection").

    Named types are ranked by q, JSON before HTML among equals. Only a wildcard, no header, and only unknown types mean
    ``text/html``, because browsers and old clients send those and expect a page. ``application/*`` means the same as on
    PyPI: its HTML type. ``?format=`` overrides the header.
    """
    if len(accept or "") + len(format_parameter or "") <= _LONGEST_REMEMBERED:
        return _known_form(accept, format_parameter)
    return _form(accept, format_parameter and format_parameter[:_LONGEST_REMEMBERED])


def _form(accept: str | None, format_parameter: str | None) -> Form:
    if format_parameter:
        # The specification's example has a bare '+', which form decoding turns into a space.
        chosen = _NAMES.get(format_parameter.strip().lower().replace(" ", "+"))
        if chosen is not None:
            return chosen
    wanted: dict[Form, float] = {}
    ranges: dict[str, float] = {}
    for name, quality in _qualities(accept or ""):
        form = _NAMES.get(name)
        if form is not None:
            wanted[form] = max(quality, wanted.get(form, 0.0))
        elif name.endswith("/*"):
            ranges[name] = max(quality, ranges.get(name, 0.0))
    # The most specific one counts (RFC 9110 section 12.5.1). Among equals max() gives the first.
    below = {form: ranges.get(form.value.partition("/")[0] + "/*", -1.0) for form in _OFFERS if form not in wanted}
    named = max(Form, key=lambda form: wanted.get(form, 0.0))
    ranged = max(below, key=lambda form: below[form], default=named)
    if max(wanted.get(named, 0.0), below.get(ranged, 0.0)) > 0:
        return ranged if below.get(ranged, 0.0) > wanted.get(named, 0.0) else named
    unnamed = [form for form, quality in below.items() if quality < 0]
    return unnamed[0] if ranges.get("*/*") and unnamed else Form.TEXT_HTML


_known_form = functools.lru_cache(maxsize=_REMEMBERED)(_form)


def prefers_html(accept: str | None) -> bool:
    """Whether the client is a browser: it names ``text/html``, and no type has a higher q (RFC 9110 section 12.5.1)."""
    wanted = dict(_qualities(accept or ""))
    asked = wanted.get(Form.TEXT_HTML.value, 0.0)
    return asked > 0 and asked == max(wanted.values())


def is_browser(accept: str | None) -> bool:
    """Whether a person's browser asks: pip before 22.2 wants ``text/html`` too, but no ``application/xhtml+xml``."""
    return "application/xhtml+xml" in (accept or "") and prefers_html(accept)


def prefers_json(accept: str | None) -> bool:
    """Whether a JSON type has the highest q, and is the first of those with that q (RFC 9110 section 12.5.1)."""
    wanted = dict(_qualities(accept or ""))
    best = max(wanted, key=lambda name: wanted[name], default="")
    is_json = best in ("application/json", "application/*") or (best[:12] == "application/" and best[-5:] == "+json")
    return is_json and wanted[best] > 0


def accepts_encoding(accept_encoding: str | None, available: tuple[str, ...]) -> str | None:
    """The content coding to use of the ``available`` ones, None for identity (RFC 9110 section 12.5.3)."""
    if len(accept_encoding or "") <= _LONGEST_REMEMBERED:
        return _known_coding(accept_encoding, available)
    return _coding(accept_encoding, available)


def _coding(accept_encoding: str | None, available: tuple[str, ...]) -> str | None:
    wanted = dict(_qualities(accept_encoding or ""))
    best, choice = 0.0, None
    # Of equals the better compression: zstd, then gzip.
    for coding in sorted(available, reverse=True):
        quality = wanted.get(coding, wanted.get("*", 0.0))
        if quality > best:
            best, choice = quality, coding
    return choice if best >= wanted.get("identity", 0.0) else None


_known_coding = functools.lru_cache(maxsize=_REMEMBERED)(_coding)


def _qualities(header: str) -> Iterable[tuple[str, float]]:
    """The members of a header with their q, from 0.0 to 1.0; an invalid q counts as 0."""
    for member in header[:_LONGEST_READ].split(","):
        name, *parameters = (part.strip().lower() for part in member.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
                if not 0.0 <= quality <= 1.0:
                    quality = 0.0
        if name:
            yield name, quality


def etag(body: bytes, *suffixes: str) -> str:
    """A strong validator for these bytes (RFC 9110 section 8.8.3); ``suffixes`` distinguish types and encodings."""
    return f'"{"-".join([hashlib.sha256(body).hexdigest()[:40], *suffixes])}"'


def index_serial(projects: Iterable[Indexed]) -> int:
    """The ``last_serial`` of the list of projects: the highest of them."""
    return max((project.last_serial for project in projects), default=last_serial(0))


def render_index(projects: Sequence[Indexed], form: Form) -> bytes:
    """The list of projects with display names (PEP 503, 691); the JSON has ``_last-serial``, PyPI's key for mirrors."""
    if form is Form.JSON:
        listed = [{"name": display, "_last-serial": serial} for _, display, serial in projects]
        meta = {"api-version": API_VERSION, "_last-serial": index_serial(projects)}
        return _json({"meta": meta, "projects": listed})
    links = "\n".join(f'<a href="{name}/">{escape(display)}</a><br>' for name, display, _ in projects)
    return _page("Simple index", "", links)


def render_project(project: Project, form: Form, *, files_url: str, secure_files_url: str = "") -> bytes:
    """A project's page (PEP 503, PEP 691); ``files_url`` is the relative URL of ``/packages/`` from that page.

    ``secure_files_url`` is its absolute URL at a secure origin, or empty; without it the page advertises no provenance
    (PEP 740: "MUST be a fully qualified URL", "MUST represent a secure origin").
    """
    if form is Form.JSON:
        return _json(
            {
                "meta": {"api-version": API_VERSION, "_last-serial": project.last_serial},
                "name": project.name,
                "project-status": _status(project),
                "versions": list(project.versions),
                "files": [_file(file, files_url, secure_files_url) for file in project.files],
            }
        )
    metas = f'<meta name="pypi:project-status" content="{escape(project.status.status)}">\n'
    if project.status.reason:
        metas += f'<meta name="pypi:project-status-reason" content="{escape(project.status.reason)}">\n'
    anchors = "\n".join(_anchor(file, files_url, secure_files_url) for file in project.files)
    return _page(f"Links for {project.name}", metas, anchors)


def _status(project: Project) -> dict[str, str]:
    status = {"status": project.status.status}
    if project.status.reason:
        status["reason"] = project.status.reason
    return status


def _file(file: File, files_url: str, secure_files_url: str) -> dict[str, object]:
    path = quote(file.path, safe=_SAFE)
    core_metadata: object = {"sha256": file.metadata_sha256} if file.metadata_sha256 else False
    value: dict[str, object] = {
        "filename": file.filename,
        "url": files_url + path,
        "hashes": _hashes(file),
        "size": file.size,
        "upload-time": _time(file),
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


def _hashes(file: File) -> dict[str, str]:
    hashes = {"sha256": file.sha256}
    algorithm, _, digest = file.link_digest.partition("=")
    if algorithm:
        hashes[algorithm] = digest
    return hashes


def _time(file: File) -> str:
    """PEP 700: UTC, with a Z, at most six decimals."""
    return file.uploaded_at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _anchor(file: File, files_url: str, secure_files_url: str) -> str:
    path = quote(file.path, safe=_SAFE)
    url = escape(files_url + path)
    fragment = f"#{file.link_digest}" if file.link_digest else ""
    more = "" if fragment.startswith("#sha256=") else f' data-sha256="{file.sha256}"'
    if file.requires_python is not None:
        more += f' data-requires-python="{escape(file.requires_python)}"'
    if file.metadata_sha256:
        digest = f'"sha256={file.metadata_sha256}"'
        more += f" data-core-metadata={digest} data-dist-info-metadata={digest}"
    if file.yanked is not None:
        more += f' data-yanked="{escape(file.yanked)}"'
    if file.has_signature:
        more += ' data-gpg-sig="true"'
    if file.has_provenance and secure_files_url:
        more += f' data-provenance="{escape(secure_files_url + path)}.provenance"'
    return f'<a href="{url}{fragment}"{more}>{escape(file.filename)}</a><br>'


def _page(title: str, metas: str, body: str) -> bytes:
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="pypi:repository-version" content="{API_VERSION}">\n{metas}'
        f"<title>{escape(title)}</title>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    ).encode("utf-8", "replace")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode("ascii")
