"""Completion scripts for bash, zsh and fish, made from the same tables as the command line.

**Invariants:** a script is plain text and does not call Python, so a shell completes without waiting for an
interpreter; every word in it comes from our own tables; help texts are quoted for the target shell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from ..errors import ConfigError
from ..settings.setting import Setting
from .subcommand import PROGRAM, Subcommand

_FOLDERS = frozenset({"DIR", "SRC", "DST"})
_FILES = frozenset({"FILE", "HTML_FILE"})


def completion_script(shell: str, rows: Mapping[str, Subcommand]) -> str:
    """The script for ``bash``, ``zsh`` or ``fish``; raises ``ConfigError`` for another shell.

    ``rows`` are the commands by name, the one without a name under ''.
    """
    if shell not in _SCRIPTS:
        raise ConfigError(
            f"There is no completion for the shell {shell!r}; give one of {', '.join(_SCRIPTS)}.",
            kind="unknown",
            setting="shell",
            value=shell,
        )
    return _SCRIPTS[shell](rows)


def _named(rows: Mapping[str, Subcommand]) -> dict[str, Subcommand]:
    return {name: row for name, row in rows.items() if name}


def _bash(rows: Mapping[str, Subcommand]) -> str:
    commands = _named(rows)
    cases = "\n".join(_bash_case(name, row) for name, row in commands.items())
    return f"""\
# bash completion of {PROGRAM}; load it with: source <({PROGRAM} completion bash)
_pypi_server_add() {{
    # No mapfile: the bash of macOS does not have it.
    local line
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen "$@")
}}
_pypi_server() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" flag="${{COMP_WORDS[COMP_CWORD-1]}}" command="" words=""
    local flags values operands place
    COMPREPLY=()
    # bash takes --port=80 apart at the equals sign.
    if [[ "$current" == "=" ]]; then
        current=""
    elif [[ "$flag" == "=" ]]; then
        flag="${{COMP_WORDS[COMP_CWORD-2]}}"
    fi
    if (( COMP_CWORD > 1 )); then command="${{COMP_WORDS[1]}}"; else words="{" ".join(commands)}"; fi
    case "$command" in
{cases}
{_bash_case("*", rows[""])}
    esac
    case " $values " in
        *" $flag=file "*) _pypi_server_add -f -- "$current"; return ;;
        *" $flag=folder "*) _pypi_server_add -d -- "$current"; return ;;
        *" $flag=value "*) return ;;
        *" $flag=one:"*)
            words="${{values#*"$flag=one:"}}" words="${{words%% *}}"
            _pypi_server_add -W "${{words//,/ }}" -- "$current"; return ;;
    esac
    case "$current" in
        -*) _pypi_server_add -W "$flags" -- "$current"; return ;;
    esac
    _pypi_server_add -W "$words $operands" -- "$current"
    [[ -z "$place" ]] || _pypi_server_add "$place" -- "$current"
}}
complete -o filenames -F _pypi_server {PROGRAM}
"""


def _bash_case(name: str, row: Subcommand) -> str:
    flags = " ".join(flag for option in row.options for flag in option.flags)
    taking = [option for option in row.options if option.takes_value]
    values = " ".join(f"{flag}={_kind(option)}" for option in taking for flag in option.flags)
    place = {"folder": "-d", "file": "-f"}.get(_kind(row.operands[0]), "") if row.operands else ""
    return f'        {name}) flags="{flags}" values="{values}" operands="{_choices(row)}" place="{place}" ;;'


def _choices(row: Subcommand) -> str:
    """The allowed words of an operand."""
    return " ".join(choice for operand in row.operands for choice in operand.choices)


def _kind(option: Setting) -> str:
    """What follows the flag: ``file``, ``folder``, ``one:`` and its choices, or any other ``value``."""
    if option.choices:
        return "one:" + ",".join(option.choices)
    if option.metavar in _FILES:
        return "file"
    return "folder" if option.metavar in _FOLDERS else "value"


def _zsh(rows: Mapping[str, Subcommand]) -> str:
    commands = _named(rows)
    arguments = {name: _zsh_arguments(row) for name, row in rows.items()}
    listed = "\n".join(f"        {_quoted(f'{_no_colon(name)}:{row.summary}')}" for name, row in commands.items())
    cases = "\n".join(f"        {name}) shift words; (( CURRENT-- )); {arguments[name]} ;;" for name in commands)
    return f"""\
#compdef {PROGRAM}
# zsh completion of {PROGRAM}; save it as _{PROGRAM} in a folder of $fpath
_pypi_server() {{
    local -a commands=(
{listed}
    )
    if (( CURRENT == 2 )) && [[ "${{words[2]}}" != -* ]]; then
        _describe -t commands 'command' commands
    fi
    case "${{words[2]}}" in
{cases}
        *) {arguments[""]} ;;
    esac
}}
if [[ "${{funcstack[1]}}" == _pypi_server || "${{funcstack[1]}}" == _{PROGRAM} ]]; then
    _pypi_server "$@"
else
    compdef _pypi_server {PROGRAM}
fi
"""


def _zsh_arguments(row: Subcommand) -> str:
    specs = [spec for option in row.options for spec in _zsh_specs(option)]
    specs += [f"{'*' if each.action == 'repeat' else ''}:{each.metavar}:{_zsh_action(each)}" for each in row.operands]
    return " \\\n            ".join(["_arguments -s -S", *map(_quoted, specs)])


def _zsh_specs(option: Setting) -> Iterable[str]:
    again = "*" if option.action in {"repeat", "count"} else ""
    about = re.sub(r"([\[\]\\:])", r"\\\1", option.help)
    for flag in option.flags:
        if not option.takes_value:
            yield f"{again}{flag}[{about}]"
        else:
            attached = "=" if flag.startswith("--") else "+"
            yield f"{again}{flag}{attached}[{about}]:{option.metavar}:{_zsh_action(option)}"


def _zsh_action(option: Setting) -> str:
    if option.choices:
        return f"({' '.join(option.choices)})"
    if option.metavar in _FILES:
        return "_files"
    return "_files -/" if option.metavar in _FOLDERS else " "


def _no_colon(text: str) -> str:
    return text.replace(":", r"\:")


def _quoted(text: str) -> str:
    """Text in single quotes for a POSIX-like shell."""
    return "'" + text.replace("'", r"'\''") + "'"


def _fish(rows: Mapping[str, Subcommand]) -> str:
    commands = _named(rows)
    names = " ".join(commands)
    lines = [
        f"# fish completion of {PROGRAM}; save it as {PROGRAM}.fish in ~/.config/fish/completions",
        "function __pypi_server_command",
        "    set -l words (commandline -opc)",
        f"    test (count $words) -gt 1; and contains -- $words[2] {names}; and echo $words[2]; and return",
        "    echo classic",
        "end",
        f"complete -c {PROGRAM} -f",
        *(_fish_line(name, row) for name, row in commands.items()),
    ]
    for name, row in rows.items():
        condition = f"test (__pypi_server_command) = {name or 'classic'}"
        lines += [_fish_option(option, condition) for option in row.options]
        lines += [f"complete -c {PROGRAM} -n {_fish_quoted(condition)} {_fish_operands(row)}"]
    return "\n".join(lines) + "\n"


def _fish_line(name: str, row: Subcommand) -> str:
    first = _fish_quoted("test (count (commandline -opc)) -eq 1")
    return f"complete -c {PROGRAM} -n {first} -a {name} -d {_fish_quoted(row.summary)}"


def _fish_option(option: Setting, condition: str) -> str:
    flags = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags]
    words = [f"complete -c {PROGRAM} -n {_fish_quoted(condition)}", *flags]
    if option.takes_value:
        words.append("-x" if option.choices or option.metavar not in _FILES else "-r -F")
        words.append(_fish_values(option))
    return " ".join([*filter(None, words), "-d", _fish_quoted(option.help)])


def _fish_values(option: Setting) -> str:
    if option.choices:
        return f"-a {_fish_quoted(' '.join(option.choices))}"
    return "-a '(__fish_complete_directories)'" if option.metavar in _FOLDERS else ""


def _fish_operands(row: Subcommand) -> str:
    if choices := _choices(row):
        return f"-a {_fish_quoted(choices)}"
    places = {"file": "-F", "folder": "-a '(__fish_complete_directories)'"}
    return places.get(_kind(row.operands[0]), "-f") if row.operands else "-f"


def _fish_quoted(text: str) -> str:
    """Text in single quotes for fish, which knows a backslash inside them."""
    return "'" + text.replace("\\", "\\\\").replace("'", r"\'") + "'"


_SCRIPTS: Mapping[str, Callable[[Mapping[str, Subcommand]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
