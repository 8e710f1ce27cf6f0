"""What a rights file gives to a user: by action and project, the line that grants it; and what in it has no effect.

**Invariants:** answers come from the table that the server decides by; nothing is started or changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from packaging.utils import NormalizedName

from ..access.htpasswd_file import users_in
from ..access.principal import ACTIONS, ANONYMOUS, WORDS, Principal
from ..access.rights import Grant, Rights, Who
from ..access.rights_file import RightsText
from ..access.rights_source import RightsFile
from ..access.token_record import TokenRecord
from ..errors import ConfigError
from ..factory.backends import build_backend
from ..settings.config import Config
from .manage import catalog_failures


@dataclass(frozen=True, slots=True)
class Reader:
    """The rights of one principal, in one file."""

    file: RightsFile
    rights: Rights
    principal: Principal

    @property
    def groups(self) -> list[str]:
        """The groups of the principal."""
        return sorted(self.rights.groups_of(self.principal))

    @property
    def grants(self) -> list[Grant]:
        """The lines that fit the principal."""
        return self.rights.grants_of(self.principal)

    def grants_for(self, project: NormalizedName) -> dict[str, list[Grant]]:
        """The lines that allow each action with the project."""
        fitting = [grant for grant in self.grants if grant.patterns.matches(project)]
        return {action: [grant for grant in fitting if action in grant.actions] for action in ACTIONS}


def reader(config: Config, user: str, groups: Collection[str]) -> Reader:
    """The rights of a user in the rights file of the settings; raises ConfigError.

    ``everyone`` is a client that is not logged in, ``authenticated`` a user whom no line names. ``groups`` are those
    that a plug-in gives.
    """
    if config.rights is None:
        raise ConfigError(
            "No rights file is given; name it with --rights FILE, or in the settings.", kind="missing", setting="rights"
        )
    file = RightsFile(config.rights)
    text = file.check()
    # No user name is empty, so no line can name this one.
    name = "" if user == "authenticated" else user
    principal = ANONYMOUS if user == "everyone" else Principal(name, frozenset(group.lstrip("@") for group in groups))
    return Reader(file, Rights(text.grants, text.groups), principal)


def actions_of(word: str) -> frozenset[str]:
    """The actions that a word of a rights file means; raises ConfigError."""
    if word not in WORDS:
        raise ConfigError(
            f"{word!r} is not an action; there are {', '.join(WORDS)}.", kind="value", setting="may", value=word
        )
    return WORDS[word]


def projects_in(config: Config) -> list[NormalizedName]:
    """The projects in the folders, or the bucket, of the settings; raises Unavailable."""
    with catalog_failures(config):
        inventory = build_backend(config, is_serving=False).inventory
        inventory.check()
        return sorted(inventory.projects())


def usable_users(config: Config, tokens: Iterable[TokenRecord] | None) -> set[str] | None:
    """Who can log in: the users of the password file, and those of tokens of services.

    None where a function or a plug-in knows others, or the ``tokens`` could not be read.
    """
    if config.auther is not None or config.auth is not None or tokens is None:
        return None
    services = {each.user for each in tokens if each.is_service}
    return services | set(users_in(config.htpasswd) if config.htpasswd is not None else ())


def orphans(config: Config, tokens: Iterable[TokenRecord], now: float) -> Iterator[str]:
    """The tokens that are refused at this time (seconds since the epoch) because of their users, each as a sentence."""
    # The function replaces the file.
    file = config.htpasswd if config.auther is None else None
    users = users_in(file) if file is not None else {}
    for each in tokens:
        if each.is_service or each.user in users or each.state(now) != "valid":
            continue
        why = f"the password file {file} does not have" if file is not None else "there is no password file with"
        yield f"The token {each.id} is refused: {why} its user {each.user!r}. --service makes tokens for other names."


def notes(config: Config, users: Collection[str] | None, projects: Iterable[NormalizedName] | None) -> Iterator[str]:
    """What in the rights file has no effect, each as a sentence; raises ConfigError for a file that cannot be used.

    ``users`` are those who can log in, None if that is unknown; ``projects`` are those that are here.
    """
    if config.rights is None:
        return
    text = RightsFile(config.rights).check()
    where = f"The rights file {config.rights}, line"
    for number, name in sorted(_unknown_users(text, users)):
        yield f"{where} {number}: no password file has the user {name!r}."
    # A plug-in gives users groups of its own.
    for number, name in sorted(_unknown_groups(text)) if config.auth is None else ():
        yield f"{where} {number}: no line says who is in the group {name!r}."
    here = None if projects is None else list(projects)
    for grant in text.grants:
        if not here or grant.actions & WORDS["write"]:
            # Uploads make projects, and before the first one no line covers any.
            continue
        if not any(map(grant.patterns.matches, here)):
            yield f"{where} {grant.number}: it covers no project that is here now: {grant.text}"


def _unknown_users(text: RightsText, users: Collection[str] | None) -> set[tuple[int, str]]:
    if users is None:
        return set()
    return {(number, who.name) for number, who in _named(text) if who.kind == "user" and who.name not in users}


def _unknown_groups(text: RightsText) -> set[tuple[int, str]]:
    return {(number, who.name) for number, who in _named(text) if who.kind == "group" and who.name not in text.groups}


def _named(text: RightsText) -> Iterator[tuple[int, Who]]:
    """Every user and group that the file names, with the number of a line that does."""
    for grant in text.grants:
        yield grant.number, grant.who
    for name, members in text.groups.items():
        for member in members:
            yield text.group_lines[name], member
