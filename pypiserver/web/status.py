"""Is the server well? For people, load balancers and orchestrators; open to everyone, as probes cannot log in.

The rules to keep: nothing waits here, as a probe that waits counts as one that failed; a server that is only not ready
yet is alive, so nobody restarts it while it reads its folders.
"""

from __future__ import annotations

import sqlite3

import bottle

from ..errors import PypiServerError
from ..repository import Repository
from .answers import text


class Status:
    """Handlers of the health endpoint and what is below it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def health(self) -> bottle.HTTPResponse:
        """Whether the folders can be read, once they have been: 200, or 503 with the reason."""
        self._repository.serial()
        self._repository.folders.check()
        return text("Ok")

    def live(self) -> bottle.HTTPResponse:
        """``/live``: the process answers."""
        return text("Ok")

    def ready(self) -> bottle.HTTPResponse:
        """``/ready``: 200 when requests can be answered, or 503 with the reason."""
        reason = self._why_not()
        return text(reason, status=503, headers={"Retry-After": "2"}) if reason else text("Ok")

    def _why_not(self) -> str:
        try:
            state = self._repository.watch.state()
            self._repository.folders.check()
            self._repository.catalog.serial()
        except PypiServerError as error:
            return str(error)
        except sqlite3.Error as error:
            return f"The catalog cannot be read: {error}."
        return state
