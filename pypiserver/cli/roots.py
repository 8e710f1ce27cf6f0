"""Whether the folders to serve can be used; a missing default folder is created, a missing named one never."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError, Mistake
from ..settings.address_parsers import BUCKETS
from ..settings.config import Config
from ..settings.suggestions import nearest
from .subcommand import NAMES

# Commands as other programs call them.
OTHER_WORDS = {
    **dict.fromkeys(("serve", "start", "server"), "run"),
    **dict.fromkeys(("adduser", "useradd", "htpasswd", "user", "users"), "passwd"),
    **dict.fromkeys(("remove", "rm"), "delete"),
    "undelete": "restore",
}


def prepare_roots(config: Config) -> None:
    """Check that every folder can be read, and create the default one if it is missing; never a named one.

    Raises ``ConfigError`` with a sentence for each folder that is missing, not a folder, or unreadable.
    """
    faults = [fault for root in config.roots for fault in root_faults(root, create=config.roots_are_default)]
    if faults:
        raise ConfigError.of(faults)


def root_faults(root: Path, *, create: bool) -> Iterator[Mistake]:
    """The mistakes of a folder to serve; ``create`` makes it if it is missing."""
    try:
        if create:
            root.mkdir(parents=True, exist_ok=True)
        with os.scandir(root) as entries:
            next(entries, None)
    except FileNotFoundError:
        # A path has lost the second slash of a URL.
        scheme, colon, rest = str(root).partition(":/")
        if colon and scheme in BUCKETS:
            address = f"{scheme}://{rest.lstrip('/')}"
            sentence = f"{address} is the URL of a bucket, not a folder; write --storage {address}."
            yield Mistake(sentence, "no-folder", "roots", root, suggestion="--storage")
            return
        meant = OTHER_WORDS.get(str(root)) or nearest(str(root), NAMES, 0.7)
        hint = "A command is the first word that is no flag" if str(root) == meant else "Did you mean the command"
        sentence = f"The folder {str(root)!r} does not exist; create it, or name another one."
        sentence += f" {hint}: pypi-server {meant} ..." if meant else ""
        yield Mistake(sentence, "missing", "roots", root, suggestion=meant)
    except (NotADirectoryError, FileExistsError):
        sentence = f"{str(root)!r} is not a folder; name the folder that holds the packages."
        yield Mistake(sentence, "no-folder", "roots", root)
    except OSError as fault:
        # Not Path.exists, which raises if the parent folder may not be entered.
        kind, what = ("uncreatable", "created") if create and not os.path.exists(root) else ("unreadable", "read")  # noqa: PTH110
        sentence = (
            f"The folder {str(root)!r} cannot be {what} ({fault.strerror}); give this user access, or name another."
        )
        yield Mistake(sentence, kind, "roots", root)
