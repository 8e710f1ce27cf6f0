"""A server whose bucket belongs to another catalog: not ready, and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

import pypiserver
from tests.unit.wsgi import Client

pytestmark = pytest.mark.live


def test_a_second_server_with_a_catalog_of_its_own_is_not_ready_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bucket").mkdir()
    storage = f"file://{tmp_path}/bucket"
    one, two = (
        pypiserver.app(storage=storage, catalog=tmp_path / f"{name}.sqlite", password_file=".", authenticate=".")
        for name in ("one", "two")
    )
    try:
        assert Client(one).get("/simple/").status == 200
        answer = Client(two).get("/simple/")
        assert answer.status == 503 and b"catalog" not in answer.body
        assert "is served with another catalog" in caplog.text
        assert Client(two).get("/health/ready").status == 503
        one.close()
        answered = Client(two)
        for _ in range(100):
            if answered.get("/health/ready").status == 200:
                break
            two.backend.indexer._closing.wait(0.1)
        assert answered.get("/simple/").status == 200
    finally:
        two.close()
        one.close()
