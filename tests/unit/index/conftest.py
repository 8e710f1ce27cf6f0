"""What tests of the read port share: an application over one wheel, with each kind of catalog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.backend.backend import Backend
from pypiserver.factory.application import Application
from pypiserver.index.read import Repository
from tests.make_archives import make_wheel

from ..wsgi import Client

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0", summary="one")
Put = Callable[..., Path]
Serve = Callable[..., Client]


@pytest.fixture(params=["file", "postgresql"])
def application(serve: Serve, put: Put, request: pytest.FixtureRequest) -> Application:
    put(WHEEL, WHEEL_BYTES)
    settings = {"catalog": request.getfixturevalue("database")} if request.param == "postgresql" else {}
    application: Application = serve(**settings)._application
    return application


@pytest.fixture
def repository(application: Application) -> Repository:
    return application.repository


@pytest.fixture
def backend(application: Application) -> Backend:
    return application.backend
