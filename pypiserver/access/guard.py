"""The guard: who sends a request, and whether the table of rights allows what it asks for.

The route guard runs before a body is read: is the action allowed with projects of some names? The name guard runs as
soon as a project's name is known, before anything is looked up.

**Invariants:** every failure denies access; whether a project may be listed depends on its name alone, so the answer
for a hidden project is that for one that never existed; there is one guard, and ``-a`` is a table like any other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from packaging.utils import NormalizedName

from ..catalog.name_filter import NameFilter
from ..deferred import Waits
from ..errors import Forbidden, NotFound, PypiServerError, Unauthorized
from .authentication import Authenticator
from .principal import ANONYMOUS, Principal
from .rights import CLASSIC, FixedRights, Rights, classic_rights

# The actions of a route, and those of projects one of which must be allowed.
ROUTES: dict[str, frozenset[str]] = {
    "list": CLASSIC["list"],
    "metrics": CLASSIC["list"],
    "download": CLASSIC["download"],
    "update": CLASSIC["update"] - {"overwrite"},
}
_VERBS = {
    "upload": "upload files of",
    "overwrite": "replace files of",
    "delete": "delete files of",
    "yank": "yank files of",
}
_WRONG = "The user name or the password is wrong."
_ASK = "Ask the operator of this server."


class Identifier(Protocol):
    """Tells who sends a request."""

    def identify(self, authorization: str) -> Principal:
        """The user of an Authorization header; raises Unauthorized, or Unavailable if it cannot be checked."""

    def close(self) -> None:
        """Write down what was noted."""


class RightsSource(Protocol):
    """Where the table of rights is read."""

    def __call__(self) -> Rights:
        """The table as it is now; raises Unavailable."""

    def known(self) -> Rights | None:
        """The same if nothing must be read first, else None."""


class Access:
    """The guard: what ``rights`` allow, or, without, all actions but the ``protected`` ones, which need a login.

    ``rights`` gives the table as it is now. ``overwrite`` is what the setting of that name says, for use without
    ``rights``; ``has_tokens`` says that a login may have a scope. Without an ``authenticator``, no login is right.
    """

    def __init__(
        self,
        authenticator: Identifier | None,
        protected: Collection[str] = (),
        *,
        overwrite: bool = False,
        rights: RightsSource | None = None,
        has_tokens: bool = False,
    ) -> None:
        self._authenticator = authenticator
        self._protected = frozenset(protected) | frozenset(["metrics"] if "list" in protected else [])
        self.has_file = rights is not None
        self._rights: RightsSource = rights or FixedRights(classic_rights(protected, overwrite=overwrite))
        # Whether what is allowed depends on the project.
        self.is_by_name = self.has_file or has_tokens

    def is_protected(self, action: str) -> bool:
        """Whether the action of a route needs a login, for some projects at least."""
        return self.has_file or action in self._protected

    def is_refused(self, action: str) -> bool:
        """Whether the action is refused to everyone: it needs a login, and nothing can check one."""
        return not self.has_file and action in self._protected and self._authenticator is None

    def identify(self, authorization: str | None) -> Principal:
        """Who sends this header; raises Unauthorized for wrong credentials, Unavailable for what cannot be checked."""
        if authorization is None:
            return ANONYMOUS
        if self._authenticator is None:
            raise Unauthorized(_WRONG)
        return self._authenticator.identify(authorization)

    def check(self, action: str, authorization: str | None, project: NormalizedName | None = None) -> Principal:
        """Who may take this route, to this project if it names one; raises as :meth:`login` and :meth:`allow`."""
        principal = self.login(action, authorization)
        self.allow(principal, action, project)
        return principal

    def login(self, action: str, authorization: str | None) -> Principal:
        """Who sends the request, if the action needs to know that.

        Raises Unauthorized for missing, malformed or wrong credentials, Unavailable for credentials that cannot be
        checked, Forbidden where nothing could check any.
        """
        if not self.has_file:
            if action not in self._protected:
                # Credentials that nothing needs are not looked at.
                return ANONYMOUS
            if self._authenticator is None:
                raise Forbidden(
                    f"The action {action!r} is refused to everyone: it is protected, and the server has no password "
                    "file. The operator can set one with -P FILE."
                )
            if authorization is None:
                raise Unauthorized(f"The action {action!r} needs a user name and a password.")
        return self.identify(authorization)

    def allow(self, principal: Principal, action: str, project: NormalizedName | None = None) -> None:
        """Raise Unauthorized, Forbidden or NotFound unless the principal may take this route, to this project."""
        if not self.has_file and action not in self._protected:
            return
        if project is not None:
            self.require(principal, action, project)
        elif self.is_by_name and not self._rights().may_some(principal, ROUTES[action]):
            if principal.name is None:
                raise _anonymous()
            # Known users get lists without entries, and projects that do not exist.
            if action == "update":
                raise Forbidden(f"{_named(principal)} may not change any project here. {_ASK}", kind="rights")
        if action == "metrics" and self.is_by_name and not self.visible(principal).is_all():
            # They count all projects.
            raise _anonymous() if principal.name is None else NotFound("There is nothing at this address.")

    def close(self) -> None:
        """Let logins write down what they noted."""
        if self._authenticator is not None:
            self._authenticator.close()

    def check_at_once(self, action: str, authorization: str | None, project: NormalizedName | None = None) -> Principal:
        """As :meth:`check`; raises Waits unless the route is open, or login and decision are remembered."""
        if not self.has_file and action not in self._protected:
            return ANONYMOUS
        principal = ANONYMOUS if authorization is None and self.is_by_name else None
        if authorization is not None and isinstance(self._authenticator, Authenticator):
            principal = self._authenticator.known(authorization)
        if principal is None:
            raise Waits
        if self.is_by_name and project is not None:
            self.require_at_once(principal, action, project)
        elif self.is_by_name and action != "download":
            # Lists depend on all projects; whose file it is, the path says.
            raise Waits
        return principal

    def require_at_once(self, principal: Principal, action: str, project: NormalizedName) -> None:
        """Raise Waits unless it is remembered that the principal may do it with this project."""
        rights = self._rights.known()
        if rights is None or not rights.is_known_to_be_allowed(principal, action, project):
            raise Waits

    def may(self, principal: Principal, action: str, project: NormalizedName) -> bool:
        """Whether the principal may do it with this project."""
        return self._rights().may(principal, action, project)

    def require(self, principal: Principal, action: str, project: NormalizedName) -> None:
        """Raise the refusal, which depends on the rules alone, unless the principal may do it with this project."""
        if not self._rights().may(principal, action, project):
            raise refusal(principal, action, project)

    def visible(self, principal: Principal) -> NameFilter:
        """The projects that lists may show to the principal."""
        return self._rights().listed(principal)


@dataclass(frozen=True, slots=True)
class Permit:
    """What one principal may do, for those who learn the project only later."""

    access: Access
    principal: Principal

    def may(self, action: str, project: NormalizedName) -> bool:
        """Whether it may be done with this project."""
        return self.access.may(self.principal, action, project)

    def require(self, action: str, project: NormalizedName) -> None:
        """Raise Unauthorized, Forbidden or NotFound unless it may be done with this project."""
        self.access.require(self.principal, action, project)

    @property
    def how_to_overwrite(self) -> str:
        """What makes the server replace files, as the end of a sentence that begins with an alternative."""
        return "ask for the right to overwrite" if self.access.has_file else "let the server overwrite (-o)"


def refusal(principal: Principal, action: str, project: NormalizedName) -> PypiServerError:
    """The answer to who may not do this with a project, whether there is one or not."""
    if principal.name is None:
        return _anonymous()
    if action not in _VERBS:
        return NotFound(f"There is no project {project!r} here.", kind="hidden", project=project)
    return Forbidden(
        f"{_named(principal)} may not {_VERBS[action]} the project {project!r}. {_ASK}",
        kind="rights",
        project=project,
        reason=action,
    )


def _anonymous() -> Unauthorized:
    return Unauthorized("This needs a user name and a password.")


def _named(principal: Principal) -> str:
    return f"The {'token of the user' if principal.scope is not None else 'user'} {principal.name!r}"
