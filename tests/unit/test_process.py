"""The number of the process, which a fork must not leave as it was."""

from __future__ import annotations

import os

import pytest

from pypiserver.process import process_id


def test_it_is_what_the_system_says() -> None:
    assert process_id() == os.getpid()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12, where the tests have threads
def test_a_child_knows_its_own() -> None:
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.write(theirs, b"%d %d" % (process_id(), os.getpid()))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(theirs)
    with open(ours, "rb") as said:
        assert said.read().split() == [b"%d" % child] * 2
