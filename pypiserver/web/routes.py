"""The route table, one guard for all routes, and one map from failure to response; all of it by means of bottle.

**Invariants:** every address is a row of the table with its method and its protected action; what matches no row is 404
or 405; handlers translate, the index decides.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import bottle

from .. import request_info
from ..access.authentication import Access
from ..distributions.filename import normalize, parse_filename
from ..errors import (
    BadRequest,
    ConfigError,
    ContentTooLarge,
    InvalidFilename,
    MethodNotAllowed,
    NotFound,
    PypiServerError,
)
from ..index.read import Repository
from ..observability.uploaders import Uploaders
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
from .http.cors import CrossOrigin, refuse_other_sites
from .http.dispatch import Dispatch
from .http.forwarded import REWRITTEN, base_url
from .http.problem_details import ADDRESSES, Elsewhere, readable, wants_page
from .http.request_body import Body
from .http.responses import failure, redirect

# The number of uploads on the welcome page.
NEWEST = 8
# No file name is longer than 255 characters, so no project name is; a longer one must not fill any cache.
_NAME = "<project:re:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?>"
_VERSION = "<version:re:[^/]{1,255}>"
# Where no fixed segment of ours precedes it, a version is text that begins with a number (PEP 440).
_RELEASE = "<version:re:v?[0-9][^/]{0,253}>"

Handler = Callable[..., bottle.HTTPResponse]
Action = str | None | Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Route:
    """One address: its method, its rule in bottle's syntax, its handler and the action that protects it.

    ``action`` is ``list``, ``download``, ``update``, None for an address open to everyone, or a function of the WSGI
    environ where the request's content decides.
    """

    method: str
    rule: str
    handler: Handler
    action: Action


@dataclass(frozen=True, slots=True)
class Web:
    """The collaborators of the handlers, and the few settings of responses."""

    repository: Repository
    access: Access
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
    elsewhere: Callable[[str], Elsewhere | None]

    def routes(self) -> list[Route]:
        """The table of all addresses; the first match wins."""
        browse = Browse(
            self.repository,
            url=self.url,
            private=self.access.is_protected("list"),
            renderer=self.renderer,
            frame=self.frame,
            uploaders=self.uploaders,
        )
        below = self.health_endpoint.rstrip("/")
        gets: list[tuple[str, Handler, Action]] = [
            ("/", self.show_welcome, None),
            ("/static/<name>", pages.static, None),
            (self.health_endpoint, exactly(self.status.health), None),
            (f"{below}/live", exactly(self.status.live), None),
            (f"{below}/ready", exactly(self.status.ready), None),
            *([("/metrics", exactly(self.status.metrics), "list")] if self.status.has_metrics else []),
            ("/favicon.ico", pages.icon, None),
            ("/simple", lambda: redirect("simple/"), None),
            ("/simple/", self.simple.index, "list"),
            (f"/simple/{_NAME}", lambda project: redirect(f"{project}/"), None),
            (f"/simple/{_NAME}/", self.simple.project, "list"),
            ("/+simple", lambda: redirect("+simple/"), None),
            ("/+simple/", self.simple.index, "list"),
            (f"/+simple/{_NAME}", lambda project: redirect(f"{project}/"), None),
            (f"/+simple/{_NAME}/", self.simple.project_here, "list"),
            ("/packages", lambda: redirect("packages/"), None),
            ("/packages/", self.all_files.listing, "list"),
            ("/packages/<path:path>", self.files.download, "download"),
            (f"/pypi/{_NAME}/json", self.json_pages.project, "list"),
            (f"/pypi/{_NAME}/{_VERSION}/json", self.json_pages.project, "list"),
            (f"/{_NAME}/json", self.json_pages.project, "list"),
            (f"/{_NAME}/{_RELEASE}/json", self.json_pages.project, "list"),
            ("/projects", lambda: redirect("projects/"), None),
            ("/projects/", browse.projects, "list"),
            ("/projects/feed.atom", browse.feed, "list"),
            (f"/project/{_NAME}", lambda project: redirect(f"{project}/"), None),
            (f"/project/{_NAME}/", browse.project, "list"),
            (f"/project/{_NAME}/{_VERSION}", lambda project, version: redirect(f"{quote(version)}/"), None),
            (f"/project/{_NAME}/{_VERSION}/", browse.release, "list"),
            (f"/{_NAME}", lambda project: redirect(f"simple/{project}/"), None),
            (f"/{_NAME}/", lambda project: redirect(f"../simple/{project}/"), None),
            # Addresses that people derive from those of PyPI, and those that hatch prints.
            (f"/{_NAME}/{_RELEASE}", to_release("../"), None),
            (f"/{_NAME}/{_RELEASE}/", to_release("../../"), None),
            (f"/pypi/{_NAME}", to_release("../"), None),
            (f"/pypi/{_NAME}/", to_release("../../"), None),
            (f"/pypi/{_NAME}/{_RELEASE}", to_release("../../"), None),
            (f"/pypi/{_NAME}/{_RELEASE}/", to_release("../../../"), None),
        ]
        posts: list[tuple[str, Handler, Action]] = [
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

    def show_welcome(self) -> bottle.HTTPResponse:
        """``GET /``: the welcome page; only clients that may list packages see counts and uploads."""
        script_name = str(bottle.request.environ.get("SCRIPT_NAME", "")).rstrip("/")
        if script_name and not bottle.request.environ["PATH_INFO"]:
            # The request is for our mount path without a slash at its end: relative links of the page would lead
            # outside.
            return redirect(f"{quote(script_name.rpartition('/')[2].encode('latin-1', 'replace'))}/")
        counts = None
        if self.may("list"):
            counts = Counts(*self.repository.totals(), self.repository.newest(NEWEST))
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
        data = bytearray()
        try:
            body = Body(bottle.request.environ, self.max_search_size)
            while block := body.read(64 * 1024):
                data += block
        except ContentTooLarge:
            self.gate.drain(bottle.request.environ)
            raise
        answer = xmlrpc.handle(bytes(data), self.repository)
        headers = {"Content-Type": "text/xml; charset=utf-8", "Content-Length": str(len(answer))}
        return bottle.HTTPResponse(answer, headers={**headers, "Cache-Control": "no-store"})

    def url(self) -> str:
        """Our root URL as the client sees it, with a slash at the end."""
        return (self.server_base_url or base_url(bottle.request.environ)).rstrip("/") + "/"

    def may(self, action: str) -> bool:
        """Whether this request's credentials allow the action."""
        try:
            self.access.check(action, bottle.request.environ.get("HTTP_AUTHORIZATION"))
        except PypiServerError:
            return False
        return True

    def guarded(self, route: Route) -> Handler:
        """The route's handler behind the guard, with failures converted to responses."""
        handler, action, check = route.handler, route.action, self.access.check
        is_post = route.method == "POST"

        def guarded(**arguments: str) -> bottle.HTTPResponse:
            environ = bottle.request.environ
            environ[request_info.ROUTE] = route.rule
            try:
                if is_post:
                    refuse_other_sites(environ)
                if action is not None:
                    name = action if isinstance(action, str) else action(environ)
                    environ[request_info.USER] = check(name, environ.get("HTTP_AUTHORIZATION"))
            except PypiServerError as error:
                if is_post:
                    self.gate.drain(environ)
                return self.refusal(error, arguments)
            try:
                if is_post:
                    with self.gate.reading(environ):
                        return handler(**arguments)
                return handler(**arguments)
            except PypiServerError as error:
                return self.refusal(error, arguments)

        is_shared = self.cross_origin.is_on and route.method == "GET" and for_programs(route.rule)
        return self.cross_origin.readable(guarded) if is_shared else guarded

    def refusal(self, error: PypiServerError, arguments: Mapping[str, str]) -> bottle.HTTPResponse:
        """The response to a failure; its page helps to find the project that the address names."""
        name = error.project or arguments.get("project", "") or project_of(arguments.get("path", ""))
        # A page only: the question costs a look into the catalog.
        is_asked = error.status == 404 and error.kind in ("project", "file") and wants_page(bottle.request.environ)
        elsewhere = self.elsewhere(normalize(name)) if is_asked and name and self._is_unknown(error, name) else None
        return readable(failure(error), self.frame, name=name, elsewhere=elsewhere)

    def _is_unknown(self, error: PypiServerError, name: str) -> bool:
        """Whether the project of this failure is not here; an outage says nothing about other indexes."""
        if error.kind == "project":
            return True
        try:
            self.repository.project(normalize(name))
        except PypiServerError as found:
            return found.status == 404 and found.kind == "project"
        return False


def project_of(path: str) -> str:
    """The project of a file at this path, '' if the file name is not valid."""
    try:
        return parse_filename(path.rpartition("/")[2]).project
    except InvalidFilename:
        return ""


def build(web: Web) -> bottle.Bottle:
    """The bottle application that serves the table of routes."""
    application = Dispatch(functools.partial(_answer_unmatched, web), web.frame)
    routes = web.routes()
    # The health endpoint comes last: the router that has all other addresses tells whether it hides one of them.
    for route in sorted(routes, key=lambda route: route.rule == web.health_endpoint):
        if route.rule == web.health_endpoint and route.method == "GET":
            refuse_collisions(web.health_endpoint, routes, application.router)
        application.route(route.rule, route.method, web.guarded(route))
    return application


def for_programs(rule: str) -> bool:
    """Whether programs read this address, rather than people or the operator alone."""
    return rule.startswith(("/simple", "/+simple", "/packages", "/pypi/", f"/{_NAME}"))


def refuse_collisions(endpoint: str, routes: Iterable[Route], router: bottle.Router) -> None:
    """Check that the health endpoint hides no other address, all of which ``router`` knows; raises ConfigError."""
    rules = [route.rule for route in routes if route.method == "GET"]
    try:
        hidden, _ = router.match({"REQUEST_METHOD": "GET", "PATH_INFO": endpoint})
    except bottle.HTTPError:
        hidden = None
    # A one-segment address also matches the rule of a project, which is no collision: the default /health does so too.
    if rules.count(endpoint) > 1 or (hidden is not None and hidden.rule not in (f"/{_NAME}", f"/{_NAME}/")):
        raise ConfigError(
            f"--health-endpoint {endpoint} is an address of the index itself; choose another one.",
            kind="contradiction",
            setting="health_endpoint",
            value=endpoint,
        )


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


def _answer_unmatched(web: Web, error: bottle.HTTPError) -> bottle.HTTPResponse:
    """The response to an unknown address, or to a wrong method."""
    # A client that uploads to a wrong address reads the response only after it sends the whole body.
    web.gate.drain(bottle.request.environ)
    if error.status_code == 400:
        return readable(failure(BadRequest("The address is not UTF-8, or has control characters.")), web.frame)
    if error.status_code == 405:
        # bottle lists the methods of the table; an address that accepts GET accepts HEAD.
        allow = error.get_header("Allow", "GET").replace("GET", "GET,HEAD").replace(",", ", ")
        return readable(failure(MethodNotAllowed(f"This address takes {allow}. {ADDRESSES}", allow)), web.frame)
    return readable(failure(NotFound(f"There is nothing at this address. {ADDRESSES}")), web.frame)
