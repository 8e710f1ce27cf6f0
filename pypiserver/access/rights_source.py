"""The rights file while it serves: its table as it is now, and what is wrong with it at the start.

**Invariants:** at the start every line that cannot be used is an error; later such a line is left out and logged; a
file that cannot be read allows nothing, and makes no project absent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError, Unavailable
from .live_file import Content, LiveFile
from .rights import Rights
from .rights_file import MAX_BYTES, RightsText, read_rights

_LOG = logging.getLogger(__name__)
_FAULTS_SHOWN = 20
_AWAY = "The server cannot read now who may do what. Try again in a moment; its log says more."


class RightsFile:
    """The table in the file at ``path``, as it is now."""

    def __init__(self, path: Path, *, clock: Callable[[], float] | None = None) -> None:
        self.path = path
        options = {} if clock is None else {"clock": clock}
        self._file: LiveFile[Rights] = LiveFile(
            path, self._parse, what="rights file", whole_lines=True, max_bytes=MAX_BYTES, **options
        )

    def __call__(self) -> Rights:
        """The table as it is now; raises Unavailable when the file could not be read for some seconds."""
        rights = self._file.current()
        if rights is None:
            raise Unavailable(f"The rights file {self.path} cannot be read; nothing is allowed.", public=_AWAY)
        return rights

    def known(self) -> Rights | None:
        """The table as it is now, None if the file must be read first."""
        return self._file.known()

    def check(self) -> RightsText:
        """What the file says; raises ConfigError when it cannot be read, or has lines that cannot be used."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise _unusable(self.path, f"cannot be read: {error.strerror or error}", "unreadable") from error
        if len(data) > MAX_BYTES:
            raise _unusable(self.path, f"is larger than {MAX_BYTES >> 20} MiB", "too-large")
        text = read_rights(data)
        if text.faults:
            words = "; ".join(map(str, text.faults[:_FAULTS_SHOWN]))
            more = len(text.faults) - _FAULTS_SHOWN
            raise _unusable(self.path, f"has {words}" + (f"; and {more} more" if more > 0 else ""), "lines")
        return text

    def _parse(self, content: Content) -> Rights:
        if not content.is_told and content.mode & 0o022:
            _LOG.warning("The rights file %s can be changed by others than its owner; use chmod go-w.", self.path)
        text = read_rights(content.data)
        if not content.is_told:
            for fault in text.faults[:_FAULTS_SHOWN]:
                _LOG.error("The rights file %s: %s; the line is left out.", self.path, fault)
            if len(text.faults) > _FAULTS_SHOWN:
                _LOG.error("The rights file %s: %d more such lines.", self.path, len(text.faults) - _FAULTS_SHOWN)
        return Rights(text.grants, text.groups)


def _unusable(path: Path, what: str, kind: str) -> ConfigError:
    return ConfigError(f"The rights file {path} {what}.", kind=kind, setting="rights", value=path)
