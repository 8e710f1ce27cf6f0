"""``pypi-server config``: whether the settings can be used, and what they are.

``show`` writes TOML, so what it prints is a configuration file; where a value comes from stands in a comment behind
it. The rules to keep: what may be a secret is not shown; nothing is started.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, TextIO

from ..errors import ConfigError, Mistake, PypiServerError
from ..factory import Application
from ..observability.logging_setup import redacted
from ..settings.config import SETTINGS, Config
from .commands import Configuration
from .output import write_json

DEFAULT = "default"


def run(command: Configuration, *, out: TextIO, err: TextIO) -> int:
    """Do what the command says; gives 1 when there are faults."""
    mistakes = [*command.faults]
    if command.task == "check" and command.config is not None:
        mistakes += _found(command.config)
    faults = [each.sentence for each in mistakes]
    if command.json:
        shown = None if command.config is None or command.task == "check" else dict(_settings(command, command.config))
        report = {"file": str(command.file) if command.file else None, "faults": faults}
        write_json(report if shown is None else {**report, "settings": shown}, out)
        return 1 if faults else 0
    for fault in faults:
        err.write(f"{fault}\n")
    if command.config is None or faults:
        return 1
    if command.task == "show":
        out.writelines(f"{line}\n" for line in _lines(command, command.config))
    else:
        out.write(f"{command.file or 'No configuration file'}: {len(command.given)} settings given, no mistakes.\n")
    return 0


def _found(config: Config) -> Iterator[Mistake]:
    """What is wrong with the files and folders the settings name."""
    from .parser import root_faults

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


def _settings(command: Configuration, config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in SETTINGS:
        given = command.given.get(name)
        source = given.source or given.label if given else DEFAULT
        yield name, {"value": _hidden(plain(getattr(config, name))), "source": source}


def _lines(command: Configuration, config: Config) -> Iterator[str]:
    for name, each in _settings(command, config):
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
