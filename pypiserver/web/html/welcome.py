"""``GET /``: the URL of the index and the settings for each tool.

**Invariants:** the operator's own page (``--welcome``) replaces the built-in ones: a page for browsers, and a bare one
for other clients; a client that may not list gets no number and no name of a project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import bottle

from ..._version import __version__
from ...errors import ConfigError
from ...formats.negotiation import prefers_html
from ...model import Listed
from ...text import url_host
from ..http.forwarded import is_secure
from ..http.responses import revalidated, unkept
from .pages import HTML, SECURITY, SITE, Frame, compiled, part, sent

HEADING = "Python package index"


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of projects and files and the ``newest`` uploads, for clients that may list."""

    projects: int
    files: int
    newest: Sequence[Listed] = ()


class Welcome:
    """The page at ``/``: ``template`` is the operator's own (``--welcome``), None for the built-in ones.

    Its variables are TITLE (of the index), URL (the server's root), VERSION (of pypiserver), NUMPKGS (number of files,
    empty for clients that may not list), PACKAGES and SIMPLE (the paths of the two lists, as in older versions). Raises
    ConfigError for a template with a syntax error.
    """

    def __init__(self, template: str | None, frame: Frame) -> None:
        self._frame = frame
        self._template = None if template is None else compiled(template)

    def answer(
        self, environ: Mapping[str, str], url: str, counts: Counts | None, *, uploads: str = ""
    ) -> bottle.HTTPResponse:
        """The page; ``url`` is the server's root as the client sees it, ``counts`` is None if it may not list.

        ``uploads`` is ``refused`` if uploads are refused to everyone, ``login`` if they need a password, else ''.
        """
        path = urlsplit(url).path
        values = {
            "TITLE": self._frame.site,
            "URL": url,
            "VERSION": __version__,
            "NUMPKGS": "" if counts is None else counts.files,
            "PACKAGES": f"{path}packages/",
            "SIMPLE": f"{path}simple/",
        }
        if self._template is not None:
            return _plain(self._own(values))
        if not prefers_html(environ.get("HTTP_ACCEPT")):
            return _plain(part("bare", values), SECURITY)
        heading = HEADING if self._frame.site == SITE else self._frame.site
        facts = {
            "heading": heading,
            "url": url,
            "index": f"{url}simple/",
            "counts": counts,
            "settings": settings(url),
            "uploads": uploads,
        }
        # The content depends on credentials, so no cache may share it.
        return sent(self._frame.render("welcome", HEADING, facts, root=""), private=True)

    def _own(self, values: Mapping[str, object]) -> bytes:
        try:
            text: str = self._template.render(**values)  # type: ignore[union-attr]
        except Exception as error:
            raise ConfigError(
                f"The welcome page cannot be shown: {type(error).__name__}: {error}.",
                kind="template",
                setting="welcome",
            ) from error
        return text.encode("utf-8")


def settings(url: str) -> list[tuple[str, str, str]]:
    """(tool, file, text to paste there) of each tool; ``url`` is the absolute URL of the server's root."""
    index, host = f"{url}simple/", url_host(urlsplit(url).hostname or "")
    # pip and PDM ignore an index without TLS on another machine unless it is a trusted host.
    trusted = "" if is_secure(url) else f"trusted-host = {host}\n"
    verify = "true" if is_secure(url) else "false"
    return [
        ("pip", "pip.conf (pip.ini on Windows)", f"[global]\nindex-url = {index}\n{trusted}"),
        ("uv", "pyproject.toml", f'[[tool.uv.index]]\nname = "pypiserver"\nurl = "{index}"\ndefault = true\n'),
        (
            "Poetry",
            "pyproject.toml",
            f'[[tool.poetry.source]]\nname = "pypiserver"\nurl = "{index}"\npriority = "primary"\n',
        ),
        (
            "PDM",
            "pyproject.toml",
            f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{index}"\nverify_ssl = {verify}\n',
        ),
        (
            "twine",
            "~/.pypirc",
            f"[distutils]\nindex-servers =\n    pypiserver\n\n[pypiserver]\nrepository = {url}\n",
        ),
    ]


def _plain(body: bytes, headers: Mapping[str, str] | None = None) -> bottle.HTTPResponse:
    fields = {"Content-Type": HTML, "Content-Length": str(len(body)), "Vary": "Accept"}
    cached = {"Cache-Control": revalidated(private=True), **unkept("private")}
    return bottle.HTTPResponse(body, headers={**fields, **cached, **(headers or {})})
