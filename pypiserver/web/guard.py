"""The guard in front of every handler, and the response to every failure.

**Invariants:** a protected handler runs only after its action was allowed; the body of a refused upload is read first,
as its client reads no answer before it sent all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bottle

from .. import request_info
from ..deferred import AT_ONCE, Waits
from ..distributions.filename import normalize, parse_filename
from ..errors import BadRequest, InvalidFilename, MethodNotAllowed, NotFound, PypiServerError, Withholding
from ..repeatable import REPEATS
from .http.cors import refuse_other_sites
from .http.problem_details import ADDRESSES, readable, wants_page
from .http.responses import failure
from .routes import Handler, Route, Web, for_programs


def guarded(web: Web, route: Route) -> Handler:
    """The route's handler behind the guard, with failures converted to responses."""
    handler, action, admit = route.handler, route.action, web.admission.admit
    is_post = route.method == "POST"

    def guarded(**arguments: str) -> bottle.HTTPResponse:
        environ = bottle.request.environ
        environ[request_info.ROUTE] = route.rule
        try:
            if is_post:
                refuse_other_sites(environ)
            if action is not None:
                admit(action if isinstance(action, str) else action(environ), environ, arguments)
        except PypiServerError as error:
            if is_post:
                web.gate.drain(environ)
            return refusal(web, error, arguments)
        try:
            if is_post:
                with web.gate.reading(environ):
                    return handler(**arguments)
            return handler(**arguments)
        except PypiServerError as error:
            return refusal(web, error, arguments)

    is_shared = web.cross_origin.is_on and route.method == "GET" and for_programs(route.rule)
    answer: Any = web.cross_origin.readable(guarded) if is_shared else guarded
    at_once = _guarded_at_once(web, route)
    answer.at_once = web.cross_origin.readable(at_once) if is_shared else at_once
    return answer  # type: ignore[no-any-return]


def _guarded_at_once(web: Web, route: Route) -> Handler:
    """The same responses if they wait for nothing; a thread gives refusals, as the log tells of them."""
    handler, action, admit = route.at_once, route.action, web.admission.admit_at_once
    if handler is None or not (action is None or isinstance(action, str)):
        return _wait
    is_open = action is None or not web.access.is_protected(action)

    def guarded(**arguments: str) -> bottle.HTTPResponse:
        environ = bottle.request.environ
        environ[request_info.ROUTE] = route.rule
        if not is_open:
            environ.pop(REPEATS, None)
        if action is not None:
            admit(action, environ, arguments)
        try:
            return handler(**arguments)
        except PypiServerError:
            raise Waits from None

    return guarded


def _wait(**arguments: str) -> bottle.HTTPResponse:
    raise Waits


def refusal(web: Web, error: PypiServerError, arguments: Mapping[str, str]) -> bottle.HTTPResponse:
    """The response to a failure; its page helps to find the project that the address names."""
    name = error.project or arguments.get("project", "") or project_of(arguments.get("path", ""))
    # A page only: the question costs a look into the catalog.
    is_asked = error.status == 404 and error.kind in ("project", "file") and wants_page(bottle.request.environ)
    is_asked = is_asked and bool(name) and _may_list(web, name)
    elsewhere = web.elsewhere(normalize(name)) if is_asked and _is_unknown(web, error, name) else None
    withheld = error if isinstance(error, Withholding) else None
    return readable(failure(error), web.frame, name=name, elsewhere=elsewhere, withheld=withheld)


def _may_list(web: Web, name: str) -> bool:
    """Whether the client may know if the project is here: not everyone who may download its files may list it."""
    try:
        return web.names().admits(normalize(name))
    except PypiServerError:
        return False


def _is_unknown(web: Web, error: PypiServerError, name: str) -> bool:
    """Whether the project of this failure is not here; an outage says nothing about other indexes."""
    if error.kind == "project":
        return True
    try:
        web.repository.project(normalize(name))
    except PypiServerError as found:
        return found.status == 404 and found.kind == "project"
    return False


def project_of(path: str) -> str:
    """The project of a file at this path, '' if the file name is not valid."""
    try:
        return parse_filename(path.rpartition("/")[2]).project
    except InvalidFilename:
        return ""


def answer_unmatched(web: Web, error: bottle.HTTPError) -> bottle.HTTPResponse:
    """The response to an unknown address, or to a wrong method."""
    if AT_ONCE in bottle.request.environ:
        raise Waits
    # A client that uploads to a wrong address reads the response only after it sends the whole body.
    web.gate.drain(bottle.request.environ)
    if error.status_code == 400:
        return readable(failure(BadRequest("The address is not UTF-8, or has control characters.")), web.frame)
    if error.status_code == 405:
        # bottle lists the methods of the table; an address that accepts GET accepts HEAD.
        allow = error.get_header("Allow", "GET").replace("GET", "GET,HEAD").replace(",", ", ")
        return readable(failure(MethodNotAllowed(f"This address takes {allow}. {ADDRESSES}", allow)), web.frame)
    return readable(failure(NotFound(f"There is nothing at this address. {ADDRESSES}")), web.frame)
