"""What reliability tests share: the faults of a test that passed were survived."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.figures import COUNTED, INJECTED, SURVIVED, count


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    before = COUNTED[INJECTED]
    result = yield
    if faults := COUNTED[INJECTED] - before:
        count(SURVIVED, faults)
    return result
