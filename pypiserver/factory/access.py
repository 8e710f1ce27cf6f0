"""Who may do what, as settings say it: the checks of tokens and passwords, and the table of rights.

**Invariants:** what is off is not imported; a rights file that cannot be used stops the start.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..access.authentication import Authenticator
from ..access.foreign_check import ForeignCheck
from ..access.guard import Access
from ..access.password_file import HtpasswdFile
from ..settings.config import Config

if TYPE_CHECKING:
    from ..access.token_lines import TokenSource
    from ..access.tokens import Tokens


def build_access(config: Config, *, waiting: int = 32) -> Access:
    """The guard; at most ``waiting`` logins wait at once. Raises ConfigError for a rights file that cannot be used."""
    authenticator = build_authenticator(config, waiting=waiting)
    has_tokens = config.tokens is not None
    if config.rights is None:
        return Access(authenticator, config.authenticate, overwrite=config.overwrite, has_tokens=has_tokens)
    from ..access.rights_source import RightsFile

    rights = RightsFile(config.rights)
    rights.check()
    return Access(authenticator, rights=rights, has_tokens=has_tokens)


def some_overwrite(config: Config) -> bool:
    """Whether uploads may replace files of some projects."""
    if config.rights is None:
        return config.overwrite
    from ..access.rights_source import RightsFile

    return any("overwrite" in grant.actions for grant in RightsFile(config.rights).check().grants)


def build_authenticator(config: Config, *, waiting: int = 32) -> Authenticator | None:
    """Who checks tokens and passwords: the password file, a callable or a plug-in; None if no setting names one.

    At most ``waiting`` requests wait for others at once. Raises ConfigError for a plug-in that cannot be used.
    """
    file = HtpasswdFile(config.htpasswd, slow_checks=config.max_logins) if config.htpasswd is not None else None
    foreign = None
    if config.auther is not None:
        # It replaces the file.
        file, foreign = None, ForeignCheck(config.auther, "The function auther", at_once=config.max_logins)
    if config.auth is not None:
        from ..access.plugins import load_check

        name = f"The plug-in {config.auth.partition(':')[0]}"
        foreign = ForeignCheck(load_check(config.auth), name, is_strict=True, at_once=config.max_logins)
    tokens = build_tokens(config, file)
    if file is None and foreign is None and tokens is None:
        return None
    return Authenticator(file, foreign, tokens=tokens, waiting=waiting)


def build_tokens(config: Config, passwords: HtpasswdFile | None) -> Tokens | None:
    """Who checks API tokens, whose users must be in the password file; None if the setting is off."""
    if config.tokens is None:
        return None
    from ..access.tokens import Tokens

    return Tokens(token_source(config.tokens), passwords.has_user if passwords is not None else None)


def token_source(place: Path | str) -> TokenSource:
    """Where tokens are read: a file, or a database."""
    if isinstance(place, Path):
        from ..access.token_file import TokenFile

        return TokenFile(place)
    from ..access.token_table import TokenTable

    return TokenTable(place)
