"""From a WSGI request to the handler of its address, and from the handler's response back.

bottle's own dispatch binds a response to each request, calls hooks, and copies, checks and counts headers that are
already correct: half of the time of a cached page. We use only its router and its request.

**Invariants:** the server owns the header list it receives, so a cached list is copied; a body that is not sent is
closed; an address is accepted unchanged or refused, never corrected, so that a proxy's access rules for it hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import bottle

from ... import request_info
from ...deferred import AT_ONCE, IS_OVERLOADED
from ..html.pages import Frame
from .problem_details import readable
from .responses import mistake, overloaded

_EMPTY = (204, 304)
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")


class Dispatch(bottle.Bottle):  # type: ignore[misc]
    """A bottle application without hooks and plugins; ``unmatched`` answers requests that match no route.

    ``frame`` is the page frame of error pages.
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
            # conditional.py returns a file only to servers that have a file wrapper.
            environ[request_info.LENGTH] = next((int(value) for name, value in headers if name == "Content-Length"), 0)
            wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](body)
            return wrapped
        return body  # type: ignore[no-any-return]

    def _answer(self, environ: dict[str, Any]) -> bottle.HTTPResponse:
        try:
            path = environ.setdefault("PATH_INFO", "")
            if IS_OVERLOADED in environ:
                return readable(overloaded(), self._frame)
            try:
                # PEP 3333 passes each byte as a character. A line end at the end would match a rule that has none.
                if not path.isascii():
                    environ["PATH_INFO"] = path = path.encode("latin-1").decode("utf-8")
                if not path.isprintable() and _CONTROL.search(path):
                    raise bottle.HTTPError(400)
                route, arguments = self.router.match(environ)
            except UnicodeDecodeError:
                return self._unmatched(bottle.HTTPError(400))
            except bottle.HTTPError as error:
                return self._unmatched(error)
            answer = route.callback.at_once if AT_ONCE in environ else route.callback
            return answer(**arguments)
        except bottle.HTTPResponse as answer:
            return answer
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            # The server would write it outside of our log.
            environ[request_info.EXCEPTION] = error
            return readable(mistake(error), self._frame)
