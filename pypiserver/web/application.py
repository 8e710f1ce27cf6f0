"""The bottle application that serves the table of routes.

**Invariants:** every row of the table is routed behind the guard, and nothing else is; the health endpoint hides no
other address.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import bottle

from ..errors import ConfigError
from .guard import answer_unmatched, guarded
from .http.dispatch import Dispatch
from .routes import NAME, Route, Web


def build(web: Web) -> bottle.Bottle:
    """The bottle application that serves the table of routes."""
    application = Dispatch(functools.partial(answer_unmatched, web), web.frame)
    routes = web.routes()
    # The health endpoint comes last: the router that has all other addresses tells whether it hides one of them.
    for route in sorted(routes, key=lambda route: route.rule == web.health_endpoint):
        if route.rule == web.health_endpoint and route.method == "GET":
            refuse_collisions(web.health_endpoint, routes, application.router)
        application.route(route.rule, route.method, guarded(web, route))
    return application


def refuse_collisions(endpoint: str, routes: Iterable[Route], router: bottle.Router) -> None:
    """Check that the health endpoint hides no other address, all of which ``router`` knows; raises ConfigError."""
    rules = [route.rule for route in routes if route.method == "GET"]
    try:
        hidden, _ = router.match({"REQUEST_METHOD": "GET", "PATH_INFO": endpoint})
    except bottle.HTTPError:
        hidden = None
    # A one-segment address also matches the rule of a project, which is no collision: the default /health does so too.
    if rules.count(endpoint) > 1 or (hidden is not None and hidden.rule not in (f"/{NAME}", f"/{NAME}/")):
        raise ConfigError(
            f"--health-endpoint {endpoint} is an address of the index itself; choose another one.",
            kind="contradiction",
            setting="health_endpoint",
            value=endpoint,
        )
