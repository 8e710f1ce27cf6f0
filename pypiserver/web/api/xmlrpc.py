"""XML-RPC, of which clients use ``search`` (``pip search``) and the lists that mirrors read (bandersnatch 6, pulp).

**Invariants:** a document type is refused before any entity is expanded; a fault is XML with status 200, because pip
fails with a traceback at any HTTP error, and is used only for wrong arguments of a known method; an invalid call or an
unknown method is an HTTP error, because pulp takes a fault for the list, but tries the index after an error.
"""

from __future__ import annotations

import re
import xml.parsers.expat
import xmlrpc.client
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ...distributions.filename import normalize
from ...errors import BadRequest
from ...formats.simple import index_serial
from ...model import Indexed
from ...text import MAX_SENTENCE, cut

Summary = tuple[str, str, str]
# A search looks for every word in every project; a person types a few.
MAX_WORDS = 50
MAX_WORD = 255
# A search is ten elements deep.
MAX_DEPTH = 50
MAX_REASON = 200
# The encodings a call may declare; of iso-8859-1 only ASCII can be read.
_ENCODINGS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1"})
# Characters that XML 1.0 cannot contain in any spelling (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Index(Protocol):
    """The questions that XML-RPC asks of an index."""

    def summaries(self) -> Sequence[Summary]:
        """(name, version, summary) of every project."""

    def projects(self) -> Sequence[Indexed]:
        """Every project with its serial."""


class _Refused(Exception):  # noqa: N818 - becomes a fault, not a failure
    """A request that is answered with a fault."""


def handle(body: bytes, index: Index) -> bytes:
    """The methodResponse to a methodCall; raises BadRequest for a body that is none, or for an unknown method."""
    parameters, method = _read(body)
    answer: object
    try:
        answer = (_METHODS[method](parameters, index),)
    except _Refused as refusal:
        answer = xmlrpc.client.Fault(1, _NOT_XML.sub("", cut(str(refusal), MAX_SENTENCE)))
    return xmlrpc.client.dumps(answer, methodresponse=True, allow_none=False).encode("utf-8")  # type: ignore[arg-type]


def _read(body: bytes) -> tuple[tuple[Any, ...], str]:
    """The parameters and the name of a known method; raises BadRequest whatever the body is."""
    try:
        _refuse_what_harms(body)
        parameters, method = xmlrpc.client.loads(body.decode("utf-8"), use_builtin_types=True)
    except BadRequest:
        raise
    except Exception as error:  # noqa: BLE001 - parsers raise whatever their callbacks and codecs do on odd input
        raise BadRequest(f"The call cannot be read: {str(error)[:MAX_REASON]}") from None
    if method is None or method not in _METHODS:
        raise BadRequest(f"There is no method {method or '':.60} here; there are {', '.join(_METHODS)}.")
    return parameters, method


def _refuse_what_harms(body: bytes) -> None:
    """Refuse document types and deep nesting, before the call is parsed into values.

    Entities can only be declared in a document type, and expanding them is how attackers exhaust XML parsers.
    """
    depth = 0

    def refuse(*arguments: object) -> None:
        raise BadRequest("A document type is not allowed in a call.")

    def begin(*arguments: object) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise BadRequest(f"A call is nested at most {MAX_DEPTH} elements deep.")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def declared(version: str, encoding: str | None, standalone: int) -> None:
        if encoding and encoding.lower() not in _ENCODINGS:
            raise BadRequest(f"The call says that its encoding is {cut(encoding, 60)!r}; send it in UTF-8.")

    # A stranger's codec name selects no codec: accepted calls are read as UTF-8.
    parser = xml.parsers.expat.ParserCreate("utf-8")
    parser.XmlDeclHandler = declared
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    try:
        parser.Parse(body, True)
    except xml.parsers.expat.ExpatError as error:
        raise BadRequest(f"The call is no XML: {error}") from None


def _search(parameters: tuple[Any, ...], index: Index) -> list[dict[str, object]]:
    query, operator = _query(parameters)
    return _hits(query, operator, index.summaries())


def _list_packages(parameters: tuple[Any, ...], index: Index) -> list[str]:
    return [_NOT_XML.sub("", display) for _, display, _ in index.projects()]


def _list_packages_with_serial(parameters: tuple[Any, ...], index: Index) -> dict[str, int]:
    return {_NOT_XML.sub("", display): serial for _, display, serial in index.projects()}


def _changelog_last_serial(parameters: tuple[Any, ...], index: Index) -> int:
    return index_serial(index.projects())


def _changelog_since_serial(parameters: tuple[Any, ...], index: Index) -> list[list[object]]:
    """[name, version, seconds since 1970, action, serial] of the last change of each project, whatever it was.

    Serials are the seconds of the change (:func:`pypiserver.model.last_serial`), so both numbers are the same.
    """
    since = parameters[0] if parameters else None
    if not isinstance(since, int) or isinstance(since, bool):
        raise _Refused("changelog_since_serial needs a serial, which is a whole number.")
    changed = sorted(
        ((serial, display) for _, display, serial in index.projects() if serial > since), key=lambda each: each[0]
    )
    return [[_NOT_XML.sub("", display), "", serial, "change", serial] for serial, display in changed]


_METHODS: dict[str, Callable[[tuple[Any, ...], Index], object]] = {
    "search": _search,
    "list_packages": _list_packages,
    "list_packages_with_serial": _list_packages_with_serial,
    "changelog_last_serial": _changelog_last_serial,
    "changelog_since_serial": _changelog_since_serial,
}


def _query(parameters: tuple[Any, ...]) -> tuple[dict[str, list[str]], str]:
    """The words to search for, and whether all or any must match; raises _Refused."""
    if parameters and isinstance(parameters[0], str):
        # Programs for older versions of pypiserver send one word, to be found in names and summaries.
        words = _words(parameters[0])
        return {"name": words, "summary": words}, "or"
    if not parameters or not isinstance(parameters[0], dict):
        raise _Refused('search needs a word, or a struct of words, and perhaps "and" or "or".')
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
    # Any other value may be nested too deeply to be handled.
    if not all(isinstance(word, str | int | float) and len(str(word)) <= MAX_WORD for word in words):
        raise _Refused(f"A search is made of words, of at most {MAX_WORD} characters each.")
    return [str(word).lower() for word in words if str(word).strip()]


def _hits(query: dict[str, list[str]], operator: str, summaries: Sequence[Summary]) -> list[dict[str, object]]:
    any_or_all = any if operator == "or" else all
    names = [(word, normalize(word).strip("-")) for word in query["name"]]
    hits: list[dict[str, object]] = []
    for name, version, summary in summaries:
        # Computed once for each project, not for each word.
        normal, lower_name, lower_summary = normalize(name), name.lower(), summary.lower()
        tests = [word in lower_name or (short and short in normal) for word, short in names]
        tests += [word in lower_summary for word in query["summary"]]
        if (tests and any_or_all(tests)) or (not tests and operator == "and"):
            hit: dict[str, object] = {"name": _NOT_XML.sub("", name), "version": _NOT_XML.sub("", version)}
            hits.append({**hit, "summary": _NOT_XML.sub("", summary), "_pypi_ordering": 0})
    return hits
