"""Failures as answers, in the form that their reader can show: a problem, a page, or a sentence.

The rules to keep: one place maps a failure to its answer; whatever the form, it says the same sentence, and the log has
all of it on one line; a reason is one line of ASCII, so it can stand in the reason phrase.
"""

from __future__ import annotations

import enum
import http
import json
import logging
from collections.abc import Mapping
from typing import Any

import bottle

from ..errors import MethodNotAllowed, PypiServerError, Unauthorized
from ..simple_api import prefers_html, prefers_json
from ..text import MAX_SENTENCE, cut, printable
from .answers import text
from .pages import SECURITY, render

_LOG = logging.getLogger(__name__)
REALM = 'Basic realm="pypi", charset="UTF-8"'
MAX_REASON = 200
# Characters of a path in the log; it may have a hundred kilobytes.
MAX_SHOWN = 500
# A page links to its frame by as many steps up; no address of ours is deeper.
MAX_DEPTH = 20


class Reading(enum.Enum):
    """How the one who asked reads an answer."""

    PROBLEM = "application/problem+json"  # RFC 9457; it knows no charset, and uv takes exactly this
    PAGE = "text/html; charset=utf-8"
    SENTENCE = "text/plain; charset=utf-8"


def form_for(environ: Mapping[str, Any]) -> Reading:
    """A page for browsers, a problem for whoever asks for JSON, else the sentence.

    uv 0.13 prints a problem and nothing else, and asks for files as curl does, with ``*/*``: so it is known by its name
    (RFC 9110 section 12.1). Poetry, maturin and curl send ``*/*`` as well, and print what comes as it is.
    """
    accept = environ.get("HTTP_ACCEPT")
    if prefers_html(accept):
        return Reading.PAGE
    if prefers_json(accept) or (accept == "*/*" and str(environ.get("HTTP_USER_AGENT", "")).startswith("uv/")):
        return Reading.PROBLEM
    return Reading.SENTENCE


def failure(error: PypiServerError) -> bottle.HTTPResponse:
    """The answer to one of our failures: what clients may know of it, while the log has all of it on one line."""
    # What a client or a package named may be in it.
    message = cut(error.public, MAX_SENTENCE)
    headers: dict[str, str] = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = REALM
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allow
    if error.status == 503:
        headers["Retry-After"] = "2"
    level = logging.ERROR if error.status >= 500 else logging.INFO
    _LOG.log(level, "%s %s: %d %s", *_asked(), error.status, printable(cut(str(error), MAX_SENTENCE)))
    return _answer(message, error.status, f"{error.status} {reason_phrase(message)}", headers)


def mistake(error: BaseException | None, *, status: int = 500) -> bottle.HTTPResponse:
    """The answer to what is no failure of ours but a bug; its traceback goes to the log only."""
    _LOG.error("%s %s: %d", *_asked(), status, exc_info=error)
    return _answer("Something went wrong in the server; its log says what.", status, status, {})


def _answer(message: str, status: int, line: int | str, headers: dict[str, str]) -> bottle.HTTPResponse:
    environ = bottle.request.environ
    form, title = form_for(environ), http.HTTPStatus(status).phrase
    # The name of a folder may have bytes that are not UTF-8.
    body = message.encode("utf-8", "backslashreplace").decode()
    if form is Reading.PROBLEM:
        body = json.dumps({"title": title, "status": status, "detail": body})
    elif form is Reading.PAGE:
        steps = min(str(environ.get("PATH_INFO", "")).count("/") - 1, MAX_DEPTH)
        body = render("failure", title, {"title": title, "message": body}, root="../" * steps).decode()
        headers = {**headers, **SECURITY}
    return text(body, status=line, headers={**headers, "Content-Type": form.value})


def _asked() -> tuple[str, str]:
    """The method and the path of this request, as a log shows them."""
    return printable(cut(bottle.request.method, MAX_SHOWN)), printable(cut(bottle.request.path, MAX_SHOWN))


def reason_phrase(message: str) -> str:
    """The message as a reason phrase (RFC 9112 section 4): one line of printable ASCII, not too long."""
    line = " ".join(message.encode("ascii", "replace").decode().split())
    line = "".join(character for character in line if character.isprintable())
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 3] + "..."
