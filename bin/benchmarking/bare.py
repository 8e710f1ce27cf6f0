"""A bottle application that does nothing but return bytes it was given: the limit of what ours can reach.

Run as ``python -m benchmarking.bare SERVER PORT FOLDER``; the folder is what ``targets.copy_answers`` made. A file of
the corpus is opened and read at each request, as ours is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bottle

from pypiserver.server import contract, run


def build(folder: Path) -> bottle.Bottle:
    """The application for the table in ``folder``, with rules like those of ours."""
    answers: dict[tuple[str, str], Callable[[], bottle.HTTPResponse]] = {}
    for row in json.loads((folder / "table.json").read_text()):
        answers[row["path"], row["accept"]] = _answer(row)

    def answer(**names: str) -> bottle.HTTPResponse:
        environ = bottle.request.environ
        path, accept = environ["PATH_INFO"], environ.get("HTTP_ACCEPT", "")
        return (answers.get((path, accept)) or answers[path, ""])()

    application = bottle.Bottle()
    for rule in ("/simple/", "/simple/<project>/", "/packages/<path:path>"):
        application.route(rule, "GET", answer)
    return application


def _answer(row: dict[str, Any]) -> Callable[[], bottle.HTTPResponse]:
    headers, etag, path = row["headers"], row["headers"]["etag"], Path(row["file"])
    body = path.read_bytes()

    def ready() -> bottle.HTTPResponse:
        if bottle.request.environ.get("HTTP_IF_NONE_MATCH") == etag:
            return bottle.HTTPResponse(status=304, headers={"ETag": etag})
        return bottle.HTTPResponse(body, headers=headers)

    def opened() -> bottle.HTTPResponse:
        with path.open("rb") as file:
            return bottle.HTTPResponse(file.read(), headers=headers)

    return opened if row["open"] else ready


def main(server: str, port: str, folder: str) -> None:
    """Serve until told to end, as ours would."""
    application = build(Path(folder))
    options = contract.Options(server=server, host="127.0.0.1", port=int(port))
    run.run(lambda: application, options, on_ready=lambda name, port: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
