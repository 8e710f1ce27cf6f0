"""XML-RPC, of which clients use one method: ``search`` (``pip search``).

The rules to keep: a document type is refused before anything in it is expanded; a fault is an answer in XML with status
200, because pip ends in a traceback at any HTTP error.
"""

from __future__ import annotations

import re
import xml.parsers.expat
import xmlrpc.client
from collections.abc import Callable, Sequence
from typing import Any

from ..distfile import normalize
from ..text import MAX_SENTENCE, cut

Summary = tuple[str, str, str]
# Every word is looked for in every project; a person types a few.
MAX_WORDS = 50
MAX_WORD = 255
# What a search needs is ten elements deep.
MAX_DEPTH = 50
MAX_REASON = 200
# What XML 1.0 cannot hold in any spelling (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Refused(Exception):  # noqa: N818 - becomes a fault, not a failure
    """A request that is answered with a fault."""


def handle(body: bytes, summaries: Callable[[], Sequence[Summary]]) -> bytes:
    """The methodResponse to a methodCall; ``summaries`` gives (name, version, summary) of every project."""
    try:
        query, operator = _read(body)
        hits: object = _hits(query, operator, summaries())
    except _Refused as refusal:
        hits = xmlrpc.client.Fault(1, _NOT_XML.sub("", cut(str(refusal), MAX_SENTENCE)))
    answer = (hits,) if not isinstance(hits, xmlrpc.client.Fault) else hits
    return xmlrpc.client.dumps(answer, methodresponse=True, allow_none=False).encode("utf-8")  # type: ignore[arg-type]


def _read(body: bytes) -> tuple[dict[str, list[str]], str]:
    """What is searched for, and whether all of it or any; raises _Refused whatever the body is."""
    try:
        _refuse_what_harms(body)
        parameters, method = xmlrpc.client.loads(body.decode("utf-8"), use_builtin_types=True)
        if method != "search":
            raise _Refused(f"There is no method {method!r:.60} here; there is only search.")
        return _query(parameters)
    except _Refused:
        raise
    except Exception as error:  # noqa: BLE001 - parsers raise whatever their callbacks and codecs do on odd input
        raise _Refused(f"The call cannot be read: {str(error)[:MAX_REASON]}") from None


def _refuse_what_harms(body: bytes) -> None:
    """Refuse document types and deep nesting, before anything is made of them.

    Entities can only be declared in a document type, and expanding them is how XML parsers are brought down.
    """
    depth = 0

    def refuse(*arguments: object) -> None:
        raise _Refused("A document type is not allowed in a call.")

    def begin(*arguments: object) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise _Refused(f"A call is nested at most {MAX_DEPTH} elements deep.")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    # The call is read as UTF-8, whatever it says of itself.
    parser = xml.parsers.expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    try:
        parser.Parse(body, True)
    except xml.parsers.expat.ExpatError as error:
        raise _Refused(f"The call is no XML: {error}") from None


def _query(parameters: tuple[Any, ...]) -> tuple[dict[str, list[str]], str]:
    if not parameters or not isinstance(parameters[0], dict):
        raise _Refused('search needs a struct of words, and perhaps "and" or "or".')
    given = parameters[1] if len(parameters) > 1 else "and"
    operator = given.lower() if isinstance(given, str) else ""
    if operator not in ("and", "or"):
        raise _Refused('The second argument of search must be "and" or "or".')
    query = {field: _words(parameters[0].get(field, [])) for field in ("name", "summary")}
    return query, operator


def _words(value: object) -> list[str]:
    words = value if isinstance(value, list) else [value]
    if len(words) > MAX_WORDS:
        raise _Refused(f"A search may have {MAX_WORDS} words; this one has {len(words)}.")
    # Anything else may be nested so deeply that nothing can be done with it.
    if not all(isinstance(word, str | int | float) and len(str(word)) <= MAX_WORD for word in words):
        raise _Refused(f"A search is made of words, of at most {MAX_WORD} characters each.")
    return [str(word).lower() for word in words if str(word).strip()]


def _hits(query: dict[str, list[str]], operator: str, summaries: Sequence[Summary]) -> list[dict[str, object]]:
    any_or_all = any if operator == "or" else all
    names = [(word, normalize(word).strip("-")) for word in query["name"]]
    hits: list[dict[str, object]] = []
    for name, version, summary in summaries:
        # Once for each project, and not for each word.
        normal, lower_name, lower_summary = normalize(name), name.lower(), summary.lower()
        tests = [word in lower_name or (short and short in normal) for word, short in names]
        tests += [word in lower_summary for word in query["summary"]]
        if (tests and any_or_all(tests)) or (not tests and operator == "and"):
            hit: dict[str, object] = {"name": _NOT_XML.sub("", name), "version": _NOT_XML.sub("", version)}
            hits.append({**hit, "summary": _NOT_XML.sub("", summary), "_pypi_ordering": 0})
    return hits
