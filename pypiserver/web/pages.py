"""Pages for people: the welcome page and the list of files.

The rules to keep: all HTML goes through one escaping template engine, whose templates are files of ours or of the
operator, never text from a request; no page loads anything from elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.resources import files as resources
from urllib.parse import quote

import bottle

from ..errors import ConfigError
from ..model import File


class Welcome:
    """The page at ``/``: ``template`` is the operator's own (``--welcome``), None for the built-in one.

    Its variables are URL (our root), VERSION (of pypiserver), NUMPKGS (number of files, empty for those who may not
    list them), PACKAGES and SIMPLE (the addresses of the two lists). Raises ConfigError for a template that is broken.
    """

    def __init__(self, template: str | None) -> None:
        self._is_ours = template is None
        self._template = _compiled(_built_in("welcome.html") if template is None else template)

    def render(self, *, url: str, version: str, count: int | None) -> bytes:
        """The page for a client that sees our root at ``url``."""
        values = {
            "URL": url,
            "VERSION": version,
            "NUMPKGS": "" if count is None else count,
            "PACKAGES": f"{url}packages/",
            "SIMPLE": f"{url}simple/",
        }
        try:
            page: str = self._template.render(**values)
        except Exception as error:
            if self._is_ours:
                raise
            raise ConfigError(f"The welcome page cannot be shown: {type(error).__name__}: {error}.") from error
        return page.encode("utf-8")


def render_packages(files: Sequence[File]) -> bytes:
    """The list of all files, with links relative to ``/packages/``."""
    rows = [(quote(file.path), file.path, file.size, file.uploaded_at.strftime("%Y-%m-%d %H:%M")) for file in files]
    page: str = _listing().render(rows=rows)
    return page.encode("utf-8")


@functools.cache
def _listing() -> bottle.SimpleTemplate:
    return _compiled(_built_in("packages.html"))


def _built_in(name: str) -> str:
    return resources("pypiserver.web").joinpath("templates").joinpath(name).read_text("utf-8")


def _compiled(text: str) -> bottle.SimpleTemplate:
    # The text is given explicitly: a bare string could be taken for the name of a file.
    template = bottle.SimpleTemplate(source=text, lookup=[])
    try:
        template.co  # noqa: B018 - compiled when it is first asked for, and errors should show at start
    except SyntaxError as error:
        raise ConfigError(f"The welcome page is no template that can be used: {error}.") from error
    return template
