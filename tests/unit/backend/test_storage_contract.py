"""A folder and a bucket, as seen from outside, are the same; the bucket is one in a local folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..storage_contract import *  # noqa: F403 - the tests
from ..storage_contract import World, world_of


@pytest.fixture(params=["folder", "bucket"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    (tmp_path / "packages").mkdir()
    storage = {"folder": {"roots": [tmp_path / "packages"]}, "bucket": {"storage": f"file://{tmp_path}/packages"}}
    with world_of(tmp_path, **storage[request.param]) as made:
        yield made
