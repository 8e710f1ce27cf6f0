"""``pypi-server config``: whether the settings can be used, and their values.

``show`` writes TOML, so its output is a configuration file; a comment after each value names its source.

**Invariants:** a value that may be a secret is not shown; nothing is started.
"""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, TextIO

from ..errors import ConfigError, Mistake
from ..observability.logging_setup import redacted
from ..settings.config import SETTINGS, Config, default_of
from ..settings.sources import Given
from .config_check import mistakes_in
from .output import write_json

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, the given values of each, and the file that was read; ``config`` is None if there are mistakes."""

    config: Config | None
    given: Mapping[str, Given]
    file: Path | None


def run(task: str, settings: Settings, mistakes: Iterable[Mistake], *, out: TextIO, err: TextIO, as_json: bool) -> int:
    """Check the settings, or show them; returns 1 if there are mistakes."""
    mistakes, config = [*mistakes], settings.config
    if task == "check" and config is not None:
        mistakes += mistakes_in(config)
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
        given = f"{len(settings.given)} setting{'' if len(settings.given) == 1 else 's'} given"
        out.write(f"{settings.file or 'No configuration file'}: {given}, no mistakes.\n")
    return 0


def init(target: Path, settings: Settings, out: TextIO) -> int:
    """Write a configuration file: given settings, and the rest as comments; raises ConfigError if the file exists."""
    lines = [f"# Settings of pypi-server; pypi-server config check {target} finds mistakes in it.", ""]
    for name, setting in SETTINGS.items():
        if setting.flags:
            lines += [f"# {line}" for line in textwrap.wrap(setting.help, 100)]
            lines += [_init_line(name, settings), ""]
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write("\n".join(lines))
    except FileExistsError as error:
        message = f"The file {target} is there already; name another one, or change it."
        raise ConfigError(message, kind="exists", setting="config", value=target) from error
    except OSError as error:
        message = f"The file {target} cannot be written ({error.strerror or error})."
        raise ConfigError(message, kind="unwritable", setting="config", value=target) from error
    out.write(f"Made {target}; serve with: pypi-server --config {shlex.quote(str(target))}\n")
    return 0


def _init_line(name: str, settings: Settings) -> str:
    value = plain(getattr(settings.config, name))
    if name in settings.given and value is not None:
        return f"{name} = {json.dumps(value)}"
    default = SETTINGS[name].default_text
    usual = plain(default_of(name)) if name != "roots" else None
    return f"# {name} = {json.dumps(usual) if usual not in (None, '', []) else '...'}" + (
        f"  # {default}" if usual is None and default else ""
    )


def _settings(settings: Settings, config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in SETTINGS:
        given = settings.given.get(name)
        source = given.source or given.label if given else DEFAULT
        yield name, {"value": _hidden(plain(getattr(config, name))), "source": source}


def _lines(settings: Settings, config: Config) -> Iterator[str]:
    for name, each in _settings(settings, config):
        if name == "auther":
            continue
        # TOML has no null; hash_algo calls it off.
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
