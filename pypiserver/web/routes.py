"""The route table: every address with its method, handler and protected action.

**Invariants:** every address is a row of the table with its method and its protected action; what matches no row is 404
or 405; handlers translate, the index decides.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import bottle
from packaging.utils import NormalizedName

from .. import request_info
from ..access.guard import Access
from ..catalog.name_filter import NameFilter
from ..errors import BadRequest, ContentTooLarge, MethodNotAllowed, NotFound, PypiServerError
from ..index.read import Repository
from ..index.visible_projects import VisibleProjects
from ..observability.uploaders import Uploaders
from .admission import Admission
from .api import xmlrpc
from .api.files import Files
from .api.health import Status
from .api.legacy_json import JsonPages
from .api.simple import Simple
from .api.upload import Uploads
from .html import pages
from .html.browse import Browse, to_release
from .html.file_list import AllFiles
from .html.renderer import Renderer
from .html.welcome import Counts, Welcome
from .http.body_limit import BodyLimiter
from .http.cors import CrossOrigin
from .http.forwarded import REWRITTEN, root_url
from .http.page_cache import PageMemory
from .http.problem_details import ADDRESSES, Elsewhere
from .http.request_body import Body
from .http.responses import redirect
from .http.visible_names import VisibleNames, everything

if TYPE_CHECKING:
    from .html.other_indexes import BrowseAll, Indexes

# The number of uploads on the welcome page.
NEWEST = 8
# No file name is longer than 255 characters, so no project name is; a longer one must not fill any cache.
NAME = "<project:re:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?>"
VERSION = "<version:re:[^/]{1,255}>"
# Where no fixed segment of ours precedes it, a version is text that begins with a number (PEP 440).
RELEASE = "<version:re:v?[0-9][^/]{0,253}>"

Handler = Callable[..., bottle.HTTPResponse]
Action = str | None | Callable[[Mapping[str, Any]], str]
# Rule, handler and protected action, and the handler of ready responses if there is one.
Row = tuple[str, Handler, Action] | tuple[str, Handler, Action, Handler]


@dataclass(frozen=True, slots=True)
class Route:
    """One address: its method, its rule in bottle's syntax, its handler and the action that protects it.

    ``action`` is ``list``, ``download``, ``update``, ``metrics``, None for an address open to everyone, or a function
    of the WSGI environ where the request's content decides. ``at_once`` gives the same response as the handler if that
    waits for nothing (no SQL, no file, no lock held over either), and raises Waits otherwise; None always waits.
    """

    method: str
    rule: str
    handler: Handler
    action: Action
    at_once: Handler | None = None


@dataclass(frozen=True, slots=True)
class Web:
    """The collaborators of the handlers, and the few settings of responses."""

    repository: Repository
    access: Access
    admission: Admission
    memory: PageMemory
    simple: Simple
    json_pages: JsonPages
    all_files: AllFiles
    files: Files
    uploads: Uploads
    welcome: Welcome
    status: Status
    server_base_url: str
    health_endpoint: str
    gate: BodyLimiter
    max_search_size: int
    renderer: Renderer
    cross_origin: CrossOrigin
    frame: pages.Frame
    # The user who uploaded a file; None where pages must not show it.
    uploaders: Uploaders | None
    # A page about the project on another index; None for private projects, and where no other index is used.
    elsewhere: Callable[[NormalizedName], Elsewhere | None]
    # The projects that the client of this request may see in lists.
    names: VisibleNames = everything
    # What other indexes have for people, None where none are passed on.
    indexes: Indexes | None = None

    def routes(self) -> list[Route]:
        """The table of all addresses; the first match wins."""
        gets = [*self._for_operators(), *self._for_clients(), *self._for_people()]
        posts: list[Row] = [
            *[(rule, self.search, "list") for rule in ("/RPC2", "/RPC2/")],
            *[(rule, self.post, action_of_post) for rule in ("/", "/pypi", "/pypi/")],
            *[(rule, self.uploads.post, "update") for rule in ("/simple", "/simple/", "/legacy", "/legacy/")],
        ]
        table = [Route("GET", *row) for row in gets]
        table += [Route("POST", *row) for row in posts]
        if self.cross_origin.is_on:
            # Without a row of its own, /health would match a project's address.
            ways = [(rule, self.cross_origin.preflight if for_programs(rule) else only_read) for rule, *_ in gets[1:]]
            table += [Route("OPTIONS", *way, None) for way in ways]
        return table

    def _for_operators(self) -> list[Row]:
        below = self.health_endpoint.rstrip("/")
        return [
            ("/", self.show_welcome, None),
            ("/static/<name>", *_ready(pages.static)),
            (self.health_endpoint, exactly(self.status.health), None),
            (f"{below}/live", *_ready(exactly(self.status.live))),
            (f"{below}/ready", exactly(self.status.ready), None),
            *([("/metrics", exactly(self.status.metrics), "metrics")] if self.status.has_metrics else []),
            ("/favicon.ico", *_ready(pages.icon)),
        ]

    def _for_clients(self) -> list[Row]:
        return [
            ("/simple", *_ready(lambda: redirect("simple/"))),
            ("/simple/", self.simple.index, "list", self.simple.index_at_once),
            (f"/simple/{NAME}", *_ready(lambda project: redirect(f"{project}/"))),
            (f"/simple/{NAME}/", self.simple.project, "list", self.simple.project_at_once),
            ("/+simple", *_ready(lambda: redirect("+simple/"))),
            ("/+simple/", self.simple.index, "list", self.simple.index_at_once),
            (f"/+simple/{NAME}", *_ready(lambda project: redirect(f"{project}/"))),
            (f"/+simple/{NAME}/", self.simple.project_here, "list", self.simple.project_here_at_once),
            ("/packages", *_ready(lambda: redirect("packages/"))),
            ("/packages/", self.all_files.listing, "list"),
            ("/packages/<path:path>", self.files.download, "download", self.files.at_once),
            (f"/pypi/{NAME}/json", self.json_pages.project, "list"),
            (f"/pypi/{NAME}/{VERSION}/json", self.json_pages.project, "list"),
            (f"/{NAME}/json", self.json_pages.project, "list"),
            (f"/{NAME}/{RELEASE}/json", self.json_pages.project, "list"),
        ]

    def _for_people(self) -> list[Row]:
        private = self.access.is_protected("list")
        browse = Browse(
            self.repository,
            self.memory,
            url=self.url,
            private=private,
            renderer=self.renderer,
            frame=self.frame,
            uploaders=self.uploaders,
            names=self.names,
        )
        pages: Browse | BrowseAll = browse
        if self.indexes is not None:
            pages = self.indexes.beyond(browse, url=self.url, private=private, frame=self.frame)
        return [
            ("/projects", *_ready(lambda: redirect("projects/"))),
            ("/projects/", browse.projects, "list"),
            ("/projects/feed.atom", browse.feed, "list"),
            (f"/project/{NAME}", *_ready(lambda project: redirect(f"{project}/"))),
            (f"/project/{NAME}/", pages.project, "list"),
            (f"/project/{NAME}/feed.atom", pages.releases, "list"),
            (f"/project/{NAME}/{VERSION}", *_ready(lambda project, version: redirect(f"{quote(version)}/"))),
            (f"/project/{NAME}/{VERSION}/", pages.release, "list"),
            (f"/{NAME}", *_ready(lambda project: redirect(f"simple/{project}/"))),
            (f"/{NAME}/", *_ready(lambda project: redirect(f"../simple/{project}/"))),
            # Addresses that people derive from those of PyPI, and those that hatch prints.
            (f"/{NAME}/{RELEASE}", to_release("../"), None),
            (f"/{NAME}/{RELEASE}/", to_release("../../"), None),
            (f"/pypi/{NAME}", to_release("../"), None),
            (f"/pypi/{NAME}/", to_release("../../"), None),
            (f"/pypi/{NAME}/{RELEASE}", to_release("../../"), None),
            (f"/pypi/{NAME}/{RELEASE}/", to_release("../../../"), None),
        ]

    def show_welcome(self) -> bottle.HTTPResponse:
        """``GET /``: the welcome page; only clients that may list packages see counts and uploads."""
        script_name = str(bottle.request.environ.get("SCRIPT_NAME", "")).rstrip("/")
        if script_name and not bottle.request.environ["PATH_INFO"]:
            # The request is for our mount path without a slash at its end: relative links of the page would lead
            # outside.
            return redirect(f"{quote(script_name.rpartition('/')[2].encode('latin-1', 'replace'))}/")
        counts, names = None, self.listed()
        if names is not None:
            counts = Counts(*self.repository.totals(names), self.repository.newest(NEWEST, names))
        uploads = (
            "refused" if self.access.is_refused("update") else "login" if self.access.is_protected("update") else ""
        )
        return self.welcome.answer(bottle.request.environ, self.url(), counts, uploads=uploads)

    def post(self) -> bottle.HTTPResponse:
        """``POST /``: a search when the body is XML, an upload otherwise."""
        if _is_xml(bottle.request.environ):
            return self.search()
        return self.uploads.post()

    def search(self) -> bottle.HTTPResponse:
        """XML-RPC: ``search`` for ``pip search``, and the lists that mirrors read."""
        if _is_form(bottle.request.environ):
            # A fault has status 200, which an uploading client takes for success.
            self.gate.drain(bottle.request.environ)
            raise BadRequest(f"This address takes searches only. {ADDRESSES}")
        try:
            data = Body(bottle.request.environ, self.max_search_size).read_all(self.max_search_size)
        except ContentTooLarge:
            self.gate.drain(bottle.request.environ)
            raise
        answer = xmlrpc.handle(data, VisibleProjects(self.repository, self.names()))
        headers = {"Content-Type": "text/xml; charset=utf-8", "Content-Length": str(len(answer))}
        return bottle.HTTPResponse(answer, headers={**headers, "Cache-Control": "no-store"})

    def url(self) -> str:
        """Our root URL as the client sees it, with a slash at the end."""
        return root_url(self.server_base_url, bottle.request.environ)

    def listed(self) -> NameFilter | None:
        """What this request's credentials allow to list, None for nothing at all."""
        environ = bottle.request.environ
        try:
            environ[request_info.PRINCIPAL] = self.access.check("list", environ.get("HTTP_AUTHORIZATION"))
            return self.names()
        except PypiServerError:
            return None


def _ready(handler: Handler) -> tuple[Handler, None, Handler]:
    """The handler of an address that is open to everyone and never waits."""
    return handler, None, handler


def for_programs(rule: str) -> bool:
    """Whether programs read this address, rather than people or the operator alone."""
    return rule.startswith(("/simple", "/+simple", "/packages", "/pypi/", f"/{NAME}"))


def action_of_post(environ: Mapping[str, Any]) -> str:
    """The protected action of a POST to an address that accepts both searches and uploads."""
    return "list" if _is_xml(environ) else "update"


def exactly(handler: Handler) -> Handler:
    """The handler for requests whose path is unchanged since the proxy saw it: the proxy's rules may guard it."""

    @functools.wraps(handler)
    def answer() -> bottle.HTTPResponse:
        environ = bottle.request.environ
        # Some servers remove repeated slashes, but keep the requested path in these variables.
        asked = unquote(str(environ.get("REQUEST_URI") or environ.get("RAW_URI") or "").partition("?")[0])
        if environ.get(REWRITTEN) or "//" in (asked.partition("://")[2] or asked):
            raise NotFound(f"There is nothing at this address. {ADDRESSES}")
        return handler()

    return answer


def only_read(**arguments: str) -> bottle.HTTPResponse:
    """No other origin may read this address, so a preflight of it is refused."""
    raise MethodNotAllowed(f"This address takes GET, HEAD. {ADDRESSES}", "GET, HEAD")


def _is_form(environ: Mapping[str, Any]) -> bool:
    return str(environ.get("CONTENT_TYPE", "")).strip().lower().startswith("multipart/")


def _is_xml(environ: Mapping[str, Any]) -> bool:
    kind = str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
    return kind in ("text/xml", "application/xml")
