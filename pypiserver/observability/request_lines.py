"""A line of the log for each request, response and error, in the formats that settings choose.

**Invariants:** every field comes out clean and without secrets; whether lines are wanted is decided once.
While they are off, ``wrap`` costs nothing: it returns the application itself.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ..deferred import AT_ONCE, RECEIVED, Waits
from ..request_info import EXCEPTION
from ..server.expect_continue import ASKED
from .clean_lines import LONGEST_VALUE, clean

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

REQUESTS = "pypiserver.requests"  # the logger of these lines; they have level INFO
_SECRET_NAME = re.compile(r"AUTH(?!ENTICATE|_TYPE)|COOKIE|TOKEN|PASSW|SECRET|API_?KEY|CREDENTIAL", re.IGNORECASE)
_ADDRESSES = ("location", "content-location", "x-store-url", "x-accel-redirect", "x-sendfile")
# Some servers add the environment of the process to that of the request; '%s' shows only the request's variables.
_OF_REQUEST = re.compile(
    r"(HTTP|REQUEST|SERVER|REMOTE|CONTENT)_[A-Z0-9_]+|SCRIPT_NAME|PATH_INFO|QUERY_STRING|wsgi\.url_scheme"
)


class Fields(Mapping[str, object]):
    """The fields that a format-string can select: its own, then those of the request's environ; unknown ones are empty.

    Every text comes out clean. ``str()`` shows all fields, for the format ``%s``.
    """

    def __init__(self, environ: Environ, own: Mapping[str, object]) -> None:
        self._environ = environ
        self._own = own

    def __getitem__(self, key: str) -> object:
        value = self._own.get(key, self._environ.get(key, ""))
        if value and _SECRET_NAME.search(key):
            return "***"
        return value if isinstance(value, int) else clean(str(value), LONGEST_VALUE)

    def __iter__(self) -> Iterator[str]:
        """Its own fields, then the variables that describe the request (PEP 3333)."""
        yield from self._own
        yield from sorted(key for key in self._environ if _OF_REQUEST.fullmatch(key))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __str__(self) -> str:
        return "{" + ", ".join(f"{clean(key)!r}: {self[key]!r}" for key in self) + "}"

    __repr__ = __str__


def request_fields(environ: Environ) -> Fields:
    """The fields of a request, by the names of its environ; ``bottle.request`` is its method and URL."""
    server = f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
    path = quote((environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1", "replace"))
    query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
    url = f"{environ.get('wsgi.url_scheme', 'http')}://{environ.get('HTTP_HOST') or server}{path}{query}"
    return Fields(environ, {"bottle.request": f"<LocalRequest: {environ.get('REQUEST_METHOD', 'GET')} {url}>"})


def response_fields(environ: Environ, status: str, headers: Iterable[tuple[str, str]]) -> Fields:
    """The fields of a response: ``status``, ``status_code``, ``headers``, each header (``content_type``)."""
    return Fields(environ, _response(status, headers))


def error_fields(environ: Environ, response: tuple[str, Iterable[tuple[str, str]]], body: object) -> Fields:
    """The fields of an error response: also its ``body``, ``exception`` and ``traceback``."""
    fault = environ.get(EXCEPTION)
    trace = "".join(traceback.format_exception(fault)) if isinstance(fault, BaseException) else ""
    words = b"".join(body).decode("utf-8", "replace") if isinstance(body, list | tuple) else ""
    shown = repr(fault) if isinstance(fault, BaseException) else ""
    own = {"body": words.strip(), "exception": shown, "traceback": trace.rstrip("\n")}
    return Fields(environ, {**_response(*response), **own})


def _response(status: str, headers: Iterable[tuple[str, str]]) -> dict[str, object]:
    listed = [(name, _shown(name, value)) for name, value in headers]
    code = int(status[:3]) if re.match(r"[0-9]{3}", status) else 0
    own: dict[str, object] = {name.lower().replace("-", "_"): value for name, value in listed}
    return {**own, "status": status, "status_line": status, "status_code": code, "headers": listed}


def _shown(name: str, value: str) -> str:
    """The value of a response's header; an address loses its query, which may authorize a download."""
    if _SECRET_NAME.search(name):
        return "***"
    address, mark, _ = value.partition("?")
    return f"{address}?***" if mark and name.lower() in _ADDRESSES else value


def wrap(application: Application, *, request_format: str, response_format: str, error_format: str) -> Application:
    """The application with a line for each request, response and error; the application itself if no line is wanted.

    An empty format leaves its line out. Whether lines are wanted is decided once, here: the level of the logger
    ``pypiserver.requests`` is INFO or lower.
    """
    logger = logging.getLogger(REQUESTS)
    if not logger.isEnabledFor(logging.INFO) or not (request_format or response_format or error_format):
        return application

    def write(form: str, fields: Fields) -> None:
        if form:
            logger.info("%s", (form % fields).rstrip(), extra={"is_clean": True})

    def logged(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if AT_ONCE in environ:
            # Lines may be written to a slow disk.
            raise Waits
        if not environ.get(ASKED) and RECEIVED not in environ:
            write(request_format, request_fields(environ))
        last: tuple[str, Iterable[tuple[str, str]]] = ("", ())

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal last
            last = (status, headers)
            write(response_format, response_fields(environ, status, headers))
            return start_response(status, headers, *exc_info)

        try:
            body = application(environ, start)
        except Exception as fault:
            environ[EXCEPTION] = fault
            write(error_format, error_fields(environ, last, ()))
            raise
        if last[0][:1] in {"4", "5"}:
            write(error_format, error_fields(environ, last, body))
        return body

    return logged
