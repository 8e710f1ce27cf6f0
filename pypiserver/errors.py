"""The tree of failures, each with the HTTP status it becomes.

Every message says what went wrong, which file, project or setting it was, and what to do. The web layer maps
``status`` to an answer in one place; the command line prints the message and exits with ``exit_status``.

**Invariants:** the message is for operators: the log and the command line show it. Clients get ``public``, which for a
failure of the server (status 500 and above) is a general sentence unless the place that raises it says otherwise, so
no path, host name or role reaches a stranger by a message whose author did not think of it. What code needs to know of
a failure is in its data (``kind``, ``filename``, ``reason`` ...): no code compares or takes apart a sentence.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

# What may be wrong with the bytes of a file: it is no archive that can be read, it is made to deceive or to harm, it is
# not what its name says, or not what its place in storage was given for.
Damage = Literal["corrupt", "unsafe", "mislabelled", "altered"]
DAMAGED: frozenset[str] = frozenset(get_args(Damage))
# Why a file is not listed, '' for one that is: damage; or it cannot be opened or read, a downloader still writes it,
# it changed while it was read, it is being replaced or removed, or reading it or recording what it says failed.
FaultKind = Literal["", Damage, "unreadable", "unfinished", "changed", "replaced", "failed"]
Error = TypeVar("Error", bound="PypiServerError")


class PypiServerError(Exception):
    """Base of every failure we raise on purpose; ``str()`` of it is one or more plain sentences.

    Its data say the same to code: ``kind`` is one short word that stays when the sentence is written anew, ``filename``
    and ``project`` are what it is about, ``reason`` is the part of the sentence that says why. Each is empty where it
    says nothing.
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
        """``public`` is the sentence for clients, True for the message itself, None for what is usual."""
        super().__init__(message)
        self._public = public
        self.kind = kind
        self.filename = filename
        self.project = project
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        """Copies and pickles have the same data, whatever the constructor takes."""
        return _made_again, (type(self), self.args), self.__dict__

    @property
    def public(self) -> str:
        """What a client may read: the message where the client is at fault, else no more than ``general``."""
        if isinstance(self._public, str):
            return self._public
        return str(self) if self.is_told else self.general

    @property
    def is_told(self) -> bool:
        """Whether ``public`` is the message itself, so clients know all there is to know."""
        return self._public is True or (self._public is None and self.status < 500)

    def reworded(self: Error, message: str, *, public: str | bool | None = None) -> Error:
        """The same failure with the same data in another sentence, and with what clients may read of that."""
        other = copy.copy(self)
        other.args = (message,)
        other._public = public
        return other


def _made_again(kind: type[PypiServerError], args: tuple[object, ...]) -> PypiServerError:
    return kind.__new__(kind, *args)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with the settings, in a sentence, and as data.

    ``kind`` is one short word, ``setting`` the name of the setting (a flag of the command line that belongs to none is
    there as it was written), ``value`` what was given for it, ``source`` the flag, variable, keyword or file that gave
    it, ``suggestion`` what was probably meant.
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
    """Settings, flags or keywords that cannot be used: one mistake, or all that were found together.

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
        """One failure for all of these, a line for each."""
        found = tuple(mistakes)
        error = cls("\n".join(map(str, found)), kind=found[0].kind)
        error.mistakes = found
        return error

    @property
    def setting(self) -> str:
        """The name of the setting; empty for what is none."""
        return self.mistakes[0].setting

    @property
    def value(self) -> object:
        """What was given for it, as it was written."""
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

    ``rule`` is what it breaks, in words that are the same for every name.
    """

    def __init__(self, message: str, *, filename: str, kind: str, rule: str = "", reason: str = "") -> None:
        super().__init__(message, kind=kind, filename=filename, reason=reason or message)
        self.rule = rule or message


class InvalidDistribution(BadRequest):
    """An archive that cannot be read, or that disagrees with its file name, form or digests.

    ``reason`` says what is wrong with ``filename``, and ``ending`` is what ends the sentence.
    """

    kind: Damage

    def __init__(self, filename: str, reason: str, *, kind: Damage = "corrupt", ending: str = "") -> None:
        super().__init__(f"{refused(filename, reason)}{ending}", kind=kind, filename=filename, reason=reason)


def refused(filename: str, reason: str) -> str:
    """The sentence, without its full stop, for a file with something wrong in it."""
    return f"{filename} is refused: {reason}"


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
    ) -> None:
        super().__init__(message, public=public, kind=kind, filename=filename, project=project, reason=reason)
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
