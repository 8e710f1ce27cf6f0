"""Asks another index which files a project has (PEP 503, PEP 691), the way pip does.

**Invariants:** an answer is untrusted, so its size is limited and every field is checked before use; a request goes to
the named index and to no other host; no message contains a password.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from packaging.utils import NormalizedName
from packaging.version import InvalidVersion, Version

from ..distributions.filename import as_filed
from ..errors import InvalidFilename, PypiServerError
from ..text import one_line
from .http_client import HttpClient, RequestError, Response, login_for, login_in, open_client

MAX_PAGE = 64 << 20  # bytes; the largest pages of PyPI have about 30 MB
TIMEOUT = 20.0  # seconds without a byte
MAX_REDIRECTS = 5
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
# Any other compression needs a library that may be missing.
HEADERS = {"Accept": ACCEPT, "Accept-Encoding": "gzip, deflate", "User-Agent": "pypiserver"}
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KINDS = frozenset({"bdist_wheel", "sdist"})  # what pip can download, which excludes eggs and installers
_ADVICE = {
    401: "; it wants a user and a password, from netrc or from --index-url",
    403: "; it wants another user or password, from netrc or from --index-url",
    407: "; the proxy wants a user and a password, from HTTP_PROXY or HTTPS_PROXY",
}


class UpstreamError(PypiServerError):
    """The index did not tell which files a project has; the message is whole sentences that name the index."""


class Unreachable(UpstreamError):  # noqa: N818 - named like the others of the tree
    """No answer at all: no name, no connection, no trusted certificate, or a timeout."""


@dataclass(frozen=True, slots=True)
class UpstreamFile:
    """A wheel or sdist on the page of a project; ``requires_python`` is spelled as on the index."""

    filename: str
    version: Version
    kind: str
    requires_python: str | None = None
    is_yanked: bool = False


@contextmanager
def open_index(url: str, *, connections: int, timeout: float = TIMEOUT) -> Iterator[Index]:
    """The index at this address of a simple page; ``timeout`` is seconds without a byte. Threads can share it."""
    with open_client(connections=connections, timeout=timeout) as client:
        yield Index(url, client)


def shown_url(url: str) -> str:
    """The address without user, password, query and fragment, with a slash at its end."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}/"


class Index:
    """An index, which is asked about one project at a time."""

    def __init__(self, url: str, client: HttpClient) -> None:
        self.url = shown_url(url)
        self._client = client
        self._login = login_in(url) or login_for(urlsplit(url).hostname or "")

    def files(self, project: NormalizedName) -> list[UpstreamFile]:
        """The files of the project, none if the index does not have it; raises UpstreamError."""
        page = self._page(urljoin(self.url, f"{project}/"))
        if page is None:
            return []
        content_type, data = page
        reader = _READERS.get(content_type)
        if reader is None:
            raise self._error(f"answered with {content_type[:80] or 'something'}, which is no page of an index")
        try:
            rows = reader(data)
        except (ValueError, RecursionError) as fault:
            raise self._error("answered with a page that cannot be read") from fault
        return list(_files(project, rows))

    def _page(self, url: str) -> tuple[str, bytes] | None:
        for _ in range(MAX_REDIRECTS + 1):
            with self._answer(url) as response:
                if response.status in REDIRECTS and "location" in response.headers:
                    url = self._followed(url, response.headers["location"])
                    continue
                if response.status in (404, 410):
                    return None
                if response.status != 200:
                    raise self._error(f"answered {response.status}{_ADVICE.get(response.status, '')}")
                content_type = one_line(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
                return content_type, self._body(response)
        raise self._error("sent us in a circle")

    @contextmanager
    def _answer(self, url: str) -> Iterator[Response]:
        with contextlib.ExitStack() as stack:
            try:
                response = stack.enter_context(self._client.get(url, HEADERS, self._login))
            except RequestError as fault:
                raise self._unreachable(fault) from fault
            yield response

    def _body(self, response: Response) -> bytes:
        data = bytearray()
        try:
            for chunk in response.chunks():
                data += chunk
                if len(data) > MAX_PAGE:
                    raise self._error(f"sent a page of more than {MAX_PAGE >> 20} MiB")
        except RequestError as fault:
            raise self._error(f"broke off its answer ({fault})") from fault
        return bytes(data)

    def _followed(self, url: str, location: str) -> str:
        """The target of a redirect; only within the index, so that no page can choose the host of a request."""
        try:
            target = urljoin(url, location)
            old, new = urlsplit(url), urlsplit(target)
            allowed = _origin(new) == _origin(old) or (old.scheme, new.scheme, new.hostname, new.port) == (
                "http", "https", old.hostname, None,
            )  # fmt: skip
        except ValueError as fault:
            raise self._error("sent us to something that is no address") from fault
        if not allowed:
            elsewhere = one_line(f"{new.scheme}://{new.netloc.rpartition('@')[2]}")[:200]
            raise self._error(f"sent us to {elsewhere}, which was not asked for; if it is right, name it: --index-url")
        return target

    def _unreachable(self, fault: RequestError) -> Unreachable:
        advice = " name the authority that signed it in SSL_CERT_FILE," if fault.kind == "untrusted" else ""
        return Unreachable(
            f"The index {self.url} cannot be reached ({fault}); check the address,{advice} "
            "or name the proxy in HTTP_PROXY or HTTPS_PROXY."
        )

    def _error(self, what: str) -> UpstreamError:
        return UpstreamError(f"The index {self.url} {what}.")


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _files(project: NormalizedName, rows: Iterable[Mapping[str, Any]]) -> Iterator[UpstreamFile]:
    """The rows that are files of the project and that pip could download."""
    for row in rows:
        filename, python = row.get("filename"), row.get("requires-python")
        if not isinstance(filename, str):
            continue
        try:
            dist = as_filed(filename, project)
            version = Version(dist.version)
        except (InvalidFilename, InvalidVersion):
            continue
        if dist.project == project and dist.kind in _KINDS:
            python = python if isinstance(python, str) else None
            yield UpstreamFile(filename, version, dist.kind, python, bool(row.get("yanked")))


def _read_json(data: bytes) -> list[Mapping[str, Any]]:
    """The rows of a page in JSON (PEP 691); raises ValueError."""
    page = json.loads(data)
    if not isinstance(page, dict) or not isinstance(page.get("files"), list):
        raise ValueError("no list of files")
    meta = page.get("meta")
    version = str(meta.get("api-version", "1.0")) if isinstance(meta, dict) else "1.0"
    if version.partition(".")[0] != "1":
        raise ValueError("another major version of the interface (PEP 629)")
    return [row for row in page["files"] if isinstance(row, dict)]


def _read_html(data: bytes) -> list[Mapping[str, Any]]:
    """The rows of a page in HTML (PEP 503, 592 and 700), with the field names of a page in JSON."""
    parser = _Anchors()
    parser.feed(data.decode("utf-8", "replace"))
    parser.close()
    return parser.rows


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Mapping[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        row = dict(attrs)
        if tag == "a" and row.get("href"):
            path = re.split(r"[?#]", str(row["href"]), maxsplit=1)[0]
            self.rows.append(
                {
                    "filename": unquote(path.rpartition("/")[2]),
                    "requires-python": row.get("data-requires-python"),
                    "yanked": "data-yanked" in row,
                }
            )


_READERS = {
    "application/vnd.pypi.simple.v1+json": _read_json,
    "application/vnd.pypi.simple.v1+html": _read_html,
    "text/html": _read_html,
}
