"""The tree of failures, each with the HTTP status it becomes.

Every message says what went wrong, which file, project or setting it was, and what to do. The web layer maps
``status`` to an answer in one place; the command line prints the message and exits with ``exit_status``.

**Invariants:** the message is for operators: the log and the command line show it. Clients get ``public``, which for a
failure of the server (status 500 and above) is a general sentence unless the place that raises it says otherwise, so
no path, host name or role reaches a stranger by a message whose author did not think of it.
"""

from __future__ import annotations


class PypiServerError(Exception):
    """Base of every failure we raise on purpose; ``str()`` of it is one or more plain sentences."""

    status = 500
    exit_status = 2
    general = "Something went wrong in the server; its log says what."

    def __init__(self, message: str = "", *, public: str | bool | None = None) -> None:
        """``public`` is the sentence for clients, True for the message itself, None for what is usual."""
        super().__init__(message)
        self._public = public

    @property
    def public(self) -> str:
        """What a client may read: the message where the client is at fault, else no more than ``general``."""
        if isinstance(self._public, str):
            return self._public
        is_told = self.status < 500 if self._public is None else self._public
        return str(self) if is_told else self.general


class ConfigError(PypiServerError):
    """A setting, flag or keyword that cannot be used."""


class BadRequest(PypiServerError):
    """The request is malformed or breaks a rule; sending it again will not help."""

    status = 400


class InvalidFilename(BadRequest):
    """A file name that does not name a distribution."""


class InvalidDistribution(BadRequest):
    """An archive that cannot be read, or that disagrees with its file name, form or digests."""


class Unauthorized(PypiServerError):
    """Credentials are missing, unreadable or wrong (RFC 9110 section 11.6.1)."""

    status = 401


class Forbidden(PypiServerError):
    """The action is allowed to nobody, or storage refuses it."""

    status = 403
    general = "The server may not do this; its log says why."


class NotFound(PypiServerError):
    """No such project, release, file or route."""

    status = 404


class MethodNotAllowed(PypiServerError):
    """The route exists for other methods only; ``allow`` lists them."""

    status = 405

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class Conflict(PypiServerError):
    """A file of that name already exists with other bytes, or the project takes no uploads."""

    status = 409


class ContentTooLarge(PypiServerError):
    """A body, field or header is over its limit."""

    status = 413


class Unavailable(PypiServerError):
    """Storage cannot be read, or too many slow password checks are waiting; trying again may help.

    ``is_passing`` is off where it does not: somebody must do something first.
    """

    status = 503
    general = "The packages cannot be read or written right now. Try again in a moment; the server's log says more."

    def __init__(self, message: str = "", *, public: str | bool | None = None, is_passing: bool = True) -> None:
        super().__init__(message, public=public)
        self.is_passing = is_passing


class CatalogUnavailable(Unavailable):
    """The catalog cannot be asked; what is remembered of it may still be right."""

    general = "The catalog cannot be asked right now. Try again in a moment; the server's log says more."


class Unreadable(Unavailable):
    """One file, or the folder it is in, cannot be looked at; whether it is there cannot be told."""


class StorageFull(PypiServerError):
    """No space or quota is left in the folder."""

    status = 507
    general = "There is no space left on the server; nothing was stored. Make room, then try again."
