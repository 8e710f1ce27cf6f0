"""Every command once: the value it becomes, its operands, its flags and what it is for.

``COMMANDS`` is the table of subcommands and ``CLASSIC`` the row without a name; the command line, its help and shell
completion are loops over them. The values are what ``__main__`` acts on; nothing here reads a word of a command line.
"""

# The table is read best with an option in few lines, so this file is laid out by hand.
# fmt: off
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Mistake
from ..settings import parsers as types
from ..settings.config import GROUPS, SETTINGS, Config
from ..settings.setting import Parser, Setting
from ..settings.sources import Given

SHELLS = ("bash", "zsh", "fish")
TASKS = ("check", "show")


@dataclass(frozen=True, slots=True)
class Run:
    """Serve the folders; ``argv`` are the arguments that said so, to be read again when the server reloads.

    ``file`` is the configuration file that was read.
    """

    config: Config
    argv: tuple[str, ...] = field(default=(), compare=False)
    file: Path | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Update:
    """Look for newer releases of the files in the folders; show the pip commands, or run them."""

    config: Config
    execute: bool = False
    download_directory: Path | None = None
    allow_unstable: bool = False
    ignorelist_file: Path | None = None
    index_url: str | None = None
    json: bool = False
    allow_sdist: bool = False


@dataclass(frozen=True, slots=True)
class Passwd:
    """Set a user's password in a password file."""

    file: Path
    user: str
    json: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """Print the completion script of a shell."""

    shell: str


@dataclass(frozen=True, slots=True)
class _Release:
    """A release of a project in one folder or bucket, or one file of it; ``root`` is the only one of ``config``."""

    config: Config
    root: Path | str
    name: str
    version: str | None = None
    file: str | None = None
    json: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not self.version and not self.file:
            message = f"It is not said which release of {self.name!r}; give a VERSION, or --file NAME."
            raise ConfigError(message, kind="missing", setting="version")


@dataclass(frozen=True, slots=True)
class Yank(_Release):
    """Mark the files of a release as yanked (PEP 592), for a reason that may be empty."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unyank(_Release):
    """Take the mark away again."""


@dataclass(frozen=True, slots=True)
class Delete(_Release):
    """Move the files of a release to the trash, or delete them for good; without ``yes`` only say what would go."""

    purge: bool = False
    yes: bool = False


@dataclass(frozen=True, slots=True)
class Restore:
    """Bring files back from the trash; without a name, list what is there."""

    config: Config
    root: Path | str
    name: str | None = None
    version: str | None = None
    file: str | None = None
    json: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """Read everything in the folders and name what is wrong."""

    config: Config
    json: bool = False

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders to check."""
        return self.config.roots


@dataclass(frozen=True, slots=True)
class _OfBucket:
    """What is about a bucket and its catalog; raises ConfigError where packages are in folders."""

    config: Config
    json: bool = False

    def __post_init__(self) -> None:
        if self.config.storage is None:
            message = "This is for a bucket; name it with --storage URL. A folder is looked at by its server."
            raise ConfigError(message, kind="missing", setting="storage")


@dataclass(frozen=True, slots=True)
class Reindex(_OfBucket):
    """Build the catalog of a bucket, or bring it up to date, by listing the bucket."""


@dataclass(frozen=True, slots=True)
class Collect(_OfBucket):
    """Delete what no row of the catalog refers to; ``older_than`` is in seconds. Without ``yes`` only say what."""

    older_than: int = 86_400
    yes: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy packages between folders and buckets."""

    config: Config
    source: Path | str
    destination: Path | str
    json: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """Say whether the settings can be used (``task`` check), or what they are and where each comes from (show).

    ``config`` is None when there are ``faults``; ``file`` is the configuration file that was read.
    """

    task: str
    config: Config | None
    given: Mapping[str, Given]
    faults: tuple[Mistake, ...] = ()
    file: Path | None = None
    json: bool = False


@dataclass(frozen=True, slots=True)
class Stats:
    """Show how often what was downloaded, or for one project by version and client."""

    config: Config
    name: str | None = None
    json: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """Print a ready file of this kind (systemd, nginx, compose) for the settings that are given."""

    kind: str
    config: Config
    given: Mapping[str, Given]


@dataclass(frozen=True, slots=True)
class Help:
    """Print this text."""

    text: str


@dataclass(frozen=True, slots=True)
class Version:
    """Print the version."""


Command = (
    Run | Update | Passwd | Completion | Yank | Unyank | Delete | Restore | Check | Configuration | Recipe | Stats
    | Reindex | Collect | Copy | Help | Version
)


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A row of the table; the first ``required`` operands must be given.

    A command that takes any setting is built with a ``config``; its first operand may be ``roots`` (the folders of
    the settings) or ``root`` (the only one of them). ``wants_given`` says that it is also told what was given.
    """

    summary: str
    build: Callable[..., Command]
    operands: tuple[Setting, ...]
    options: tuple[Setting, ...]
    required: int = 0
    wants_given: bool = False

    @property
    def synopsis(self) -> str:
        """The operands as the help writes them."""
        shown = [each.metavar + ("..." if each.action == "repeat" else "") for each in self.operands]
        return " ".join(text if at < self.required else f"[{text}]" for at, text in enumerate(shown))


def _settings(*groups: str) -> tuple[Setting, ...]:
    """The settings that have a flag, by group in this order."""
    return tuple(each for group in groups for each in SETTINGS.values() if each.group == group and each.flags)


def _switch(name: str, *flags: str, text: str, group: str = "Options") -> Setting:
    return Setting(name=name, parse=types.boolean, action="switch", flags=flags, help=text, group=group)


def _operand(name: str, metavar: str, parse: Parser = types.text, choices: tuple[str, ...] = ()) -> Setting:
    return Setting(name=name, parse=parse, metavar=metavar, help="", choices=choices)


_ROOT = _operand("root", "DIR", types.place)
_URL = replace(SETTINGS["storage"], flags=())
_NAME = _operand("name", "NAME")
_VERSION = _operand("version", "VERSION")
_FILE = Setting(
    name="file", parse=types.text, flags=("--file",), metavar="NAME", group="Options",
    help="Only the file of this name.",
)
_REASON = Setting(
    name="reason", parse=types.text, flags=("--reason",), metavar="TEXT", group="Options",
    help="Say why; installers show it.",
)
_CONFIG_FILE = Setting(
    name="config_file", parse=types.path, flags=("--config",), metavar="FILE", group="Configuration",
    default_text="pypiserver.toml in the working directory, if it exists",
    help="Read settings from this file, in TOML; 'none' reads none. Flags and variables win over it.",
)
_JSON = _switch("json", "--json", text="Report in JSON.")
_UPDATE_OPTIONS = (
    _switch("execute", "-x", "--execute", text="Run the pip commands instead of only showing them."),
    Setting(
        name="download_directory", parse=types.path, flags=("-d", "--download-directory"), metavar="DIR",
        group="Options", help="Download updates to this folder.", default_text="the folder of the file to be updated",
    ),
    _switch("allow_unstable", "-u", "--allow-unstable", text="Allow alpha, beta, rc and dev versions."),
    Setting(
        name="ignorelist_file", parse=types.path, flags=("--ignorelist-file", "--blacklist-file"), metavar="FILE",
        group="Options", help="Leave alone the projects named in this file, one on each line.",
    ),
    Setting(
        name="index_url", parse=types.web_address, flags=("--index-url",), metavar="URL", group="Options",
        default_text="the public index", help="Look for updates in this index (its simple page).",
    ),
    _JSON,
    _switch("allow_sdist", "--allow-sdist", text="Download source distributions too, not only built ones."),
)
_U = _switch("update", "-U", "--update", text="Look for newer releases of the packages in each DIR; do not serve.")
_ALL_SETTINGS = (*_settings(*GROUPS), _CONFIG_FILE)
_COMMON = (*(
    SETTINGS[name]
    for name in (
        "roots", "catalog", "hash_algo", "verbosity", "log_conf", "log_file", "log_stream", "log_format", "log_frmt",
    )
), _CONFIG_FILE)
_HELP = (
    _switch("help", "-h", "--help", text="Show this help.", group="Help"),
    _switch("version", "--version", text="Show the version.", group="Help"),
)
_PRIVATE = (SETTINGS["private"], SETTINGS["private_file"])
_BUCKET = (SETTINGS["storage"], *(each for each in _COMMON if each.name != "roots"), *_HELP)
_ONE_ROOT = (_JSON, *(each for each in _COMMON if each.name != "roots"), SETTINGS["audit_log"], *_HELP)


def _classic(config: Config, *, update: bool = False, **options: Any) -> Command:
    if update:
        return Update(config, **options)
    for each in _UPDATE_OPTIONS:
        if each.name in options:
            message = f"{each.flags[0]} belongs to the search for updates; add -U, or leave it out."
            raise ConfigError(message, kind="contradiction", setting=each.name, source=each.flags[0])
    return Run(config)


_ROOTS = replace(SETTINGS["roots"], flags=())
CLASSIC = Subcommand(
    "Serve the packages in each DIR, and in the folders below it, as a Python package index.",
    _classic, (_ROOTS,),
    (*_ALL_SETTINGS, *(replace(each, group="Updates") for each in (_U, *_UPDATE_OPTIONS)), *_HELP),
)
COMMANDS: Mapping[str, Subcommand] = {
    "run": Subcommand("Serve the folders; the same as no command.", Run, (_ROOTS,), (*_ALL_SETTINGS, *_HELP)),
    "update": Subcommand(
        "Look for newer releases of the packages; the same as -U.", Update, (_ROOTS,),
        (*_UPDATE_OPTIONS, *_PRIVATE, SETTINGS["backend"], *_COMMON, *_HELP),
    ),
    "passwd": Subcommand(
        "Set the password of a user in a password file; asks for it.", Passwd,
        (_operand("file", "FILE", types.path), _operand("user", "USER")), (_JSON, *_HELP), 2,
    ),
    "yank": Subcommand(
        "Tell installers to avoid a release; nothing is deleted.", Yank,
        (_ROOT, _NAME, _VERSION), (_FILE, _REASON, *_ONE_ROOT), 2,
    ),
    "unyank": Subcommand(
        "Take that back.", Unyank, (_ROOT, _NAME, _VERSION), (_FILE, *_ONE_ROOT), 2,
    ),
    "delete": Subcommand(
        "Show what would be removed; with --yes, move it to the trash.", Delete, (_ROOT, _NAME, _VERSION),
        (
            _FILE,
            _switch("yes", "--yes", text="Really do it."),
            _switch("purge", "--purge", text="Delete for good instead of moving to the trash."),
            *_ONE_ROOT,
        ), 2,
    ),
    "restore": Subcommand(
        "Bring files back from the trash, or list it.", Restore, (_ROOT, _NAME, _VERSION), (_FILE, *_ONE_ROOT), 1,
    ),
    "check": Subcommand(
        "Read every file and name what is wrong with it.", Check, (_ROOTS,),
        (_JSON, SETTINGS["storage"], *_COMMON, *_HELP),
    ),
    "reindex": Subcommand(
        "Build the catalog of a bucket, or bring it up to date.", Reindex, (_URL,),
        (_JSON, SETTINGS["overwrite"], *_BUCKET),
    ),
    "gc": Subcommand(
        "Show what a bucket holds in vain; with --yes, delete it.", Collect, (_URL,),
        (
            _JSON, _switch("yes", "--yes", text="Really do it."),
            Setting(
                name="older_than", parse=types.age, flags=("--older-than",), metavar="AGE", group="Options",
                default_text="1d", help="Leave alone what is younger, such as 12h: an upload may be on its way.",
            ),
            *_BUCKET,
        ),
    ),
    "copy": Subcommand(
        "Copy packages with upload times between folders and buckets.", Copy,
        (_operand("source", "SRC", types.place), _operand("destination", "DST", types.place)),
        (_JSON, *(each for each in _COMMON if each.name not in ("roots", "catalog", "hash_algo")), *_HELP), 2,
    ),
    "config": Subcommand(
        "Check the settings, or show them and where each comes from.", Configuration,
        (_operand("task", "TASK", types.one_of(TASKS, "task"), TASKS), _operand("config_file", "FILE", types.path)),
        (_JSON, *_ALL_SETTINGS, *_HELP), 1, wants_given=True,
    ),
    "systemd": Subcommand(
        "Print a systemd unit for these settings.", partial(Recipe, "systemd"), (_ROOTS,), (*_ALL_SETTINGS, *_HELP),
        wants_given=True,
    ),
    "nginx": Subcommand(
        "Print an nginx configuration for these settings.", partial(Recipe, "nginx"), (_ROOTS,),
        (*_ALL_SETTINGS, *_HELP), wants_given=True,
    ),
    "compose": Subcommand(
        "Print a compose file for these settings.", partial(Recipe, "compose"), (_ROOTS,), (*_ALL_SETTINGS, *_HELP),
        wants_given=True,
    ),
    "stats": Subcommand(
        "Show what was downloaded how often, as counted with --stats.", Stats, (_NAME,),
        (_JSON, SETTINGS["stats"], _CONFIG_FILE, *_HELP),
    ),
    "completion": Subcommand(
        "Print the completion script for bash, zsh or fish.", Completion,
        (_operand("shell", "SHELL", types.one_of(SHELLS, "shell"), SHELLS),), _HELP, 1,
    ),
}
