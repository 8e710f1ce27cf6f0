"""A file of tokens, one line of JSON each: read by the server, changed by commands.

**Invariants:** the server only reads it, so a read-only mount will do; a change replaces the file in one step, and
loses no change that another command makes at the same time; a new file is for its owner only.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ..backend.name_lock import claimed
from ..errors import ConfigError, Mistake, Unavailable
from .file_edit import read_file, replace_file
from .live_file import Content, LiveFile
from .token_lines import TokenLines, id_in, read_lines
from .token_record import TokenRecord, to_line
from .token_uses import read_hour, shown_hour

# A line has 300 bytes.
MAX_FILE = 64 * 1024 * 1024
MAX_USED = 16 * 1024 * 1024
# This many mistakes of a file are told at once.
_MOST_TOLD = 10
_LOG = logging.getLogger(__name__)


class TokenFile:
    """The tokens in the file at ``path``, as a server reads them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = TokenLines({})
        self._file = LiveFile(path, self._parse, what="tokens file", whole_lines=True, max_bytes=MAX_FILE)

    def current(self) -> TokenLines:
        """The tokens as they are now; raises Unavailable when the file cannot be read for five seconds."""
        found = self._file.current()
        if found is None:
            raise Unavailable(
                f"The tokens file {self.path} cannot be read.",
                public="Tokens cannot be checked right now. Try again in a moment.",
            )
        return found

    def known(self) -> TokenLines | None:
        """The tokens as they are now, None if the file must be read first."""
        return self._file.known()

    def check(self) -> None:
        """Raise ConfigError unless the file can be read and every line can be used."""
        try:
            bad = self._file.read().bad
        except OSError as error:
            raise ConfigError(
                f"The tokens file {self.path} cannot be read: {error.strerror or error}. "
                f"Make one with: pypi-server token mint {self.path} USER --may upload",
                kind="unreadable",
                setting="tokens",
                value=self.path,
            ) from error
        if bad:
            raise ConfigError.of(
                Mistake(
                    f"Line {each.number} of the tokens file {self.path} cannot be used: {each.reason}.",
                    "line",
                    "tokens",
                    each.number,
                )
                for each in bad[:_MOST_TOLD]
            )

    def add_uses(self, hours: Mapping[str, int]) -> None:
        """Add the last hour of each token to the file's neighbor, ``FILE.used``; raises OSError."""
        target = _used(self.path)
        with claimed(target):
            while True:
                old, status = read_file(target)
                known = _hours_in(old)
                found = {**known, **{each: max(hour, known.get(each, 0)) for each, hour in hours.items()}}
                text = json.dumps({each: shown_hour(found[each]) for each in sorted(found)}, indent=0) + "\n"
                if replace_file(target, text, old, status):
                    return

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _parse(self, content: Content) -> TokenLines:
        known = self._lines
        found = read_lines(content.data, known)
        if os.name != "nt" and not content.is_told:
            if content.mode & 0o022:
                _LOG.warning(
                    "The tokens file %s can be changed by others than its owner, who can add tokens; use chmod go-w.",
                    self.path,
                )
            elif content.mode & 0o004:
                _LOG.warning(
                    "The tokens file %s can be read by every user; it has no secrets, but says who may do what; use "
                    "chmod o-r.",
                    self.path,
                )
        if not content.is_told:
            for each in found.bad[:_MOST_TOLD]:
                _LOG.warning("Line %d of the tokens file %s is skipped: %s.", each.number, self.path, each.reason)
        self._lines = found
        return found


class TokenFileStore:
    """The tokens in the file at ``path``, as commands list and change them; raises ConfigError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def tokens(self) -> TokenLines:
        """Every token."""
        try:
            return read_lines(self.path.read_bytes(), TokenLines({}))
        except OSError as error:
            raise ConfigError(
                f"The tokens file {self.path} cannot be read: {error.strerror or error}.",
                kind="unreadable",
                setting="tokens",
                value=self.path,
            ) from error

    def change(self, decide: Callable[[TokenLines], Iterable[TokenRecord]]) -> None:
        """Write down the tokens that ``decide`` makes of those that are there: new ones, or others of the same id.

        ``decide`` is called again when another program changes the file meanwhile.
        """
        try:
            # Not Path.resolve, which raises RuntimeError for a link that leads to itself.
            target = Path(os.path.realpath(self.path))
            with claimed(target):
                while True:
                    old, status = read_file(target)
                    changes = {each.id: to_line(each) for each in decide(read_lines(old, TokenLines({})))}
                    if not changes or replace_file(target, _with(old, changes), old, status):
                        return
        except OSError as error:
            raise ConfigError(
                f"The tokens file {self.path} cannot be changed: {error.strerror or error}.",
                kind="unwritable",
                setting="tokens",
                value=self.path,
            ) from error

    def uses(self) -> dict[str, int]:
        """The last hour (seconds since the epoch) in which each token was used."""
        try:
            return _hours_in(read_file(_used(self.path))[0])
        except OSError:
            return {}


def _with(old: bytes, changes: dict[str, str]) -> str:
    """The lines with these tokens in place of those of the same id, or behind all others."""
    left = dict(changes)
    kept: list[str] = []
    for line in old.split(b"\n"):
        token_id = id_in(line)
        if token_id not in changes:
            kept.append(line.decode("utf-8", "surrogateescape"))
        elif token_id in left:
            kept.append(left.pop(token_id))
    while kept and not kept[-1]:
        kept.pop()
    return "".join(f"{line}\n" for line in (*kept, *left.values()))


def _used(path: Path) -> Path:
    return path.with_name(f"{path.name}.used")


def _hours_in(data: bytes) -> dict[str, int]:
    """The hours in a file of uses; a file that cannot be read has none, as it is made again."""
    try:
        read = json.loads(data[:MAX_USED] or b"{}")
        return {str(token_id): read_hour(text) for token_id, text in read.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
