"""argv becomes a command value: the classic flags, or a subcommand as the first word that is no flag.

Flags and folders stand in any order; ``--`` ends the flags. Long flags are never abbreviated, so that a new flag
cannot change the meaning of an old script. The reader is ours because argparse reads ``DIR -p 80 DIR``, ``--`` and
``-Ux`` differently from one Python to the next. Nothing here prints or exits; every mistake is a ``ConfigError``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Mistake
from ..settings import toml_file
from ..settings.config import SETTINGS, SOURCES, Config, build
from ..settings.parsers import hinting, nearest
from ..settings.setting import Setting
from ..settings.sources import Given
from . import help
from .commands import (
    CLASSIC,
    COMMANDS,
    Check,
    Collect,
    Command,
    Completion,
    Configuration,
    Copy,
    Delete,
    Help,
    Passwd,
    Recipe,
    Reindex,
    Restore,
    Run,
    Stats,
    Subcommand,
    Unyank,
    Update,
    Version,
    Yank,
)

__all__ = [
    "Check",
    "Collect",
    "Command",
    "Completion",
    "Configuration",
    "Copy",
    "Delete",
    "Help",
    "Passwd",
    "Recipe",
    "Reindex",
    "Restore",
    "Run",
    "Stats",
    "Unyank",
    "Update",
    "Version",
    "Yank",
    "help_text",
    "parse",
    "prepare_roots",
]
# Whatever command it belongs to, a flag takes a value or none.
_FLAGS: Mapping[str, Setting] = {
    flag: option for row in (*COMMANDS.values(), CLASSIC) for option in row.options for flag in option.flags
}
_UPDATE = next(option for option in CLASSIC.options if option.name == "update")


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Command:
    """The command in ``argv`` (without the program's name); flags win over variables, these over a file.

    Raises ``ConfigError``, with a sentence for each mistake.
    """
    name, words = _command_in(argv)
    command = COMMANDS.get(name, CLASSIC)
    flags, words = _read(words, command.options)
    if "help" in flags:
        return Help(help_text(name))
    if "version" in flags:
        return Version()
    given = {**flags, **_operands(words, command, name, _listed(flags.get("roots")))}
    settings = {key: given.pop(key) for key in list(given) if key in SETTINGS}
    values = _values(given, (*command.options, *command.operands))
    if command.operands[0].name == "root":
        root = values["root"]
        settings["roots" if isinstance(root, Path) else "storage"] = Given("DIR", root)
    if any(option.name in SETTINGS for option in command.options):
        named = values.pop("config_file", None)
        configured = _configured(settings, environ, named, keep_faults=name == "config")
        file = configured["file"] if name == "config" else configured.pop("file")
        values |= configured if command.wants_given else {"config": configured["config"]}
        built = command.build(**values)
        return replace(built, argv=tuple(argv), file=file) if isinstance(built, Run) else built
    return command.build(**values)


def _configured(
    flags: dict[str, Given], environ: Mapping[str, str], file: Path | None, *, keep_faults: bool
) -> dict[str, Any]:
    """The settings of all sources, and what was given for each; ``keep_faults`` gives faults instead of raising."""
    found = toml_file.locate(file, environ)
    is_named = file is not None or bool(environ.get(toml_file.VARIABLE))
    given: dict[str, Given] = {}
    faults: list[Mistake] = []
    try:
        if found is not None and not is_named:
            toml_file.refuse_strange(found)
        given = SOURCES.gather(flags, environ, toml_file.read(found) if found else {}, faults)
        config = build(given, faults)
        if found is not None and not is_named:
            toml_file.refuse_strange(found, config.roots)
    except ConfigError as error:
        if not keep_faults:
            raise
        return {"config": None, "given": given, "faults": error.mistakes, "file": found}
    return {"config": config, "given": given, "file": found}


def help_text(name: str = "") -> str:
    """The help of a subcommand, or of the whole program."""
    command = COMMANDS.get(name, CLASSIC)
    parts = list(help.sections(command.options))
    if name:
        head = f"usage: pypi-server {name} [OPTIONS] {command.synopsis}"
        return "\n\n".join([head, help.paragraph(command.summary), *parts]) + "\n"
    head = f"usage: pypi-server [OPTIONS] {command.synopsis}\n       pypi-server COMMAND [OPTIONS] ..."
    about = (
        f"{command.summary} Without a DIR it serves ~/packages. Files and folders that start with a dot are left out. "
        "Flags and folders can stand in any order."
    )
    rows = {each: row.summary for each, row in COMMANDS.items()}
    notes = (
        "'pypi-server COMMAND --help' tells more about a command. To serve a folder that is called like a command, "
        "write it as ./NAME.",
        "Every setting can also be given as a variable: PYPISERVER_PORT=8080 means --port 8080, "
        "PYPISERVER_OVERWRITE=yes means --overwrite; or in a file, pypiserver.toml: port = 8080. Flags win over "
        "variables, and variables over the file.",
    )
    parts = [head, help.paragraph(about), *parts, help.listing("Commands", rows), *map(help.paragraph, notes)]
    return "\n\n".join(parts) + "\n"


def prepare_roots(config: Config) -> None:
    """See that every folder can be read, and create the default one when it is missing; a named one never.

    Raises ``ConfigError`` with a sentence for each folder that is missing, no folder, or unreadable.
    """
    faults = [fault for root in config.roots for fault in root_faults(root, create=config.roots_are_default)]
    if faults:
        raise ConfigError.of(faults)


def root_faults(root: Path, *, create: bool) -> Iterator[Mistake]:
    """What is wrong with a folder to serve; ``create`` makes it when it is missing."""
    try:
        if create:
            root.mkdir(parents=True, exist_ok=True)
        with os.scandir(root) as entries:
            next(entries, None)
    except FileNotFoundError:
        hint = f" A command is the first word that is no flag: pypi-server {root} ..." if str(root) in COMMANDS else ""
        sentence = f"The folder {str(root)!r} does not exist; create it, or name another one.{hint}"
        yield Mistake(sentence, "missing", "roots", root)
    except (NotADirectoryError, FileExistsError):
        sentence = f"{str(root)!r} is not a folder; name the folder that holds the packages."
        yield Mistake(sentence, "no-folder", "roots", root)
    except OSError as fault:
        # Not Path.exists, which raises where the folder above may not be entered.
        kind, what = ("uncreatable", "created") if create and not os.path.exists(root) else ("unreadable", "read")  # noqa: PTH110
        sentence = (
            f"The folder {str(root)!r} cannot be {what} ({fault.strerror}); give this user access, or name another."
        )
        yield Mistake(sentence, kind, "roots", root)


def _command_in(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The subcommand, which is the first word that is no flag, and the other words; '' where there is none.

    ``-U`` is one in itself, so the words that follow it are folders.
    """
    at = _first_operand(argv)
    if at is None or argv[at] not in COMMANDS:
        return "", list(argv)
    return argv[at], [*argv[:at], *argv[at + 1 :]]


def _first_operand(argv: Sequence[str]) -> int | None:
    """Where the first word is that is no flag and no value of one; None where there is none, or after ``-U``."""
    at = 0
    while at < len(argv) and argv[at] != "--":
        word = argv[at]
        if not word.startswith("-") or word == "-":
            return at
        found = list(_flags_in(word, _FLAGS))
        if any(flag in _UPDATE.flags for flag, _ in found):
            return None
        flag, value = found[-1]
        at += 2 if value is None and flag in _FLAGS and _FLAGS[flag].takes_value else 1
    return None


def _read(argv: Sequence[str], options: Sequence[Setting]) -> tuple[dict[str, Given], list[str]]:
    """Values by option name, and the words that are no flags."""
    by_flag = {flag: option for option in options for flag in option.flags}
    flags: dict[str, Given] = {}
    operands: list[str] = []
    faults: list[Mistake] = []
    words = list(reversed(argv))
    while words:
        word = words.pop()
        if word == "--":
            operands += reversed(words)
            break
        if not word.startswith("-") or word == "-":
            operands.append(word)
        for flag, value in _flags_in(word, by_flag):
            option = by_flag.get(flag)
            if option is None:
                faults.append(_unknown(flag, value, by_flag))
            elif not option.takes_value and value is not None:
                sentence = f"{flag} takes no value; leave out {value!r}."
                faults.append(Mistake(sentence, "takes-none", option.name, value, flag))
            elif option.takes_value and value is None and (not words or words[-1][:1] == "-" != words[-1]):
                sentence = f"{flag} needs a value; write {flag} {option.metavar}."
                faults.append(Mistake(sentence, "needs-value", option.name, None, flag))
            else:
                taken = words.pop() if option.takes_value and value is None else value
                flags[option.name] = _added(flags.get(option.name), Given(flag, taken), option.action)
    if faults:
        raise ConfigError.of(faults)
    return flags, operands


def _flags_in(word: str, by_flag: Mapping[str, Setting]) -> Iterator[tuple[str, str | None]]:
    """The flags in one word with the value attached to each: ``--port=80``, ``-Ux``, ``-p80``, ``-p=80``."""
    if word.startswith("--"):
        flag, attached, value = word.partition("=")
        yield flag, value if attached else None
        return
    letters = word[1:] if word.startswith("-") else ""
    while letters:
        flag, letters = f"-{letters[0]}", letters[1:]
        if flag in by_flag and by_flag[flag].takes_value and letters:
            yield flag, letters.removeprefix("=")
            return
        yield flag, None


def _added(before: Given | None, now: Given, action: str) -> Given:
    """The value of an option after its flag has come once more."""
    if action == "repeat":
        return now._replace(value=[*_listed(before), now.value])
    if action == "count":
        return now._replace(value=1 if before is None else int(str(before.value)) + 1)
    return now if action == "value" else now._replace(value=action != "off")


def _listed(given: Given | None) -> list[object]:
    return list(given.value) if given is not None and isinstance(given.value, list) else []


def _unknown(flag: str, value: str | None, by_flag: Mapping[str, Setting]) -> Mistake:
    """A flag that is none here: with the one that was probably meant, or the command it belongs to."""
    if not flag.startswith("--"):
        near = flag.swapcase() if flag.swapcase() in by_flag else ""
    else:
        known = [each for each in by_flag if each.startswith("--")]
        longer = [each for each in known if each.startswith(flag)]
        near = nearest(flag, longer, 0.0) if longer else nearest(flag, known, 0.7)
    owners = [name for name, row in COMMANDS.items() if any(flag in option.flags for option in row.options)]
    if owners:
        hint, meant = f"; it belongs to 'pypi-server {owners[0]}'.", owners[0]
    else:
        hint, meant = hinting(near) if near else "; see pypi-server --help.", near
    return Mistake(f"There is no flag {flag}{hint}", "misplaced" if owners else "unknown", flag, value, flag, meant)


def _operands(words: Sequence[str], command: Subcommand, name: str, roots: list[object]) -> dict[str, Given]:
    """Operands by name; raises ``ConfigError`` when there are too few or too many."""
    if command.operands[0].action == "repeat":
        return {"roots": Given("folder", [*roots, *words])} if roots or words else {}
    if not command.required <= len(words) <= len(command.operands):
        few = len(words) < command.required
        operand = command.operands[len(words)] if few else None
        wrong = f"{words[-1]!r} is too much" if operand is None else f"{operand.metavar} is missing"
        raise ConfigError(
            f"{wrong}; write: pypi-server {name} {command.synopsis}",
            kind="too-many" if operand is None else "missing",
            setting="" if operand is None else operand.name,
            value=words[-1] if operand is None else None,
        )
    return {each.name: Given(each.metavar, word) for each, word in zip(command.operands, words, strict=False)}


def _values(given: Mapping[str, Given], options: Sequence[Setting]) -> dict[str, Any]:
    """Parsed values of what is no setting."""
    by_name = {option.name: option for option in options}
    values: dict[str, Any] = {}
    faults: list[Mistake] = []
    for name, each in given.items():
        try:
            values[name] = by_name[name].parse(each.value)
        except ValueError as fault:
            faults.append(Mistake(f"{each.label}: {fault}.", "value", name, each.value, each.label))
    if faults:
        raise ConfigError.of(faults)
    return values
