"""The daemon and the image of one test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.image.engine import IMAGE, Engine, base_name, engine, make_base
from tests.live_server import REPOSITORY


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """A daemon that has the image."""
    with engine() as made:
        made.docker("import", make_base(), base_name())
        made.docker("build", "--network", "host", "--tag", IMAGE, REPOSITORY)
        yield made
