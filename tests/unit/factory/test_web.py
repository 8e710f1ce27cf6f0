"""What handlers get of the settings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pypiserver.errors import ConfigError
from tests.raising import raises

from ..wsgi import Client

Serve = Callable[..., Client]


@pytest.mark.parametrize("endpoint", ["/simple/", "/packages/x", "/", "/simple/health/", "/foo/json", "/pypi/x/json"])
def test_a_health_address_that_hides_another_is_refused(serve: Serve, endpoint: str) -> None:
    with raises(ConfigError, kind="contradiction", setting="health_endpoint", value=endpoint):
        serve(health_endpoint=endpoint)
