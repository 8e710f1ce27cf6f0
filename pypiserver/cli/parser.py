"""argv becomes a command: the classic flags, or a subcommand as the first word that is not a flag.

**Invariants:** this module prints nothing and does not exit; every mistake is a ``ConfigError``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from .._version import __version__
from ..errors import ConfigError, Mistake
from ..settings import toml_file
from ..settings.config import SETTINGS, SOURCES, Config, build
from ..settings.setting import Setting
from ..settings.sources import Given
from . import help
from .arguments import flags_in, listed, read
from .commands import CLASSIC, COMMANDS, ROWS
from .commands.classic import UPDATE
from .commands.help import write_help
from .commands.run import Run
from .release import divide
from .subcommand import PROGRAM, Command, Subcommand

# A flag takes a value, or takes none, whatever command it belongs to.
_FLAGS: Mapping[str, Setting] = {
    flag: option for row in ROWS.values() for option in row.options for flag in option.flags
}


@dataclass(frozen=True, slots=True)
class HelpText:
    """Print the help of a flag: ``-h`` prints one screen, ``--help`` everything."""

    text: str

    def run(self, out: TextIO, err: TextIO) -> int:
        """Print it."""
        write_help(self.text, out)
        return 0


@dataclass(frozen=True, slots=True)
class Version:
    """Print the version."""

    def run(self, out: TextIO, err: TextIO) -> int:
        """Print it."""
        out.write(f"{PROGRAM} {__version__}\n")
        return 0


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Command:
    """The command in ``argv`` (without the program's name); flags override variables, which override a file.

    Raises ``ConfigError``, with a sentence for each mistake.
    """
    name, words = _command_in(argv)
    row = COMMANDS.get(name, CLASSIC)
    if name == "help":
        # The only command that is a flag, too.
        words = ["update" if word in UPDATE.flags else word for word in words]
    flags, words = read(row, words, COMMANDS)
    if "help" in flags:
        show = help.screen if flags["help"].label == "-h" else help.full
        return HelpText(show(row, COMMANDS))
    if "version" in flags:
        return Version()
    given = {**flags, **_operands(words, row, flags)}
    settings = {key: given.pop(key) for key in list(given) if key in SETTINGS}
    values = _values(given, (*row.options, *row.operands))
    if row.wants_table:
        values["table"] = ROWS
    root = values.get("root")
    if root is not None:
        settings["roots" if isinstance(root, Path) else "storage"] = Given("DIR", root)
    if not any(option.name in SETTINGS for option in row.options):
        return row.build(**values)
    named = values.pop("config_file", None)
    if values.get("task") == "init":
        values |= {"target": named} if named is not None else {}
        named = Path(toml_file.NONE)
    configured = _configured(settings, environ, named, keep_faults=name == "config")
    file = configured["file"] if name == "config" else configured.pop("file")
    values |= configured if row.wants_given else {"config": configured["config"]}
    built = row.build(**values)
    return replace(built, file=file, reread=partial(reread, tuple(argv))) if isinstance(built, Run) else built


def reread(argv: Sequence[str]) -> Config:
    """The settings of the serving command in ``argv``, with the current environment and file; raises ConfigError."""
    command = parse(argv, os.environ)
    assert isinstance(command, Run)  # noqa: S101 - arguments mean the same command each time
    return command.config


def _configured(
    flags: dict[str, Given], environ: Mapping[str, str], file: Path | None, *, keep_faults: bool
) -> dict[str, Any]:
    """The settings of all sources, and the given values of each; ``keep_faults`` returns faults instead of raising."""
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


def _command_in(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The subcommand, which is the first word that is not a flag, and the other words; '' if there is none.

    ``-U`` is a command itself, so the words after it are folders.
    """
    at = _first_operand(argv)
    if at is None or argv[at] not in COMMANDS:
        return "", list(argv)
    return argv[at], [*argv[:at], *argv[at + 1 :]]


def _first_operand(argv: Sequence[str]) -> int | None:
    """The index of the first word that is neither a flag nor a flag's value; None if there is none, or after ``-U``."""
    at = 0
    while at < len(argv) and argv[at] != "--":
        word = argv[at]
        if not word.startswith("-") or word == "-":
            return at
        found = list(flags_in(word, _FLAGS))
        if any(flag in UPDATE.flags for flag, _ in found):
            return None
        flag, value = found[-1]
        at += 2 if value is None and flag in _FLAGS and _FLAGS[flag].takes_value else 1
    return None


def _operands(words: Sequence[str], row: Subcommand, flags: Mapping[str, Given]) -> dict[str, Given]:
    """Operands by name; raises ``ConfigError`` if there are too few or too many."""
    first = row.operands[0] if row.operands else None
    if first is not None and first.name == "root":
        divided = divide(row, words, is_whole="file" in flags or "all" in flags)
        return {each.name: Given(each.metavar, divided[each.name]) for each in row.operands if each.name in divided}
    if first is not None and first.action == "repeat":
        roots = listed(flags.get("roots"))
        return {"roots": Given("folder", [*roots, *words])} if roots or words else {}
    if not row.required <= len(words) <= len(row.operands):
        few = len(words) < row.required
        missing = row.operands[len(words)] if few else None
        wrong = f"{words[-1]!r} is too much" if missing is None else f"{missing.metavar} is missing"
        if missing is not None and missing.choices:
            wrong += f" (one of {', '.join(missing.choices)})"
        raise ConfigError(
            f"{wrong}; write: {PROGRAM} {row.name} {row.synopsis}",
            kind="too-many" if missing is None else "missing",
            setting="" if missing is None else missing.name,
            value=words[-1] if missing is None else None,
        )
    return {each.name: Given(each.metavar, word) for each, word in zip(row.operands, words, strict=False)}


def _values(given: Mapping[str, Given], options: Sequence[Setting]) -> dict[str, Any]:
    """The parsed values of the options that are not settings."""
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
