"""The settings of who may do what: name, default, flag, parser, unit and help text of each.

**Invariants:** those of :mod:`config`, whose table has these rows.
"""

# ruff: noqa: RUF009 - row() is dataclasses.field with typed metadata
# A setting takes few lines when the table is laid out by hand.
# fmt: off

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import address_parsers, parsers, path_parsers
from .setting import setting

row = partial(setting, group="Access")


@dataclass(frozen=True)
class AccessSettings:
    """Which actions need a login, how logins are checked, and which origins may read."""

    authenticate: frozenset[str] = row(
        frozenset({"update"}), parse=parsers.actions, flags=("-a", "--authenticate"), metavar="ACTIONS",
        action="repeat", choices=parsers.ACTIONS, default_text="update", aliases=("authenticated",),
        split=parsers.words, help="Require a password for these actions: update, download, list, separated by commas. "
        "Open everything to everyone with: -P . -a .",
    )
    password_file: Path | None = row(
        None, parse=path_parsers.path, flags=("-P", "--passwords"), metavar="FILE", aliases=("passwords",),
        help="Read users and password hashes from this file, in Apache's htpasswd format (see pypi-server passwd). "
        "Without it, protected actions are refused to everyone. Open everything to everyone with: -P . -a .",
    )
    rights: Path | None = row(
        None, parse=path_parsers.path, flags=("--rights",), metavar="FILE",
        help="Read who may do what with which projects from this file, instead of -a and -o: lines such as "
        "'@staff read,upload acme-sdk'. Projects that a user may not list do not exist for that user.",
    )
    auth: str | None = row(
        None, parse=parsers.plug_in, flags=("--auth",), metavar="NAME[:ARGUMENT]",
        help="Check passwords with this installed plug-in, such as one for LDAP; with --passwords, users in that file "
        "are checked there only, and all others by the plug-in.",
    )
    tokens: Path | str | None = row(
        None, parse=path_parsers.catalog_place, flags=("--tokens",), metavar="FILE",
        help="Read API tokens from this file (see pypi-server token), which users and CI send in place of a password; "
        "or from a database that several servers share: postgresql://USER@HOST/DATABASE; needs pypiserver[postgres].",
    )
    max_logins: int | None = row(
        None, parse=parsers.whole_number_or_auto, flags=("--max-logins",), metavar="N",
        default_text="one for each processor, and 8 calls of a plug-in",
        help="Verify at most this many slow password hashes, and run at most this many calls of a plug-in, at once; "
        "other logins wait up to five seconds.",
    )
    allow_origin: tuple[str, ...] = row(
        (), parse=address_parsers.origins, flags=("--allow-origin",), metavar="ORIGIN", action="repeat",
        split=parsers.words,
        help="Allow web pages of this origin to read pages and files (CORS), such as a notebook that installs with "
        "micropip: https://notebooks.example; may be repeated; '*' is every origin.",
    )
    auther: Callable[[str, str], object] | None = row(
        None, parse=parsers.login_check,
        help="Only from Python: a function that takes user and password and returns whether they are valid, or a "
        "pypiserver.Principal.",
    )
