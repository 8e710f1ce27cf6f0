"""From a WSGI request to the handler of its address, and from the handler's answer back.

bottle's own way binds a response to each request, calls hooks, and copies, checks and counts headers that were right
before: half of the time of a page from the cache. Its router and its request are all we need. The rules to keep: what
is handed to the server is the server's, so a list that is kept is copied; a body that is not sent is closed; an address
is taken as it is or refused, never mended, so that a proxy's rules for it hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import bottle

from ... import request_info
from ..html.pages import Frame
from .problem_details import readable
from .responses import mistake

_EMPTY = (204, 304)
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")


class Dispatch(bottle.Bottle):  # type: ignore[misc]
    """A bottle application without hooks and plugins; ``unmatched`` answers what is in no row of its routes.

    ``frame`` is that of pages that say what failed.
    """

    def __init__(self, unmatched: Callable[[bottle.HTTPError], bottle.HTTPResponse], frame: Frame) -> None:
        super().__init__()
        self._frame = frame
        self._unmatched = unmatched

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        bottle.request.bind(environ)
        answer = self._answer(environ)
        environ[request_info.STATUS] = answer.status_code
        headers = answer.headerlist
        start_response(answer.status_line, headers)
        body = answer.body
        if environ["REQUEST_METHOD"] == "HEAD" or answer.status_code in _EMPTY:
            if hasattr(body, "close"):
                body.close()
            return []
        if isinstance(body, bytes):
            return [body]
        if hasattr(body, "read"):
            # sending.py gives files to those servers only that have it.
            environ[request_info.LENGTH] = next((int(value) for name, value in headers if name == "Content-Length"), 0)
            wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](body)
            return wrapped
        return body  # type: ignore[no-any-return]

    def _answer(self, environ: dict[str, Any]) -> bottle.HTTPResponse:
        try:
            path = environ.setdefault("PATH_INFO", "")
            try:
                # PEP 3333 hands over bytes, each as a character. A line end at the end would match a rule without one.
                if not path.isascii():
                    environ["PATH_INFO"] = path = path.encode("latin-1").decode("utf-8")
                if not path.isprintable() and _CONTROL.search(path):
                    raise bottle.HTTPError(400)
                route, arguments = self.router.match(environ)
            except UnicodeDecodeError:
                return self._unmatched(bottle.HTTPError(400))
            except bottle.HTTPError as error:
                return self._unmatched(error)
            return route.callback(**arguments)
        except bottle.HTTPResponse as answer:
            return answer
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            # Left to the server, it would be written past the log.
            environ[request_info.EXCEPTION] = error
            return readable(mistake(error), self._frame)
