"""Our application with and without an access log in one server, so that what is compared is the log alone.

Run as ``python -m benchmarking.logged PORT FOLDER LOG``. A request with ``X-Log: yes`` gets its line. Two servers
alike differ by a third in what they answer, from start to start; the log costs a twentieth.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pypiserver.factory.application import Application
from pypiserver.observability import logging_setup
from pypiserver.server import contract, run
from pypiserver.settings.config import Config


def main(port: str, folder: str, log_file: str) -> None:
    """Serve until told to end, as ours would."""
    config = Config(roots=(Path(folder),), log_stream="none", log_file=Path(log_file))
    logging_setup.configure(config)

    def make(again: bool = False) -> contract.WSGI:
        logged = Application(config)
        plain = Application(Config(roots=config.roots, access_log=False))

        def choose(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            return (logged if environ.get("HTTP_X_LOG") == "yes" else plain)(environ, start_response)

        return choose

    options = contract.Options(server="granian", host="127.0.0.1", port=int(port))
    run.run(make, options, on_ready=lambda name, port: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
