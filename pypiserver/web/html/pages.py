"""The frame of pages for people: templates, the stylesheet, and the headers of every page.

**Invariants:** all HTML goes through one escaping template engine, whose templates are files of this package or of the
operator, never text from a request; no page loads anything from other hosts, and the Content-Security-Policy enforces
that; links are relative, so any mount point works.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as resources

import bottle

from ..._version import __version__
from ...errors import ConfigError, NotFound
from ..http.compression import compressed
from ..http.responses import revalidated, unkept
from .copy_script import SCRIPT, SOURCE

# What an index without a title is called.
SITE = "pypiserver"
HTML = "text/html; charset=utf-8"
DAY, YEAR = 86_400, 31_536_000
# No script but ours, no frame, nothing from other hosts; text of a package can style, send and load nothing.
POLICY = (
    f"default-src 'none'; script-src {SOURCE}; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
SECURITY = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_STATIC = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def sent(body: bytes, *, private: bool, content_type: str = HTML) -> bottle.HTTPResponse:
    """The answer with a page; ``private`` says that it needs a login."""
    headers = {"Content-Type": content_type, "Vary": "Accept", **SECURITY}
    # A protected page has words of the request next to secrets: the length of a compressed page would show how similar
    # the two are (BREACH).
    if not private:
        headers["Vary"] = "Accept, Accept-Encoding"
        body, coding = compressed(body, bottle.request.environ.get("HTTP_ACCEPT_ENCODING"))
        headers |= {"Content-Encoding": coding} if coding else {}
    headers |= {"Content-Length": str(len(body)), "Cache-Control": revalidated(private=private)}
    # Most pages contain the server's URL as the request gives it.
    headers |= unkept("private")
    return bottle.HTTPResponse(body, headers=headers)


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame that all pages of an index share; ``site`` is what the index is called."""

    site: str = SITE

    def render(self, name: str, title: str, values: Mapping[str, object], *, root: str) -> bytes:
        """The page of template ``name`` with ``values``, as UTF-8.

        ``root`` is the relative URL of the server's root from that page.
        """
        content = _template(f"{name}.html").render(**values, root=root, date=date, moment=moment, size=size)
        frame = {"style": f"static/{_names()['style.css']}", "icon": f"static/{_names()['icon.svg']}"}
        whole: str = _template("frame.html").render(
            **frame,
            title=title,
            content=content,
            root=root,
            page=name,
            version=__version__,
            site=self.site,
            script=SCRIPT if " data-copy>" in content else "",
        )
        return whole.encode("utf-8")


def part(name: str, values: Mapping[str, object]) -> bytes:
    """The output of template ``name`` with ``values``, without the frame, as UTF-8."""
    made: str = _template(name if "." in name else f"{name}.html").render(**values)
    return made.encode("utf-8")


def static(name: str) -> bottle.HTTPResponse:
    """The stylesheet or the icon; its URL contains its hash, so clients cache it for good.

    Raises NotFound for any other name.
    """
    for file, address in _names().items():
        if address == name:
            body = _read(file).encode("utf-8")
            headers = {"Content-Type": _STATIC[file], "Content-Length": str(len(body)), **SECURITY}
            return bottle.HTTPResponse(body, headers={**headers, "Cache-Control": f"max-age={YEAR}, immutable"})
    raise NotFound("There is no such stylesheet or icon here.")


def icon() -> bottle.HTTPResponse:
    """``GET /favicon.ico``: the icon, for pages without a link to it, such as those of the Simple API."""
    body = _read("icon.svg").encode("utf-8")
    headers = {"Content-Type": _STATIC["icon.svg"], "Content-Length": str(len(body)), **SECURITY}
    return bottle.HTTPResponse(body, headers={**headers, "Cache-Control": f"max-age={DAY}"})


def date(time: object) -> tuple[str, str]:
    """A time for machines and for people: in UTC, to the second and to the day."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ"), time.strftime("%Y-%m-%d")  # type: ignore[attr-defined]


def moment(time: object) -> tuple[str, str]:
    """A time for machines and for people: in UTC, to the second and to the minute."""
    return date(time)[0], time.strftime("%Y-%m-%d %H:%M UTC")  # type: ignore[attr-defined]


def size(number: float) -> str:
    """A number of bytes for people: up to three digits and a unit in powers of 1000."""
    for unit in _UNITS:
        if number < 999.5 or unit == _UNITS[-1]:
            break
        number /= 1000
    digits = 0 if unit == "bytes" or number >= 99.5 else 1
    return f"{number:.{digits}f} {unit if unit != 'bytes' or number != 1 else 'byte'}"


def compiled(text: str) -> bottle.SimpleTemplate:
    """The template with this text; raises ConfigError when it has a syntax error."""
    # bottle would take a bare string for the name of a file.
    template = bottle.SimpleTemplate(source=text, lookup=[])
    try:
        template.co  # noqa: B018 - compiles the template, so that errors show at start
    except SyntaxError as error:
        raise ConfigError(
            f"The welcome page is not a valid template: {error}.", kind="template", setting="welcome"
        ) from error
    return template


@functools.cache
def _template(name: str) -> bottle.SimpleTemplate:
    return compiled(_read(name))


@functools.cache
def _read(name: str) -> str:
    folder = "static" if name in _STATIC else "templates"
    return resources("pypiserver.web.html").joinpath(folder).joinpath(name).read_text("utf-8")


@functools.cache
def _names() -> dict[str, str]:
    """The last component of each static file's URL: its name with a hash of its bytes."""
    names = {}
    for file in _STATIC:
        stem, _, ending = file.partition(".")
        names[file] = f"{stem}.{hashlib.sha256(_read(file).encode('utf-8')).hexdigest()[:12]}.{ending}"
    return names
