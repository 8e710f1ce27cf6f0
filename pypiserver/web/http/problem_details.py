"""The form of a refusal that its reader can show: a problem, a page, or the sentence as it is.

The rule to keep: whatever the form, it says the same sentence, with the same status and headers.
"""

from __future__ import annotations

import enum
import http
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import bottle

from ...formats.simple import prefers_html, prefers_json
from ..html.pages import SECURITY, Frame
from .responses import text

# A page links to its frame by as many steps up; no address of ours is deeper.
MAX_DEPTH = 20


class Reading(enum.Enum):
    """How the one who asked reads a refusal."""

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


class Elsewhere(NamedTuple):
    """Where a project that is not here may be: an ``address`` for people, and what that index is called."""

    address: str
    site: str


def readable(
    answer: bottle.HTTPResponse, frame: Frame, *, name: str = "", elsewhere: Elsewhere | None = None
) -> bottle.HTTPResponse:
    """The answer to a failure, which is a sentence, in the form for this request; ``frame`` is that of pages.

    A page has a search for ``name``, and leads ``elsewhere``.
    """
    environ = bottle.request.environ
    form = form_for(environ)
    if form is Reading.SENTENCE:
        return answer
    sentence, title = answer.body.decode().rstrip("\n"), http.HTTPStatus(answer.status_code).phrase
    headers = {**dict(answer.headerlist), "Content-Type": form.value}
    # That of the sentence.
    del headers["Content-Length"]
    if form is Reading.PROBLEM:
        body = json.dumps({"title": title, "status": answer.status_code, "detail": sentence})
    else:
        steps = min(str(environ.get("PATH_INFO", "")).count("/") - 1, MAX_DEPTH)
        values = {"title": title, "message": sentence, "name": name, "elsewhere": elsewhere}
        body = frame.render("failure", title, values, root="../" * steps).decode()
        headers |= SECURITY
    return text(body, status=answer.status_line, headers=headers)
