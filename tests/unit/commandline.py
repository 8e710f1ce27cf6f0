"""Run ``pypi-server`` in this process, as a shell would."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from pypiserver.__main__ import main


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def pypi_server(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """The exit status and what was printed."""
    capsys.readouterr()
    with logging_as_before():
        status = main([str(argument) for argument in arguments])
    return Outcome(status, *capsys.readouterr())


@contextlib.contextmanager
def logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("pypiserver")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    filters = [(handler, list(handler.filters)) for handler in handlers]
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
        for handler, before in filters:
            handler.filters[:] = before
