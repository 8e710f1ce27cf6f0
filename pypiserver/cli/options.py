"""Flags and operands that several commands share."""

from __future__ import annotations

from dataclasses import replace

from ..settings import parsers as types
from ..settings import path_parsers
from ..settings.config import SETTINGS
from ..settings.setting import Setting
from .subcommand import all_settings, operand, settings, switch

ROOT = operand("root", "DIR", path_parsers.place)
ROOTS = replace(SETTINGS["roots"], flags=())
BUCKET_URL = replace(SETTINGS["storage"], flags=())
NAME = operand("name", "NAME")
VERSION = operand("version", "VERSION")
FILE = Setting(
    name="file",
    parse=types.text,
    flags=("--file",),
    metavar="NAME",
    group="Options",
    help="Only the file of this name.",
)
JSON = switch("json", "--json", text="Report in JSON.")
YES = switch("yes", "--yes", text="Really do it.")
CONFIG_FILE = Setting(
    name="config_file",
    parse=path_parsers.path,
    flags=("--config",),
    metavar="FILE",
    group="Configuration",
    default_text="pypiserver.toml in the working directory, if it exists",
    help="Read settings from this file, in TOML; 'none' reads none. Flags and variables win over it.",
)
HELP = (
    switch("help", "-h", "--help", text="Show this help.", group="Help"),
    switch("version", "--version", text="Show the version.", group="Help"),
)
# Common flags of every command that reads packages.
_LOGGING = ("verbosity", "log_conf", "log_file", "log_stream", "log_format", "log_frmt")
COMMON = (*settings("catalog", "hash_algo", *_LOGGING), CONFIG_FILE)
COMMON_WITH_ROOTS = (SETTINGS["roots"], *COMMON)
ALL_SETTINGS = (*all_settings(), CONFIG_FILE)
OF_RELEASE = (JSON, *COMMON, SETTINGS["audit_log"], *HELP)
OF_BUCKET = (SETTINGS["storage"], *COMMON, *HELP)
