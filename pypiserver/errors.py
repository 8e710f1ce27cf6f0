"""The tree of exceptions, each with its HTTP status.

Every message says what happened, to which file or setting, and what to do. The web layer maps ``status`` to an answer
in one place; the command line exits with ``exit_status``.

**Invariants:** the message is for operators: the log and the command line show it. Clients get ``public``, which for a
failure of the server (status 500 and above) is a general sentence unless the code that raises it says otherwise. No
code compares or parses a sentence: it reads the data of the exception (``kind``, ``filename``, ``reason`` ...).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

# Faults in the bytes of a file: not a readable archive; made to deceive or to harm; not what its name says; not what
# was stored under its name or key.
Damage = Literal["corrupt", "unsafe", "mislabelled", "altered"]
DAMAGED: frozenset[str] = frozenset(get_args(Damage))
# Why a file is not listed, '' for a listed one: damage; or it cannot be opened or read, a downloader still writes it,
# it changed during the read, it is being replaced or removed, or reading it or recording its metadata failed.
FaultKind = Literal["", Damage, "unreadable", "unfinished", "changed", "replaced", "failed"]
Error = TypeVar("Error", bound="PypiServerError")


class PypiServerError(Exception):
    """Base of every exception that pypiserver raises itself; ``str()`` is one or more plain sentences.

    Its data say the same to code: ``kind`` is one short word that stays when the sentence changes, ``filename`` and
    ``project`` are the subject, ``reason`` is the part of the sentence that says why. An attribute that does not apply
    is empty.
    """

    status = 500
    exit_status = 2
    general = "Something went wrong in the server; its log says what."

    def __init__(
        self,
        message: str = "",
        *,
        public: str | bool | None = None,
        kind: str = "",
        filename: str = "",
        project: str = "",
        reason: str = "",
    ) -> None:
        """``public`` is the sentence for clients; True means the message itself, None the class's default."""
        super().__init__(message)
        self._public = public
        self.kind = kind
        self.filename = filename
        self.project = project
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        """Copies and pickles keep the data, independent of the constructor's parameters."""
        return _made_again, (type(self), self.args), self.__dict__

    @property
    def public(self) -> str:
        """The text for clients: the message for a client's error, ``general`` for a failure of the server."""
        if isinstance(self._public, str):
            return self._public
        return str(self) if self.is_told else self.general

    @property
    def is_told(self) -> bool:
        """Whether ``public`` is the message itself."""
        return self._public is True or (self._public is None and self.status < 500)

    def reworded(self: Error, message: str, *, public: str | bool | None = None) -> Error:
        """A copy with the same data and another message; ``public`` as in the constructor."""
        other = copy.copy(self)
        other.args = (message,)
        other._public = public
        return other


def _made_again(kind: type[PypiServerError], args: tuple[object, ...]) -> PypiServerError:
    return kind.__new__(kind, *args)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in the settings, as a sentence and as data.

    ``kind`` is one short word, ``setting`` the name of the setting (or an unknown flag as it was written), ``value``
    the given value, ``source`` the flag, variable, keyword or file that gave it, ``suggestion`` the name that was
    probably meant.
    """

    sentence: str
    kind: str = ""
    setting: str = ""
    value: object = None
    source: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        return self.sentence


class ConfigError(PypiServerError):
    """Invalid settings, flags or keywords: one mistake, or all that were found together.

    ``mistakes`` has at least one; ``setting``, ``value`` and ``source`` are those of the first.
    """

    def __init__(
        self,
        message: str,
        *,
        public: str | bool | None = None,
        kind: str = "",
        setting: str = "",
        value: object = None,
        source: str = "",
    ) -> None:
        super().__init__(message, public=public, kind=kind)
        self.mistakes: tuple[Mistake, ...] = (Mistake(message, kind, setting, value, source),)

    @classmethod
    def of(cls, mistakes: Iterable[Mistake]) -> ConfigError:
        """One exception for all of these mistakes, with a line for each; ``mistakes`` must not be empty."""
        found = tuple(mistakes)
        error = cls("\n".join(map(str, found)), kind=found[0].kind)
        error.mistakes = found
        return error

    @property
    def setting(self) -> str:
        """The name of the first mistake's setting; empty if it concerns none."""
        return self.mistakes[0].setting

    @property
    def value(self) -> object:
        """The value that was given for it, as it was written."""
        return self.mistakes[0].value

    @property
    def source(self) -> str:
        """The flag, variable, keyword or file that gave it."""
        return self.mistakes[0].source

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings of all mistakes, in their order."""
        return tuple(each.setting for each in self.mistakes)


class BadRequest(PypiServerError):
    """The request is malformed or breaks a rule; sending it again will not help."""

    status = 400


class InvalidFilename(BadRequest):
    """A file name that does not name a distribution.

    ``rule`` is the broken rule, in words that are the same for every name.
    """

    def __init__(self, message: str, *, filename: str, kind: str, rule: str = "", reason: str = "") -> None:
        super().__init__(message, kind=kind, filename=filename, reason=reason or message)
        self.rule = rule or message


class InvalidDistribution(BadRequest):
    """An archive that cannot be read, or that does not match its file name, upload form or digests.

    ``reason`` says what is wrong with ``filename``; ``ending`` is appended to the message. ``rule`` is one short word
    that names the broken rule.
    """

    kind: Damage

    def __init__(
        self, filename: str, reason: str, *, kind: Damage = "corrupt", rule: str = "", ending: str = ""
    ) -> None:
        super().__init__(f"{refused(filename, reason)}{ending}", kind=kind, filename=filename, reason=reason)
        self.rule = rule


def refused(filename: str, reason: str) -> str:
    """The sentence, without a full stop, for a damaged file."""
    return f"{filename} is refused: {reason}"


class Unauthorized(PypiServerError):
    """Credentials are missing, unreadable or wrong (RFC 9110 section 11.6.1)."""

    status = 401


class Forbidden(PypiServerError):
    """The action is refused to everyone, or storage refuses it (RFC 9110 section 15.5.4)."""

    status = 403
    general = "The server is not allowed to do this; its log says why."


class Withholding(Forbidden):
    """A rule withholds a file of another index; ``kind`` is the rule.

    ``until`` is when the file will be given out (seconds since the epoch), None if that is not known.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        filename: str = "",
        project: str = "",
        reason: str = "",
        until: float | None = None,
    ) -> None:
        super().__init__(message, kind=kind, filename=filename, project=project, reason=reason)
        self.until = until


class NotFound(PypiServerError):
    """No such project, release, file or route."""

    status = 404


class MethodNotAllowed(PypiServerError):
    """The route exists for other methods only; ``allow`` lists them (RFC 9110 section 10.2.1)."""

    status = 405

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class Conflict(PypiServerError):
    """A file of that name already exists with other bytes, or the project accepts no uploads."""

    status = 409


class ContentTooLarge(PypiServerError):
    """A body, field or header is over its limit."""

    status = 413


class Unavailable(PypiServerError):
    """Storage or another index cannot be read, or too many requests wait already; a retry may help.

    ``is_passing`` is false if a retry does not help, because an operator must act first. ``retry_after`` is in seconds.
    """

    status = 503
    general = "The packages cannot be read or written right now. Try again in a moment; the server's log says more."

    def __init__(
        self,
        message: str = "",
        *,
        public: str | bool | None = None,
        is_passing: bool = True,
        kind: str = "",
        filename: str = "",
        project: str = "",
        reason: str = "",
        retry_after: int = 2,
    ) -> None:
        super().__init__(message, public=public, kind=kind, filename=filename, project=project, reason=reason)
        self.is_passing = is_passing
        self.retry_after = retry_after


class BadGateway(PypiServerError):
    """Another index gave something wrong; asking again soon does not help (RFC 9110 section 15.6.3)."""

    status = 502
    general = "Another index sent something wrong, so this is not given out; the server's log says what."


class CatalogUnavailable(Unavailable):
    """The catalog's database does not answer; cached pages may still be right."""

    general = "The catalog cannot be read right now. Try again in a moment; the server's log says more."


class Unreadable(Unavailable):
    """One file, or its folder, cannot be read; whether the file exists is unknown."""


class StorageFull(PypiServerError):
    """No space or quota is left in the folder."""

    status = 507
    general = "There is no space left on the server; nothing was stored. Make room, then try again."
