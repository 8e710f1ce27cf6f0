"""Plug-ins of ``--auth NAME[:ARGUMENT]``: installed packages that check passwords, found by entry point.

An entry point of the group ``pypiserver.auth`` is a function that takes ARGUMENT (``""`` if there is none) and returns
a check: a function of user and password, which returns True, False or a ``Principal``.

**Invariants:** only the plug-in that the setting names is imported; what is wrong with it ends the start, by a
``ConfigError`` that says which package it is from.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from ..errors import ConfigError
from .foreign_check import Check

GROUP = "pypiserver.auth"


def load_check(auth: str) -> Check:
    """The check of the plug-in that ``auth`` names, made for its argument; raises ConfigError."""
    name, _, argument = auth.partition(":")
    # A package may be found twice, by two entries of sys.path that lead to one folder.
    found = {(_package(each), each.value): each for each in entry_points(group=GROUP, name=name)}
    if not found:
        raise _error(auth, f"no installed package has a plug-in of this name; {_installed()}.", kind="not-installed")
    if len(found) > 1:
        places = " and ".join(sorted(_described(each) for each in found.values()))
        raise _error(auth, f"several packages have a plug-in of this name: {places}; uninstall all but one.")
    (plugin,) = found.values()
    try:
        make = plugin.load()
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise _error(auth, f"the plug-in of {_described(plugin)} cannot be imported: {why}.") from error
    try:
        check = make(argument)
    except ConfigError as error:
        raise _error(auth, str(error).rstrip(".") + ".") from error
    except Exception as error:
        why = str(error) if isinstance(error, ValueError) and str(error) else f"{type(error).__name__}: {error}"
        raise _error(auth, f"the plug-in of {_described(plugin)} cannot be used: {why.rstrip('.')}.") from error
    if not callable(check):
        raise _error(
            auth, f"the plug-in of {_described(plugin)} returned {check!r} in place of a function of user and password."
        )
    checked: Check = check
    return checked


def _error(auth: str, why: str, *, kind: str = "plug-in") -> ConfigError:
    name = auth.partition(":")[0]
    return ConfigError(f"--auth {name}: {why}", kind=kind, setting="auth", value=auth)


def _package(plugin: EntryPoint) -> str:
    return f"{plugin.dist.name} {plugin.dist.version}" if plugin.dist is not None else "an unnamed package"


def _described(plugin: EntryPoint) -> str:
    return f"{_package(plugin)} ({plugin.value})"


def _installed() -> str:
    plugins: Iterable[EntryPoint] = entry_points(group=GROUP)
    names = sorted({f"{each.name} ({_package(each)})" for each in plugins})
    return f"installed are: {', '.join(names)}" if names else "none is installed"
