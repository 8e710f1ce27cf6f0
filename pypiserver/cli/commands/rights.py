"""``rights``: what a user may do with a project, and which projects a user sees, by the rights file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from ...access.patterns import is_project
from ...distributions.filename import normalize
from ...errors import ConfigError
from ...settings import parsers as types
from ...settings import path_parsers
from ...settings.config import SETTINGS, Config
from ...settings.setting import Setting
from ...text import printable
from ..options import COMMON_WITH_ROOTS, HELP, JSON
from ..output import write_json
from ..subcommand import PROGRAM, Subcommand, operand

TASKS = ("check", "show")


@dataclass(frozen=True, slots=True)
class RightsOf:
    """Name the line that grants a user each action with a project (check), or what the user sees (show).

    ``subject`` is the project of ``check``, and the folder or bucket of ``show``. ``may`` asks for one action only.
    """

    task: str
    user: str
    config: Config
    subject: str = ""
    may: str = ""
    group: tuple[str, ...] = ()
    json: bool = False

    def __post_init__(self) -> None:
        if self.task == "check" and not self.subject:
            message = f"PROJECT is missing; write: {PROGRAM} rights check USER PROJECT"
            raise ConfigError(message, kind="missing", setting="subject")
        if self.task == "show" and self.may:
            raise ConfigError("--may is for 'rights check'; leave it out.", kind="contradiction", setting="may")

    def run(self, out: TextIO, err: TextIO) -> int:
        """Report; with ``may`` 1 if the user may not."""
        return self._check(out) if self.task == "check" else self._show(out)

    def _check(self, out: TextIO) -> int:
        from .. import rights_report

        if not is_project(self.subject):
            message = f"{self.subject!r} is not the name of a project; name one project."
            raise ConfigError(message, kind="value", setting="subject", value=self.subject)
        project = normalize(self.subject)
        reader = rights_report.reader(self.config, self.user, self.group)
        found = reader.grants_for(project)
        asked = rights_report.actions_of(self.may) if self.may else frozenset(found)
        found = {action: grants for action, grants in found.items() if action in asked}
        if self.json:
            actions = {
                action: {
                    "allowed": bool(grants),
                    "lines": [{"line": each.number, "text": each.text} for each in grants],
                }
                for action, grants in found.items()
            }
            head = {"file": str(reader.file.path), "user": self.user, "groups": reader.groups, "project": project}
            write_json({**head, "actions": actions}, out)
        else:
            out.write(f"{printable(self.user)} and {project}, by {reader.file.path}:\n")
            for action, grants in found.items():
                why = f"yes  line {grants[0].number}: {printable(grants[0].text)}" if grants else "no"
                out.write(f"  {action:<9}  {why}\n")
            if reader.groups:
                out.write(f"  groups: {printable(', '.join(reader.groups))}\n")
        return 0 if not self.may or all(found.values()) else 1

    def _show(self, out: TextIO) -> int:
        from .. import rights_report

        reader = rights_report.reader(self.config, self.user, self.group)
        config = self._with_place()
        seen = []
        for project in rights_report.projects_in(config):
            allowed = [action for action, grants in reader.grants_for(project).items() if grants]
            if allowed:
                seen.append((project, allowed))
        if self.json:
            lines = [{"line": each.number, "text": each.text} for each in reader.grants]
            shown = [{"project": project, "actions": allowed} for project, allowed in seen]
            head = {"file": str(reader.file.path), "user": self.user, "groups": reader.groups}
            write_json({**head, "lines": lines, "projects": shown}, out)
            return 0
        out.write(f"{printable(self.user)}, by {reader.file.path}:\n")
        out.writelines(f"  line {each.number}: {printable(each.text)}\n" for each in reader.grants)
        if reader.groups:
            out.write(f"  groups: {printable(', '.join(reader.groups))}\n")
        out.writelines(f"{project}  {','.join(allowed)}\n" for project, allowed in seen)
        if not seen:
            out.write("No project that is here now.\n")
        return 0

    def _with_place(self) -> Config:
        if not self.subject:
            return self.config
        place = path_parsers.place(self.subject)
        if isinstance(place, Path):
            return replace(self.config, roots=(place,), storage=None, roots_are_default=False)
        return replace(self.config, roots=(), storage=place, roots_are_default=True)


def words(value: object) -> tuple[str, ...]:
    """Names, one for each time the flag is given."""
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)


COMMAND = Subcommand(
    "rights",
    "Say what a user may do by the rights file, and which line grants it.",
    RightsOf,
    (
        operand("task", "TASK", types.one_of(TASKS, "task"), TASKS),
        operand("user", "USER"),
        operand("subject", "PROJECT"),
    ),
    (
        Setting(
            name="may", parse=types.text, flags=("--may",), metavar="ACTION", group="Options",
            help="check: this action only; exit with 1 if the user may not.",
        ),
        Setting(
            name="group", parse=words, flags=("--group",), metavar="GROUP", group="Options", action="repeat",
            help="The user is also in this group, as a plug-in would say.",
        ),
        JSON,
        SETTINGS["rights"],
        SETTINGS["storage"],
        *COMMON_WITH_ROOTS,
        *HELP,
    ),
    required=2,
    synopsis_text="TASK USER [PROJECT|DIR]",
    examples=(
        ("rights check ada acme-sdk --rights /etc/pypiserver/rights", "each action, and the line that grants it"),
        ("rights check ci acme-sdk --may upload", "exit with 0 or 1; the file is that of the settings"),
        ("rights show everyone ~/packages", "what a client sees that is not logged in"),
    ),
)  # fmt: skip
