"""One setting or flag: a row of the tables in ``config`` and ``cli.commands``.

**Invariants:** a row is immutable; a parser accepts its own result again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from typing import Any

Parser = Callable[[object], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting or flag, with everything that the command line, keywords, environment, paste and docs need.

    ``action`` is what the flag does: ``value`` takes one value, ``repeat`` one value each time, ``switch`` means true,
    ``off`` means false, ``count`` adds one. ``aliases`` are older keywords; ``opposites`` are keywords that mean the
    negated value. ``split`` splits the text of a variable or paste file into several values.
    """

    parse: Parser
    help: str
    name: str = ""
    flags: tuple[str, ...] = ()
    metavar: str = ""
    action: str = "value"
    group: str = ""
    unit: str = ""
    default_text: str = ""
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    opposites: tuple[str, ...] = ()
    none_is_value: bool = False
    split: Callable[[str], list[str]] | None = None

    @property
    def takes_value(self) -> bool:
        """Whether a value follows the flag."""
        return self.action in {"value", "repeat"}


def setting(default: object = MISSING, *, factory: Callable[[], object] | None = None, **declared: Any) -> Any:
    """A dataclass field that carries its ``Setting`` (``declared``) in its metadata."""
    metadata = {"setting": Setting(**declared)}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)
