"""Any one call that a background thread makes of our code, made to fail: found by looking, not by a list."""

from __future__ import annotations

import functools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

# The net under the loops; that it holds is tested by itself.
NET = ("pypiserver.supervisor",)


class Injector:
    """Counts the calls of each function and method of ours that are made outside of the main thread, by its name.

    :meth:`arm` makes the next such call of one of them raise. What is loaded when it is made is covered, so a new
    collaborator is, too.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: Counter[str] = Counter()
        self._armed: tuple[str, BaseException] | None = None
        self._lock = threading.Lock()
        self.fired = threading.Event()
        modules = [module for name, module in sorted(sys.modules.items()) if _is_ours(name)]
        for owner, name, value in _functions(modules):
            replaced = self._replaced(value, f"{value_of(value).__module__}.{value_of(value).__qualname__}")
            monkeypatch.setattr(owner, name, replaced)

    def arm(self, label: str, error: BaseException) -> None:
        """Make the next call of this one raise; ``fired`` says that it did."""
        self.fired.clear()
        with self._lock:
            self._armed = (label, error)

    def disarm(self) -> None:
        """Nothing fails any more."""
        with self._lock:
            self._armed = None

    def _replaced(self, value: Any, label: str) -> Any:
        if isinstance(value, staticmethod):
            return staticmethod(self._wrapped(value.__func__, label))
        if isinstance(value, classmethod):
            return classmethod(self._wrapped(value.__func__, label))
        if isinstance(value, property):
            return property(self._wrapped(value_of(value), label))
        return self._wrapped(value, label)

    def _wrapped(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        known: dict[int, Callable[..., Any]] = self.__dict__.setdefault("_known", {})
        if id(function) in known:
            return known[id(function)]

        @functools.wraps(function)
        def call(*arguments: Any, **more: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                self._met(label)
            return function(*arguments, **more)

        known[id(function)] = call
        return call

    def _met(self, label: str) -> None:
        self.calls[label] += 1
        if self._armed is None:
            return
        with self._lock:
            if self._armed is None or self._armed[0] != label:
                return
            error, self._armed = self._armed[1], None
        self.fired.set()
        try:
            raise error
        finally:
            del error


def _is_ours(name: str) -> bool:
    return (name == "pypiserver" or name.startswith("pypiserver.")) and name not in NET


def value_of(value: Any) -> Any:
    """The function in a method of any kind."""
    return value.fget if isinstance(value, property) else getattr(value, "__func__", value)


def _functions(modules: list[ModuleType]) -> Iterator[tuple[object, str, Any]]:
    """Every place where a function of ours is looked up: modules, those that import it, and classes."""
    seen: set[int] = set()
    for module in modules:
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and _is_ours(value.__module__):
                yield module, name, value
            elif isinstance(value, type) and _is_ours(value.__module__) and id(value) not in seen:
                seen.add(id(value))
                yield from (
                    (value, each, member)
                    for each, member in list(vars(value).items())
                    if not each.startswith("__")
                    and isinstance(member, FunctionType | staticmethod | classmethod | property)
                    and isinstance(value_of(member), FunctionType)
                    and _is_ours(value_of(member).__module__)
                )
