"""A process that is killed is not waited for at the end (P7)."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys

import pytest

from pypiserver.server.transfers import Transfers, UnderWay

pytestmark = pytest.mark.live


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_process_that_is_killed_counts_no_more_and_its_place_is_used_again() -> None:
    transfers = Transfers()
    context = multiprocessing.get_context("fork")
    begun = context.Event()

    def work() -> None:
        with transfers.upload():
            begun.set()
            signal.pause()

    worker = context.Process(target=work)
    worker.start()
    assert begun.wait(60)
    with transfers.upload():
        assert transfers.count() == UnderWay(2, 0)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(60)
    assert transfers.count() == UnderWay()
