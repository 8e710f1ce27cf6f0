"""``pypi-server config``: whether the settings can be used, and their values.

``show`` writes TOML, so its output is a configuration file; a comment after each value names its source.

**Invariants:** a value that may be a secret is not shown; nothing is started.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import ConfigError, Mistake, PypiServerError, Unavailable
from ..observability.clean_lines import redacted
from ..settings.config import SETTINGS, Config, default_of
from ..settings.sources import Given
from ..settings.upstream_tables import UpstreamTable
from ..text import printable
from .config_check import mistakes_in, warnings_about
from .output import count_of, write_json

if TYPE_CHECKING:
    from ..access.token_record import TokenRecord

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
    notes = list(_notes(config)) if task == "check" and config is not None and config.rights and not faults else []
    warnings = warnings_about(config) if task == "check" and config is not None else []
    if as_json:
        shown = None if config is None or task == "check" else dict(_settings(settings, config))
        report = {"file": str(settings.file) if settings.file else None, "faults": faults}
        report |= {"warnings": warnings} if task == "check" else {}
        report |= {"notes": notes} if notes else {}
        write_json(report if shown is None else {**report, "settings": shown}, out)
        return 1 if faults else 0
    for fault in faults:
        err.write(f"{fault}\n")
    err.writelines(f"warning: {warning}\n" for warning in warnings)
    if config is None or faults:
        return 1
    if task == "show":
        out.writelines(f"{line}\n" for line in _lines(settings, config))
    else:
        out.writelines(f"Note: {printable(note)}\n" for note in notes)
        given = count_of(len(settings.given), "setting")
        out.write(f"{settings.file or 'No configuration file'}: {given} given, no mistakes.\n")
    return 0


def _notes(config: Config) -> Iterator[str]:
    """What has no effect in the files that the settings name, though it is no mistake."""
    from . import rights_report

    tokens: list[TokenRecord] | None = [] if config.tokens is None else None
    if config.tokens is not None:
        from .manage_tokens import kept

        try:
            tokens = list(kept(config.tokens, config).store.tokens())
        except Unavailable as error:
            yield f"{error} Nothing is said of their users."
    yield from rights_report.orphans(config, tokens or (), time.time())
    users = rights_report.usable_users(config, tokens)
    projects = None
    with contextlib.suppress(PypiServerError):
        projects = rights_report.projects_in(config)
    yield from rights_report.notes(config, users, projects)


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
        return f"{name} = {_toml(value)}"
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
            yield f"{name} = {_toml(value)}  # {each['source']}"


def plain(value: Any) -> Any:
    """The value in the types that JSON and TOML share."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int):
        return f"[{value[0]}]:{value[1]}" if ":" in value[0] else f"{value[0]}:{value[1]}"
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, UpstreamTable):
        given = {each.name: getattr(value, each.name) for each in fields(value)}
        return {key: plain(each) for key, each in given.items() if each != getattr(UpstreamTable(), key)}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, Path | IPv4Network | IPv6Network):
        return str(value)
    return "a function" if callable(value) else value


def _toml(value: Any) -> str:
    """The value as TOML; a table is written on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


def _hidden(value: Any) -> Any:
    """The value without passwords."""
    if isinstance(value, dict):
        return {key: _hidden(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each) for each in value]
    return redacted(value) if isinstance(value, str) else value
