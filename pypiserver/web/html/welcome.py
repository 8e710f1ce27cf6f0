"""``GET /``: what this server is, its address, and what to paste into each tool.

Three pages: the operator's own for everybody; else one for browsers, and a bare one for whatever else asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import bottle

from ..._version import __version__
from ...errors import ConfigError
from ...formats.simple import prefers_html
from ...model import Listed
from ..http.forwarded import is_secure
from ..http.responses import revalidated, unkept
from .pages import SECURITY, SITE, Frame, compiled, part, sent

HEADING = "Python package index"


@dataclass(frozen=True, slots=True)
class Counts:
    """What only those may know who may list: how many projects and files, and the ``newest`` uploads."""

    projects: int
    files: int
    newest: Sequence[Listed] = ()


class Welcome:
    """The page at ``/``: ``template`` is the operator's own (``--welcome``), None for the built-in ones.

    Its variables are TITLE (of the index), URL (our root), VERSION (of pypiserver), NUMPKGS (number of files, empty for
    those who may not list them), PACKAGES and SIMPLE (the paths of the two lists, as in older versions). Raises
    ConfigError for a template that is broken.
    """

    def __init__(self, template: str | None, frame: Frame) -> None:
        self._frame = frame
        self._template = None if template is None else compiled(template)

    def answer(
        self, environ: Mapping[str, str], url: str, counts: Counts | None, *, uploads: str = ""
    ) -> bottle.HTTPResponse:
        """The page for a client that sees our root at ``url``; ``counts`` is None when it may not list.

        ``uploads`` is ``refused`` where nobody may, ``login`` where a password is asked for, else ''.
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
        # Credentials decide what stands here, so no cache may share it.
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
    """(tool, file, text to paste there) of each tool, for the server whose root is at ``url``."""
    index, host = f"{url}simple/", urlsplit(url).hostname or ""
    host = f"[{host}]" if ":" in host else host
    # pip and PDM leave out an index without TLS that is not on their own machine, unless told to trust it.
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
    fields = {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body)), "Vary": "Accept"}
    cached = {"Cache-Control": revalidated(private=True), **unkept("private")}
    return bottle.HTTPResponse(body, headers={**fields, **cached, **(headers or {})})
