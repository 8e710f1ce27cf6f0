"""``proxy``: what comes from other indexes: what is withheld, exceptions, and what the cache has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ...errors import ConfigError
from ...settings import parsers as types
from ...settings import path_parsers
from ...settings.config import SETTINGS, Config
from ...settings.setting import Parser, Setting
from ..options import COMMON_WITH_ROOTS, HELP, JSON
from ..subcommand import PROGRAM, Subcommand, operand, settings

TASKS = ("explain", "allow", "report", "prune", "refresh")
# What the last word of each task is.
_SUBJECTS = {"explain": "SPEC or LOCKFILE", "allow": "SPEC", "refresh": "NAME"}
# Which tasks a flag belongs to.
_FLAGS = {"lasts": ("--for", ("allow",)), "reason": ("--reason", ("allow",)), "to": ("--to", ("prune",))}
ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One task about what comes from other indexes: ``first`` and ``second`` are ``[FILE] SUBJECT`` as written.

    ``lasts`` is seconds, or ``always``; ``to`` is bytes, 0 for the setting. Raises ConfigError for words and flags that
    do not belong together.
    """

    task: str
    config: Config
    first: str = ""
    second: str = ""
    lasts: int | str = 0
    reason: str = ""
    to: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        for name, (flag, tasks) in _FLAGS.items():
            if getattr(self, name) and self.task not in tasks:
                message = f"{flag} is for proxy {' and proxy '.join(tasks)}; leave it out."
                raise ConfigError(message, kind="contradiction", setting=name, source=flag)
        subject = _SUBJECTS.get(self.task, "")
        if subject and not self.first:
            message = f"{subject} is missing; write: {PROGRAM} proxy {self.task} {subject}"
            raise ConfigError(message, kind="missing", setting="first")
        extra = self.second if subject else self.first
        if self.task != "allow" and extra:
            raise ConfigError(f"{extra!r} is too much; leave it out.", kind="too-many", value=extra)
        if self.task == "allow" and not (self.lasts and self.reason):
            message = f"An exception has an end and a reason; write: {PROGRAM} proxy allow {self.first} --for 7d "
            raise ConfigError(f"{message}--reason TEXT", kind="missing", setting="reason" if self.lasts else "lasts")

    def run(self, out: TextIO, err: TextIO) -> int:
        """Run the task; ``explain`` ends with 1 if a release is refused, or not known to be given out."""
        if self.task in ("explain", "allow"):
            return self._explain(out) if self.task == "explain" else self._allow(out)
        from .. import proxy_cache

        if self.task == "refresh":
            return proxy_cache.refresh(self.config, self.first, out, as_json=self.json)
        if self.task == "prune":
            return proxy_cache.prune(self.config, self.to or self.config.cache_size, out, as_json=self.json)
        return proxy_cache.report(self.config, out, as_json=self.json)

    def _explain(self, out: TextIO) -> int:
        from .. import lock_files, proxy_explain, proxy_server

        path = Path(self.first)
        is_file = lock_files.is_file_name(self.first) or path.is_file()
        pins = lock_files.read_pins(path) if is_file else lock_files.Pins((lock_files.pin_of(self.first),))
        with proxy_server.opened(self.config) as server:
            found = list(proxy_explain.explain(pins.pins, server))
        tell = proxy_explain.tell_json if self.json else proxy_explain.tell
        tell(found, pins, out)
        return int(any(each.is_refused or each.state == "unknown" for each in found) or bool(pins.unread))

    def _allow(self, out: TextIO) -> int:
        from .. import proxy_allow

        path: Path | None = path_parsers.path(self.first) if self.second else None
        allowing = proxy_allow.Allowing(self.second or self.first, self.lasts, self.reason, path)
        return proxy_allow.allow(allowing, self.config, out, as_json=self.json)


def age_or_always(value: object) -> int | str:
    """Seconds, from a number with s, m, h or d; or ``always``."""
    if str(value).strip().lower() == ALWAYS:
        return ALWAYS
    try:
        seconds = types.age(value)
    except ValueError as error:
        raise ValueError(f"{error}; or always") from None
    if not 0 < seconds <= 100 * 366 * 86_400:
        raise ValueError(f"{value!r} is no time ahead; give one such as 7d, or always")
    return seconds


def _option(name: str, flag: str, metavar: str, parse: Parser, text: str) -> Setting:
    return Setting(name=name, parse=parse, flags=(flag,), metavar=metavar, group="Options", help=text)


COMMAND = Subcommand(
    "proxy",
    "What comes from other indexes: withheld files, exceptions, the cache.",
    Proxy,
    (
        operand("task", "TASK", types.one_of(TASKS, "task"), TASKS),
        operand("first", "FILE"),
        operand("second", "SUBJECT"),
    ),
    (
        _option(
            "lasts", "--for", "AGE", age_or_always,
            "allow: how long the exception lasts, to the end of a day in UTC: 12h, 7d, or always.",
        ),
        _option("reason", "--reason", "TEXT", types.text, "allow: why; it is written into the list."),
        _option("to", "--to", "SIZE", types.size, "prune: down to this, else to --cache-size."),
        JSON,
        *(each for each in SETTINGS.values() if each.group == "Fallback" and each.flags),
        *settings("fallback_url", "private", "private_file", "storage", "audit_log"),
        *COMMON_WITH_ROOTS,
        *HELP,
    ),
    required=1,
    synopsis_text="TASK [FILE] [SPEC|LOCKFILE|NAME]",
    examples=(
        ("proxy explain uv.lock", "what of it would be refused, by which rule, from when"),
        ("proxy allow urllib3==2.7.0 --for 7d --reason 'fixes CVE-2026-1234'", "in the list of the settings"),
        ("proxy report", "the cache: its size, and what the indexes no longer have"),
        ("proxy prune --to 20G", "delete what was not used for longest"),
    ),
)  # fmt: skip
