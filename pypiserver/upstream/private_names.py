"""Names of private projects, which are neither redirected to nor looked up on another index."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import ConfigError


class PrivateNames:
    """The patterns of ``--private`` and ``--private-file``, with ``*``, ``?`` and ``[...]``, in any spelling."""

    def __init__(self, patterns: Iterable[str]) -> None:
        # Normalized like names in a comparison (PEP 503); brackets may contain a range, whose dash stays.
        self._patterns = [re.sub(r"[-_.]+", "-", pattern).lower() for pattern in patterns]

    def __contains__(self, name: str) -> bool:
        """Whether the project with this normalized name is private."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._patterns)


def read_private_names(patterns: Sequence[str], file: Path | None) -> PrivateNames:
    """The given patterns and those in the file, one on each line, ``#`` starts a comment; raises ConfigError."""
    listed = list(patterns)
    if file is not None:
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror or error if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(
                f"The file of private names {file} cannot be read: {why}.",
                kind="unreadable",
                setting="private_file",
                value=file,
            ) from error
        listed += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return PrivateNames(listed)
