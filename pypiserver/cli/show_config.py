"""``pypi-server config``: whether the settings can be used, and what they are.

``show`` writes TOML, so what it prints is a configuration file; where a value comes from stands in a comment behind
it. The rules to keep: what may be a secret is not shown; nothing is started.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, TextIO

from ..errors import ConfigError, Mistake, PypiServerError
from ..factory import Application
from ..observability.logging_setup import redacted
from ..settings.config import SETTINGS, Config, Given
from .output import write_json
from .roots import root_faults

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, what was given for each, and the file that was read; ``config`` is None when it has mistakes."""

    config: Config | None
    given: Mapping[str, Given]
    file: Path | None


def run(task: str, settings: Settings, mistakes: Iterable[Mistake], *, out: TextIO, err: TextIO, as_json: bool) -> int:
    """Check the settings, or show them; gives 1 when there are mistakes."""
    mistakes, config = [*mistakes], settings.config
    if task == "check" and config is not None:
        mistakes += _found(config)
    faults = [each.sentence for each in mistakes]
    if as_json:
        shown = None if config is None or task == "check" else dict(_settings(settings, config))
        report = {"file": str(settings.file) if settings.file else None, "faults": faults}
        write_json(report if shown is None else {**report, "settings": shown}, out)
        return 1 if faults else 0
    for fault in faults:
        err.write(f"{fault}\n")
    if config is None or faults:
        return 1
    if task == "show":
        out.writelines(f"{line}\n" for line in _lines(settings, config))
    else:
        out.write(f"{settings.file or 'No configuration file'}: {len(settings.given)} settings given, no mistakes.\n")
    return 0


def _found(config: Config) -> Iterator[Mistake]:
    """What is wrong with the files and folders the settings name."""
    if not config.roots_are_default:
        for root in config.roots:
            yield from root_faults(root, create=False)
    try:
        application = Application(config)
        application.check()
    except ConfigError as error:
        yield from error.mistakes
    except PypiServerError as error:
        yield Mistake(str(error), error.kind)


def _settings(settings: Settings, config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in SETTINGS:
        given = settings.given.get(name)
        source = given.source or given.label if given else DEFAULT
        yield name, {"value": _hidden(plain(getattr(config, name))), "source": source}


def _lines(settings: Settings, config: Config) -> Iterator[str]:
    for name, each in _settings(settings, config):
        if name == "auther":
            continue
        # TOML has no null; off is what hash_algo calls it.
        value = "off" if name == "hash_algo" and each["value"] is None else each["value"]
        if value is None:
            yield f"# {name} = ...  # {SETTINGS[name].default_text or 'not set'}"
        else:
            yield f"{name} = {json.dumps(value)}  # {each['source']}"


def plain(value: Any) -> Any:
    """The value in the types that JSON and TOML share."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], int):
        return f"[{value[0]}]:{value[1]}" if ":" in value[0] else f"{value[0]}:{value[1]}"
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, Path | IPv4Network | IPv6Network):
        return str(value)
    return "a function" if callable(value) else value


def _hidden(value: Any) -> Any:
    """The value without passwords."""
    if isinstance(value, list):
        return [_hidden(each) for each in value]
    return redacted(value) if isinstance(value, str) else value
