"""The form of a refusal that its client can show: a problem (RFC 9457), a page, or a plain sentence.

**Invariants:** every form has the same sentence, the same status and the same headers; a page leaves out the addresses
for programs, because it has links.
"""

from __future__ import annotations

import contextlib
import enum
import http
import json
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

import bottle

from ...errors import Withholding
from ...formats.negotiation import prefers_html, prefers_json, prefers_text
from ..html.pages import SECURITY, Frame
from .responses import text

# A page links to its frame by at most this many steps up; no address of ours is deeper.
MAX_DEPTH = 20
# Names the right addresses for clients that request a wrong one.
ADDRESSES = (
    "The index is at simple/ (pip install --index-url), uploads go to the root by POST, files are below packages/."
)


class Reading(enum.Enum):
    """How the client shows a refusal to its user."""

    PROBLEM = "application/problem+json"  # RFC 9457; it has no charset, and uv accepts exactly this
    PAGE = "text/html; charset=utf-8"
    SENTENCE = "text/plain; charset=utf-8"


def form_for(environ: Mapping[str, Any], *, default: Reading = Reading.SENTENCE) -> Reading:
    """A page for browsers, a problem for clients that ask for JSON, the sentence for those that ask for text.

    All others get the ``default``.

    uv 0.13 prints only problems, but requests files like curl, with ``*/*``: so it is recognized by its name (RFC 9110
    section 12.1). Poetry, maturin and curl also send ``*/*``, and print the body as it is.
    """
    accept = environ.get("HTTP_ACCEPT")
    if prefers_html(accept):
        return Reading.PAGE
    if prefers_json(accept) or (accept == "*/*" and str(environ.get("HTTP_USER_AGENT", "")).startswith("uv/")):
        return Reading.PROBLEM
    return Reading.SENTENCE if prefers_text(accept) else default


def wants_page(environ: Mapping[str, Any]) -> bool:
    """Whether a refusal is shown as a page."""
    return form_for(environ) is Reading.PAGE


class Elsewhere(NamedTuple):
    """Where a project that is not here may be: an ``address`` for people, and the name of that index."""

    address: str
    site: str


def readable(
    answer: bottle.HTTPResponse,
    frame: Frame,
    *,
    name: str = "",
    elsewhere: Elsewhere | None = None,
    withheld: Withholding | None = None,
) -> bottle.HTTPResponse:
    """The response to a failure, converted from a sentence to the form for this request; pages use ``frame``.

    A page has a search for ``name``, and a link to ``elsewhere``. If a file is ``withheld``, the problem has the rule
    and the time, and programs that ask for no form get it: what fetches files sends ``*/*``.
    """
    environ = bottle.request.environ
    form = form_for(environ, default=Reading.SENTENCE if withheld is None else Reading.PROBLEM)
    if form is Reading.SENTENCE:
        return answer
    sentence, title = answer.body.decode().rstrip("\n"), http.HTTPStatus(answer.status_code).phrase
    headers = {**dict(answer.headerlist), "Content-Type": form.value}
    # It is the length of the sentence.
    del headers["Content-Length"]
    if form is Reading.PROBLEM:
        problem = {"title": title, "status": answer.status_code, "detail": sentence}
        body = json.dumps(problem if withheld is None else problem | _members(withheld))
    else:
        steps = min(str(environ.get("PATH_INFO", "")).count("/") - 1, MAX_DEPTH)
        short = sentence.removesuffix(f" {ADDRESSES}")
        values = {"title": title, "message": short, "name": name, "elsewhere": elsewhere}
        body = frame.render("failure", title, values, root="../" * steps).decode()
        headers |= SECURITY
    return text(body, status=answer.status_line, headers=headers)


def _members(withheld: Withholding) -> dict[str, str]:
    """What a program may want to know of it (RFC 9457 section 3.2)."""
    members = {"rule": withheld.kind}
    # It may be out of the calendar.
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if withheld.until is not None:
            moment = datetime.fromtimestamp(math.ceil(withheld.until), timezone.utc)
            members["until"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return members
