"""Before a server ends it says for a while that it is not ready, and continues answering: in every process of it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from pypiserver.server.graceful_shutdown import ENVIRON_KEY, GracefulShutdown

SIGNALS_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")


@SIGNALS_ONLY
def test_the_first_sigterm_only_marks_and_the_second_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    drain = GracefulShutdown(600)
    monkeypatch.setattr(os, "kill", lambda *_: None)
    handler = drain.before(lambda number, frame: ended.append(number), lambda: None)
    handler(signal.SIGTERM, None)
    assert (drain.has_begun, ended) == (True, [])
    handler(signal.SIGTERM, None)
    assert ended == [signal.SIGTERM]


@SIGNALS_ONLY
def test_an_interrupt_ends_at_once_what_ends_already_and_sigterm_does_not() -> None:
    told: list[str] = []
    handler = GracefulShutdown(0).before(lambda number, frame: told.append("end"), lambda: told.append("at once"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        handler(number, None)
    assert told == ["end", "end", "at once"]


def test_without_draining_nothing_is_in_between() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return []

    assert GracefulShutdown(0).told_to(application) is application


def test_each_request_is_told_whether_it_has_begun() -> None:
    told: list[object] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        told.append(environ[ENVIRON_KEY])
        return []

    drain = GracefulShutdown(600)
    telling = drain.told_to(application)
    telling({}, None)  # type: ignore[arg-type]
    drain._state.value = 1
    telling({}, None)  # type: ignore[arg-type]
    assert told == [False, True]
