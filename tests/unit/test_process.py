"""The number of the process, which a fork must not leave as it was."""

from __future__ import annotations

import os

import pytest

from pypiserver.process import PerProcess, process_id


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


def test_a_value_is_made_once_in_each_process_and_may_be_forgotten() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    holder = PerProcess(make)
    assert (holder.value, holder.get(), holder.get(), holder.value) == (None, made[0], made[0], made[0])
    assert (holder.forget(), holder.value) == (made[0], None)
    assert (holder.get(), len(made)) == (made[1], 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_makes_its_own_value_and_leaves_that_of_its_parent_alone() -> None:
    closed: list[int] = []

    class Kept:
        def __del__(self) -> None:
            closed.append(os.getpid())

    holder = PerProcess(Kept)
    first = id(holder.get())
    # As another thread may have it when this one forks.
    holder._lock.acquire()
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.write(theirs, b"%d %d %d" % (holder.value is None, id(holder.get()) != first, len(closed)))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(theirs)
    holder._lock.release()
    with open(ours, "rb") as said:
        assert said.read().split() == [b"1", b"1", b"0"]
    assert id(holder.get()) == first
