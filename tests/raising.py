"""Expecting a failure by what it carries: a sentence may be written again, data may not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeVar

import pytest

Failure = TypeVar("Failure", bound=BaseException)


@contextlib.contextmanager
def raises(failure: type[Failure], **data: object) -> Iterator[pytest.ExceptionInfo[Failure]]:
    """The block raises that failure with these attributes: ``with raises(ConfigError, setting="port"):``."""
    with pytest.raises(failure) as caught:
        yield caught
    found = {name: getattr(caught.value, name) for name in data}
    assert found == data, str(caught.value)
