"""Asks another index which files a project has (PEP 503, PEP 691), the way pip does.

**Invariants:** an answer is untrusted, so its size is limited and every field is checked before use; a request goes to
the named index and to no other host; no message contains a password.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from packaging.utils import NormalizedName
from packaging.version import InvalidVersion, Version

from ..text import one_line
from .errors import Unreachable, UpstreamError
from .http_client import HttpClient, RequestError, Response, login_in, open_client
from .netrc_file import login_for
from .page_parser import parse_page
from .values import RemotePage, Upstream

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
        url, content_type, data = page
        upstream = Upstream("index", self.url)
        return list(
            _installable(
                parse_page(content_type, data, url=url, project=project, upstream=upstream, now_ns=time.time_ns())
            )
        )

    def _page(self, url: str) -> tuple[str, str, bytes] | None:
        for _ in range(MAX_REDIRECTS + 1):
            with self._answer(url) as response:
                if response.status in REDIRECTS and "location" in response.headers:
                    url = self._followed(url, response.headers["location"])
                    continue
                if response.status in (404, 410):
                    return None
                if response.status != 200:
                    raise self._error("status", f"answered {response.status}{_ADVICE.get(response.status, '')}")
                return url, response.headers.get("content-type", ""), self._body(response)
        raise self._error("circle", "sent us in a circle")

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
                    raise self._error("too-large", f"sent a page of more than {MAX_PAGE >> 20} MiB")
        except RequestError as fault:
            raise self._error("broken-off", f"broke off its answer ({fault})") from fault
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
            raise self._error("redirect", "sent us to something that is no address") from fault
        if not allowed:
            elsewhere = one_line(f"{new.scheme}://{new.netloc.rpartition('@')[2]}")[:200]
            raise self._error(
                "redirect", f"sent us to {elsewhere}, which was not asked for; if it is right, name it: --index-url"
            )
        return target

    def _unreachable(self, fault: RequestError) -> Unreachable:
        advice = " name the authority that signed it in SSL_CERT_FILE," if fault.kind == "untrusted" else ""
        return Unreachable(
            f"The index {self.url} cannot be reached ({fault}); check the address,{advice} "
            "or name the proxy in HTTP_PROXY or HTTPS_PROXY.",
            kind=fault.kind,
        )

    def _error(self, kind: str, what: str) -> UpstreamError:
        return UpstreamError(f"The index {self.url} {what}.", kind=kind)


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _installable(page: RemotePage) -> Iterator[UpstreamFile]:
    """The files that pip could download."""
    for file in page.files:
        with contextlib.suppress(InvalidVersion):
            if file.kind in _KINDS:
                version = Version(file.version)
                yield UpstreamFile(file.filename, version, file.kind, file.requires_python, file.yanked is not None)
