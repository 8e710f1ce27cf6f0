"""granian's scheduler is replaced only where it is known."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Callable
from typing import Any

import pytest

from pypiserver.deferred import AT_ONCE, Waits
from pypiserver.server.granian_scheduler import answer_directly
from pypiserver.server.rsgi import Adapter

from ..rsgi import Protocol, Scope


async def asked(adapter: Adapter, scope: Scope, protocol: Protocol) -> Protocol:
    await adapter.__rsgi__(scope, protocol)
    protocol.finish()
    return protocol


class Large:
    """An application that gives this body."""

    def __init__(self, body: Callable[[], Any], length: int) -> None:
        self._body = body
        self._length = length

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if AT_ONCE in environ:
            raise Waits
        start_response("200 OK", [("Content-Length", str(self._length))])
        return self._body()


@pytest.mark.parametrize(("version", "is_replaced"), [(None, True), ("2.8.99", True), ("2.9.0", False)])
def test_only_a_known_scheduler_is_replaced(
    monkeypatch: pytest.MonkeyPatch, version: str | None, is_replaced: bool
) -> None:
    granian = pytest.importorskip("granian")
    mp = importlib.import_module("granian.server.mp")
    own = object()
    monkeypatch.setattr(mp, "_new_cbscheduler", own)
    if version is not None:
        monkeypatch.setattr(granian, "__version__", version)
    answer_directly(Adapter(Large(list, 0), threads=1))
    assert (mp._new_cbscheduler is not own) == is_replaced
    if is_replaced:
        # The installed version has all that is used of it.
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            scheduler = mp._new_cbscheduler(loop, asked)
        assert isinstance(scheduler, importlib.import_module("granian._granian").CallbackScheduler)
